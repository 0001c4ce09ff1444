"""`parquet:NAME`: NAME_train.parquet and NAME_test.parquet with encoded images in `image` and numbers in `label`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.data.cache import prepared
from jaxnets.data.pictures import BadPicture, opened
from jaxnets.data.place import locate
from jaxnets.data.tables import Table
from jaxnets.errors import DataError
from jaxnets.files import fingerprint, hash_file

_MOST_CLASSES = 2**20  # more are a mistake: a hash, an identifier


def read(name: str) -> Table:
    """Decoded once into the cache, keyed by content. DataError names file and row of a picture that is broken."""
    files = {}
    for split in ("train", "test"):
        path = locate(f"{name}_{split}.parquet")
        if path is not None:
            files[split] = path
    if "train" not in files:
        raise DataError(
            f"parquet:{name}: there is no {name}_train.parquet here or in JAXNETS_DATA; give a path without _train"
        )
    hashes = {path.name: hash_file(path) for path in files.values()}
    key = fingerprint(hashes)
    folder = prepared(f"parquet/{Path(name).name}-{key[:16]}", lambda aside: _decode(files, aside))
    parts = {split: (np.load(folder / f"{split}_x.npy"), np.load(folder / f"{split}_y.npy")) for split in files}
    classes = _classes(parts, files)
    _check_sizes(parts, files)
    inputs = np.concatenate([x for x, _ in parts.values()])
    targets = np.concatenate([y for _, y in parts.values()])
    splits, origins, start = {}, [], 0
    for split, (x, _) in parts.items():
        splits[split] = (start, start + len(x))
        origins.append((files[split].name, start))
        start += len(x)
    return Table(inputs, targets, classes, (), (), splits, hashes, key, tuple(origins))


def _classes(parts: dict[str, tuple[np.ndarray, np.ndarray]], files: dict[str, Path]) -> tuple[str, ...]:
    """The classes of the train file, 0 and on without a gap; DataError names the first row of any other label."""
    count = len(np.unique(parts["train"][1]))
    for split, (_, labels) in parts.items():
        odd = np.flatnonzero(labels >= count)
        if odd.size:
            raise DataError(
                f"{files[split]}, row {odd[0]}: label {labels[odd[0]]}, but {files['train'].name} has {count} classes, "
                f"which must be 0..{count - 1} without a gap; correct it or number the classes anew"
            )
    return tuple(str(label) for label in range(count))


def _check_sizes(parts: dict[str, tuple[np.ndarray, np.ndarray]], files: dict[str, Path]) -> None:
    first = next(iter(parts))
    for split, (images, _) in parts.items():
        if images.shape[1:] != parts[first][0].shape[1:]:
            raise DataError(
                f"{files[split]} holds images of {images.shape[1:]}, but {files[first]} of "
                f"{parts[first][0].shape[1:]}; make them equal"
            )


def _decode(files: dict[str, Path], folder: Path) -> None:
    for split, path in files.items():
        images, labels = _columns(path)
        np.save(folder / f"{split}_x.npy", images)
        np.save(folder / f"{split}_y.npy", labels)


def _columns(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        table.validate(full=True)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable parquet file: {error}; restore it") from error
    missing = {"image", "label"} - set(table.column_names)
    if missing:
        raise DataError(f"{path} has no column {', '.join(sorted(missing))}; it has {', '.join(table.column_names)}")
    labels = table["label"].to_pylist()
    for row, label in enumerate(labels):
        if not isinstance(label, int) or not 0 <= label < _MOST_CLASSES:
            raise DataError(f"{path}, row {row}: label {label!r} is not a class number from 0 to {_MOST_CLASSES - 1}")
    if not labels:
        raise DataError(f"{path} holds no rows; give a file with examples")
    images = [_image(value, path, row) for row, value in enumerate(table["image"].to_pylist())]
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        row = next(i for i, image in enumerate(images) if image.shape != images[0].shape)
        raise DataError(
            f"{path}, row {row}: image of {images[row].shape}, but row 0 has {images[0].shape}; make them equal"
        )
    return np.stack(images), np.asarray(labels, np.int32)


def _image(value: Any, path: Path, row: int) -> np.ndarray:
    encoded: Any = value.get("bytes") if isinstance(value, dict) else value
    try:
        pixels = np.asarray(opened(encoded, "grey or colour"), np.uint8)
    except BadPicture as error:
        raise DataError(f"{path}, row {row}: not a readable image ({error}); mend or remove it") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels
