"""TFDS without TensorFlow: our own builders over data that ships with dependencies, and catalogue sets by name."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.data.cache import prepared
from jaxnets.data.place import fetched_folder
from jaxnets.data.tables import Table, fingerprint_arrays
from jaxnets.errors import ConfigError, DataError, MissingExtra
from jaxnets.files import hash_folder
from jaxnets.remote import is_url

BUILTIN = ("digits", "breast_cancer", "wine", "diabetes", "python_text")


def read_builtin(name: str) -> Table:
    """One of our own sets, prepared into the cache on first use."""
    folder, version_dir = _builtin(name)
    rows, features = _rows(folder, version_dir)
    return _table(rows, features, {}, _records(folder))


def read_python_text() -> tuple[np.ndarray, dict[str, str], str]:
    """(tokens uint8, files, fingerprint) of the running interpreter's own library."""
    folder, version_dir = _builtin("python_text")
    rows, _ = _rows(folder, version_dir)
    content = b"".join(bytes(row["text"]) for row in rows)
    return np.frombuffer(content, np.uint8), _records(folder), hashlib.sha256(content).hexdigest()


def read_catalogue(name: str) -> Table:
    """`NAME` with its own train and test splits, or `NAME:SPLIT` as one pool of rows, of the TFDS catalogue.

    In place of the name a URL may stand, as in gs://bucket/mnist/3.0.1, where a set was prepared.
    The set holds image or features, and label or target; it was prepared before, or TFDS prepares it with TensorFlow.
    """
    parent, _, last = name.rpartition("/")
    last, _, split = last.partition(":")
    name = f"{parent}/{last}" if parent else last
    folder = fetched_folder(name) if is_url(name) else None
    with _quiet():
        import tensorflow_datasets as tfds

        try:
            builder: Any = (
                tfds.builder_from_directory(folder) if folder else tfds.builder(name, file_format="array_record")
            )
        except Exception as error:
            raise ConfigError(
                f"data.source tfds:{name} cannot be found: {str(error).splitlines()[0]}; see the catalogue of TFDS"
            ) from error
        if folder is None:
            _prepare_catalogue(builder, name)
        wanted = [split] if split else [own for own in ("train", "test") if own in builder.info.splits]
        if not split and "train" not in wanted:
            raise DataError(
                f"tfds:{name} has no split train; give one, as in tfds:{name}:{next(iter(builder.info.splits))}"
            )
        rows, splits = [], {}
        for own in wanted:
            try:
                part = list(builder.as_data_source(split=own))
            except Exception as error:
                raise DataError(
                    f"tfds:{name}, split {own}, cannot be read: {error}; it has {', '.join(builder.info.splits)}"
                ) from error
            splits[own] = (len(rows), len(rows) + len(part))
            rows += part
    return _table(rows, builder.info.features, {} if split else splits, hash_folder(Path(builder.data_dir)))


def _prepare_catalogue(builder: Any, name: str) -> None:
    if Path(builder.data_dir).exists():
        return
    try:
        importlib.import_module("tensorflow")
    except ImportError as error:
        raise MissingExtra(
            "tensorflow", extra="tf", purpose=f"to prepare tfds:{name}, which is not prepared yet"
        ) from error
    builder.download_and_prepare()


def _builtin(name: str) -> tuple[Path, Path]:
    def prepare(aside: Path) -> None:
        with _quiet():
            module = importlib.import_module(f"jaxnets.data.builtin.{name}.{name}_dataset_builder")
            builder = module.Builder(data_dir=str(aside), file_format="array_record")
            builder.download_and_prepare()

    folder = prepared(f"builtin/{name}-{_version_key(name)}", prepare)
    return folder, next(path.parent for path in folder.rglob("dataset_info.json"))


def _version_key(name: str) -> str:
    """What the prepared files depend on: another scikit-learn or interpreter prepares anew, beside the old."""
    import platform
    from importlib import metadata

    return (
        f"python{platform.python_version()}" if name == "python_text" else f"sklearn{metadata.version('scikit-learn')}"
    )


def _rows(folder: Path, version_dir: Path) -> tuple[list[Any], Any]:
    """(all rows, features) of one of our own sets."""
    with _quiet():
        import tensorflow_datasets as tfds

        try:
            builder: Any = tfds.builder_from_directory(str(version_dir))
            return list(builder.as_data_source(split="rows")), builder.info.features
        except Exception as error:
            raise DataError(
                f"{folder} cannot be read ({error}); delete the folder, it will be prepared again"
            ) from error


def _records(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in hash_folder(folder).items() if "array_record" in name}


def _table(rows: list[Any], features: Any, splits: dict[str, tuple[int, int]], files: dict[str, str]) -> Table:
    names = list(features)
    if not {"image", "features"} & set(names) or not {"label", "target"} & set(names):
        raise DataError(f"a TFDS set needs image or features, and label or target; this one has {', '.join(names)}")
    if not rows:
        raise DataError("a TFDS set holds no rows; give another split")
    key = "image" if "image" in names else "features"
    inputs = np.stack([np.asarray(row[key]) for row in rows])
    inputs = inputs if key == "image" else inputs.astype(np.float32)
    feature_names = _feature_names(features[key], inputs) if key == "features" else ()
    if "label" in names:
        classes = tuple(features["label"].names)
        targets = np.asarray([row["label"] for row in rows], np.int32)
        return Table(inputs, targets, classes, feature_names, (), splits, files, fingerprint_arrays(inputs, targets))
    targets = np.asarray([row["target"] for row in rows], np.float32).reshape(len(rows), -1)
    target_names = tuple(f"target{i}" for i in range(targets.shape[1])) if targets.shape[1] > 1 else ("target",)
    content = fingerprint_arrays(inputs, targets)
    return Table(inputs, targets, (), feature_names, target_names, splits, files, content)


def _feature_names(feature: Any, inputs: np.ndarray) -> tuple[str, ...]:
    """The names that our builders write into the feature's description, or feature0, feature1 …"""
    written = tuple((getattr(feature.doc, "desc", None) or "").split(","))
    return written if len(written) == inputs.shape[-1] else tuple(f"feature{i}" for i in range(inputs.shape[-1]))


@contextmanager
def _quiet() -> Iterator[None]:
    """TFDS prints, draws bars and logs hints; none of it belongs into our terminal."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            import tensorflow_datasets as tfds

            tfds.disable_progress_bar()
            yield
        finally:
            logger.setLevel(level)
