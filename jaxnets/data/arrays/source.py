"""`arrays:PATH`: a file .npz, a folder of files .npy, or what Python wrote there, with inputs and targets by name.

Images are uint8 (n h w), (n h w c); all other inputs are numbers (n …). Targets that are whole numbers, flags or texts
(n) are classes, whole numbers (n h w) a class for every pixel; floats (n), (n k) are values to be predicted. Nothing in
such a file is run: pickled objects are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.data.arrays.naming import roles
from jaxnets.data.arrays.targets import read_targets
from jaxnets.data.place import locate, places
from jaxnets.data.reader import Bad, Leaf
from jaxnets.data.shards import known_by
from jaxnets.data.tables import Table
from jaxnets.errors import DataError
from jaxnets.files import fingerprint, hash_file

NAMES = ("classes", "feature_names")  # arrays of texts that name what the others hold
_IN_MEMORY = 1 << 30  # bytes of inputs; more stay in their file, and are read row by row


class Rows:
    """Rows of an array that stays in its file (see Reader)."""

    def __init__(self, inputs: np.ndarray, *, place: str, bad: Bad) -> None:
        self._inputs, self._place, self._bad = inputs, place, bad

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        return {"inputs": Leaf(self._inputs.shape[1:], str(_dtype(self._inputs.dtype)))}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        for index, row in enumerate(rows):
            values = self._inputs[row]
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                out["weight"][index] = 0  # unless the next line raises
                self._bad(f"{self._place}, row {row}", "NaN or infinity")
                continue
            out["inputs"][index] = values


def read(name: str, bad: Bad) -> Table:
    """The examples of `arrays:name`. Raises DataError naming what is missing, damaged, refused or does not fit."""
    path = _located(name)
    arrays, files = _opened(path)
    words = {key: arrays.pop(key) for key in NAMES if key in arrays}
    found = roles(arrays, place=str(path))
    order = [split for split in ("", "train", "valid", "test") if split in found]
    inputs = [_inputs(arrays[found[split]["inputs"]], f"{path}, {found[split]['inputs']}") for split in order]
    targets = [np.asarray(arrays[found[split]["targets"]]) for split in order]
    names = [found[split]["targets"] for split in order]
    for split, x, y in zip(order, inputs, targets, strict=True):
        _check_lengths(x, y, inputs[0], f"{path}, {found[split]['inputs']}")
    goal = read_targets(targets, names, _texts(words, "classes", path), place=str(path))
    if goal.values.ndim == 3 and (inputs[0].ndim != 4 or inputs[0].shape[1:3] != goal.values.shape[1:]):
        raise DataError(
            f"{path}: masks of {goal.values.shape[1:]} for inputs of {inputs[0].shape[1:]}; make them alike"
        )
    lengths = np.cumsum([0, *map(len, inputs)]).tolist()
    whole = inputs[0] if len(inputs) == 1 else np.concatenate([x.astype(_dtype(x.dtype), copy=False) for x in inputs])
    return Table(
        inputs=whole,
        targets=goal.values,
        classes=goal.classes,
        feature_names=_feature_names(_texts(words, "feature_names", path), whole, path),
        target_names=goal.names,
        splits={split: (lengths[i], lengths[i + 1]) for i, split in enumerate(order) if split},
        files=files,
        fingerprint=fingerprint(files),
        origins=tuple((f"{path.name} {found[split]['inputs']}", lengths[i]) for i, split in enumerate(order)),
        reader=Rows(whole, place=str(path), bad=bad) if isinstance(whole, np.memmap) else None,
    )


def _located(name: str) -> Path:
    folders = (Path(place) for place in places(name))
    found = locate(name) or next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise DataError(f"arrays:{name}: there is no such file or folder here or in JAXNETS_DATA; give a path")
    return found


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """({name: array}, {file: sha256}); large files .npy stay where they are."""
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    if not files or (path.suffix not in (".npz", ".npy") and not path.is_dir()):
        raise DataError(f"{path} is no file .npz and no folder of files .npy; write one with numpy.savez")
    if path.suffix == ".npy":
        raise DataError(f"{path} is one array alone; give its folder, with inputs.npy and targets.npy, or a file .npz")
    arrays: dict[str, Any] = {}
    for file in files:
        try:
            arrays |= _unpacked(file) if file.suffix == ".npz" else {file.stem: _mapped(file)}
        except Exception as error:  # whatever the parsers of zip files and headers raise at damaged bytes
            raise DataError(f"{file} cannot be read: {_reason(error)}") from error
    large = {file for file in files if file.stat().st_size > _IN_MEMORY}
    return arrays, known_by(sorted(large)) | {file.name: hash_file(file) for file in files if file not in large}


def _unpacked(file: Path) -> dict[str, np.ndarray]:
    with open(file, "rb") as handle, np.load(handle, allow_pickle=False) as archive:  # numpy leaves a bad file open
        return {name: archive[name] for name in archive.files}


def _mapped(file: Path) -> np.ndarray:
    """The array of a file, in memory unless it is large."""
    large = file.stat().st_size > _IN_MEMORY
    return np.load(file, mmap_mode="r" if large else None, allow_pickle=False)


def _reason(error: Exception) -> str:
    if "allow_pickle" in str(error) or "pickled" in str(error):
        return (
            "it holds Python objects, which would run code when they are read; save arrays of numbers or of texts of "
            "one type, as by array.astype('float32') or numpy.stack"
        )
    return f"{error}; it is damaged or no file of NumPy: write it again"


def _inputs(array: Any, place: str) -> np.ndarray:
    """Images as uint8 (n h w c), anything else as float32 (n …); an array in a file stays as it is."""
    if array.dtype.kind not in "biuf":
        raise DataError(f"{place} holds {array.dtype}; inputs must be numbers: encode them, or use table:")
    if array.ndim < 1 or not len(array):
        raise DataError(f"{place} holds no examples ({array.shape}); give an array (examples, …)")
    if array.ndim == 1 or (array.dtype == np.uint8 and array.ndim == 3):
        array = array[..., None]
    return array if isinstance(array, np.memmap) else np.ascontiguousarray(array, _dtype(array.dtype))


def _dtype(given: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.uint8 if given == np.uint8 else np.float32)


def _check_lengths(inputs: np.ndarray, targets: np.ndarray, first: np.ndarray, place: str) -> None:
    if len(inputs) != (len(targets) if targets.ndim else -1):
        raise DataError(
            f"{place} holds {len(inputs)} examples, but its targets are {targets.shape}; one target an example"
        )
    if (inputs.shape[1:], inputs.dtype) != (first.shape[1:], first.dtype):
        raise DataError(
            f"{place} holds examples of {inputs.dtype} {inputs.shape[1:]}, but the train split has {first.dtype} "
            f"{first.shape[1:]}; make them equal"
        )


def _texts(words: Mapping[str, Any], name: str, path: Path) -> tuple[str, ...]:
    found = np.asarray(words.get(name, ()))
    if found.ndim != 1 or (found.size and found.dtype.kind != "U"):
        raise DataError(f"{path}: {name} is {found.dtype} {found.shape}; give texts (n)")
    return tuple(found.tolist())


def _feature_names(given: tuple[str, ...], inputs: np.ndarray, path: Path) -> tuple[str, ...]:
    if inputs.ndim != 2:
        return ()
    if given and len(given) != inputs.shape[1]:
        raise DataError(f"{path}: {len(given)} feature_names for {inputs.shape[1]} features; give one each")
    return given or tuple(f"x{i}" for i in range(inputs.shape[1]))
