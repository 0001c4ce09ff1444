"""TFDS without TensorFlow: our own builders over data that ships with dependencies, and catalogue sets by name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.data.cache import fingerprint, hashes, prepared
from jaxnets.data.tables import Table
from jaxnets.errors import ConfigError, DataError, MissingExtra

BUILTIN = ("digits", "breast_cancer", "wine", "diabetes", "python_text")


def read_builtin(name: str) -> Table:
    """One of our own sets, prepared into the cache on first use."""
    folder, version_dir = _builtin(name)
    rows = list(_data_source(folder, version_dir, "all"))
    return _table(rows, _features(version_dir), {}, hashes(folder), own_hashes=_records(folder))


def read_python_text() -> tuple[np.ndarray, tuple[tuple[str, str], ...], str]:
    """(tokens uint8, files, fingerprint) of the running interpreter's own library."""
    import hashlib

    folder, version_dir = _builtin("python_text")
    parts = [row["text"] for row in _data_source(folder, version_dir, "all")]
    content = b"".join(part if isinstance(part, bytes) else bytes(part) for part in parts)
    digest = hashlib.sha256(content).hexdigest()
    return np.frombuffer(content, np.uint8), _records(folder), digest


def read_catalogue(name: str) -> Table:
    """A set of the TFDS catalogue with the features image and label, prepared before or by TFDS with TensorFlow."""
    with _quiet():
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder(name, file_format="array_record")
        except Exception as error:
            raise ConfigError(f"data.source tfds:{name} cannot be found: {str(error).splitlines()[0]}; see tfds list") from error
    _prepare_catalogue(builder, name)
    names = [split for split in ("train", "test") if split in builder.info.splits]
    if "train" not in names:
        raise DataError(f"tfds:{name} has no split train; it has {', '.join(builder.info.splits)}")
    rows, splits = [], {}
    for split in names:
        part = list(builder.as_data_source(split=split))
        splits[split] = (len(rows), len(rows) + len(part))
        rows += part
    folder = Path(builder.data_dir)
    return _table(rows, builder.info.features, splits, hashes(folder), own_hashes=tuple(hashes(folder)))


def _prepare_catalogue(builder: Any, name: str) -> None:
    if Path(builder.data_dir).exists():
        return
    try:
        importlib.import_module("tensorflow")
    except ImportError as error:
        raise MissingExtra("tensorflow", extra="tf", purpose=f"to prepare tfds:{name}, which is not prepared yet") from error
    builder.download_and_prepare()


def _builtin(name: str) -> tuple[Path, Path]:
    def prepare(aside: Path) -> None:
        with _quiet():
            module = importlib.import_module(f"jaxnets.data.builtin.{name}.{name}_dataset_builder")
            builder = module.Builder(data_dir=str(aside), file_format="array_record")
            builder.download_and_prepare()

    key = _version_key(name)
    folder = prepared(f"builtin/{name}-{key}", prepare)
    return folder, next(path.parent for path in folder.rglob("dataset_info.json"))


def _version_key(name: str) -> str:
    """What the prepared files depend on: another scikit-learn or interpreter prepares anew, beside the old."""
    import platform
    from importlib import metadata

    return f"python{platform.python_version()}" if name == "python_text" else f"sklearn{metadata.version('scikit-learn')}"


def _data_source(folder: Path, version_dir: Path, split: str) -> Any:
    with _quiet():
        import tensorflow_datasets as tfds

        try:
            return tfds.builder_from_directory(str(version_dir)).as_data_source(split=split)
        except Exception as error:
            raise DataError(f"{folder} cannot be read ({error}); delete the folder, it will be prepared again") from error


def _features(version_dir: Path) -> Any:
    with _quiet():
        import tensorflow_datasets as tfds

        return tfds.builder_from_directory(str(version_dir)).info.features


def _records(folder: Path) -> tuple[tuple[str, str], ...]:
    return tuple((name, digest) for name, digest in hashes(folder) if "array_record" in name)


def _table(
    rows: list[Any],
    features: Any,
    splits: dict[str, tuple[int, int]],
    files: list[tuple[str, str]],
    *,
    own_hashes: tuple[tuple[str, str], ...],
) -> Table:
    names = list(features)
    if not {"image", "features"} & set(names) or not {"label", "target"} & set(names):
        raise DataError(f"a TFDS set needs image or features, and label or target; this one has {', '.join(names)}")
    key = "image" if "image" in names else "features"
    inputs = np.stack([np.asarray(row[key]) for row in rows])
    inputs = inputs if key == "image" else inputs.astype(np.float32)
    feature_names = tuple(getattr(features[key], "doc", None) and (features[key].doc.desc or "").split(",") or ())
    feature_names = feature_names if len(feature_names) == inputs.shape[-1] and key == "features" else ()
    if key == "features" and not feature_names:
        feature_names = tuple(f"feature{i}" for i in range(inputs.shape[-1]))
    if "label" in names:
        classes = tuple(features["label"].names)
        targets = np.asarray([row["label"] for row in rows], np.int32)
        return Table(inputs, targets, classes, feature_names, (), splits, own_hashes, fingerprint(list(own_hashes)))
    targets = np.asarray([row["target"] for row in rows], np.float32).reshape(len(rows), -1)
    return Table(inputs, targets, (), feature_names, ("target",), splits, own_hashes, fingerprint(list(own_hashes)))


@contextmanager
def _quiet() -> Iterator[None]:
    """TFDS draws bars and logs hints; neither belongs into our terminal."""
    import logging
    import warnings

    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    os.environ.setdefault("TFDS_DISABLE_TQDM", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import tensorflow_datasets as tfds

            tfds.disable_progress_bar()
            yield
        finally:
            logger.setLevel(level)
