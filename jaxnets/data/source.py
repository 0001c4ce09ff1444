"""The config of data, and the way from its `source` to a `Dataset`: one kind of source per file."""

from __future__ import annotations

from typing import Literal

import numpy as np

from jaxnets.data import (
    documents,
    image_files,
    images,
    mixture,
    pairs,
    parquet,
    synthetic,
    text,
    texts,
    tfds,
    tokens,
)
from jaxnets.data.arrays import source as arrays
from jaxnets.data.audio import source as audio
from jaxnets.data.audio.source import Audio
from jaxnets.data.augment import Augmentation
from jaxnets.data.hub import source as hub
from jaxnets.data.partition import split_rows
from jaxnets.data.pictures import Images
from jaxnets.data.reader import Bad
from jaxnets.data.schema import Dataset, Schema, Split, moments
from jaxnets.data.table import source as table
from jaxnets.data.table.columns import Columns
from jaxnets.data.tables import Table
from jaxnets.data.tfds import BUILTIN
from jaxnets.data.timeseries import source as timeseries
from jaxnets.data.timeseries.config import Series
from jaxnets.data.tokenizer import Texts
from jaxnets.data.video import source as video
from jaxnets.data.video.clips import Video
from jaxnets.errors import ConfigError, DataError, near
from jaxnets.types import experiment_dataclass, stage

KINDS = (
    "tfds",
    "parquet",
    "images",
    "pairs",
    "audio",
    "text",
    "texts",
    "documents",
    "tokens",
    "table",
    "arrays",
    "hf",
    "mixture",
    "series",
    "video",
    "synthetic",
)
_FITTED = 4096  # rows that mean and deviation are fitted on, where inputs stay in their file


@experiment_dataclass
class Data:
    """Where examples come from and how they become batches."""

    source: str = "digits"  # or breast_cancer, wine, diabetes, python_text; or KIND:NAME, KIND one of KINDS
    batch_size: int = 128  # examples a step, over all devices
    valid: float = 0.1  # share held out for validation, where the source does not say
    test: float = 0.2  # share held out for the test, where the source does not say
    split_seed: int = 0  # of the random splits
    folds: int | None = None  # cross-validation: one of so many parts is the test split, in place of `test`
    fold: int = 0  # which one, from 0
    context: int | None = None  # tokens a window, or of a text; steps that a forecast sees, for time series
    vocabulary: int | None = None  # how many tokens there are, for tokens
    standardize: bool = True  # inputs to mean 0 and deviation 1, fitted on the train split
    augment: tuple[Augmentation, ...] = stage(())
    placement: Literal["auto", "device", "host"] = "auto"  # where the train split lives while training
    workers: int | None = None  # threads that read what is not in memory; none = one a core, 0 = in the loop itself
    on_bad: Literal["stop", "skip"] = "stop"  # at a row that cannot be read; what is skipped counts nothing
    most_bad: int = 100  # rows that may be skipped before it stops after all
    target: str | None = None  # the column of a table that is learned, or several with commas between them
    split_by: str = "random"  # or order, sklearn, column:NAME, file:PATH (rows of the test split), where:COLUMN=REGEX
    # (such rows are the test split), group:COLUMN (whole groups, one a fold, others for valid); for tables and files
    names: str | None = None  # what the names of files hold, as in {label}_{speaker}_{index}.wav
    checks: Literal["stop", "tell", "off"] = "stop"  # what is found before training: errors stop, are told, or unasked
    columns: Columns = stage(Columns())  # how the columns of a table are read and fitted
    texts: Texts = stage(Texts())  # how texts, of pairs too, and documents are read and become tokens
    series: Series = stage(Series())  # what the columns of time series mean
    images: Images = stage(Images())  # how encoded images that are read while training become arrays
    audio: Audio = stage(Audio())  # how files of sound become arrays
    video: Video = stage(Video())  # how files of video become clips


def load(config: Data) -> Dataset:
    """Reads a source. Raises ConfigError for a name that is not known, DataError for a source that cannot be used."""
    kind, _, name = config.source.partition(":")
    if not name:
        if kind not in BUILTIN:
            raise ConfigError(
                f"data.source {config.source!r} is not known; use one of {', '.join(BUILTIN)}, "
                f"KIND:NAME with {', '.join(KINDS)}{near(kind, (*BUILTIN, *KINDS))}"
            )
        if kind == "python_text":
            return _text(config, *tfds.read_python_text())
        return _table(config, tfds.read_builtin(kind))
    match kind:
        case "tfds":
            return _table(config, tfds.read_catalogue(name))
        case "parquet":
            return _table(config, parquet.read(name))
        case "text":
            return _text(config, *text.read(name))
        case "texts":
            return texts.read(config, name)
        case "documents":
            return documents.read(config, name)
        case "table":
            return table.read(config, name)
        case "arrays":
            return _table(config, arrays.read(name, Bad(config.on_bad, most=config.most_bad)))
        case "hf":
            return hub.read(config, name)
        case "mixture":
            return mixture.read(config, name, load)
        case "audio":
            return audio.read(config, name)
        case "video":
            return video.read(config, name)
        case "series":
            return timeseries.read(config, name)
        case "images":
            return (image_files if image_files.lists(name) else images).read(config, name)
        case "pairs":
            return pairs.read(config, name)
        case "tokens":
            return tokens.read(config, name)
        case "synthetic":
            return synthetic.read(config, name)
    raise ConfigError(f"data.source {config.source!r}: {kind} is no kind of source; use {', '.join(KINDS)}")


def _table(config: Data, table: Table) -> Dataset:
    """Splits, fitted moments and schema of arrays with one row an example."""
    mask = table.targets.ndim == 3
    rows = split_rows(config, table.targets, () if mask else table.classes, table.splits)
    if len(rows["train"]) == 0:
        raise DataError(f"{config.source}: the train split is empty; lower data.valid and data.test")
    splits = {name: _part(config, table, ids) for name, ids in rows.items()}
    mean, std = _moments(table, splits["train"]) if config.standardize else ((), ())
    real = not table.classes
    target_mean, target_std = moments(table.targets[rows["train"]]) if real else ((), ())
    schema = Schema(
        source=config.source,
        fingerprint=table.fingerprint,
        input_kind="image" if table.inputs.ndim == 4 else "row",
        input_shape=tuple(table.inputs.shape[1:]),
        input_dtype=table.reader.leaves["inputs"].dtype if table.reader else str(table.inputs.dtype),
        target_kind="real" if real else "mask" if mask else "class",
        feature_names=table.feature_names,
        input_mean=mean,
        input_std=std,
        classes=table.classes,
        target_names=table.target_names if real else (),
        target_mean=target_mean,
        target_std=target_std,
        counts=tuple((name, len(ids)) for name, ids in rows.items()),
        files=tuple(table.files.items()),
    )
    return Dataset(schema, splits)


def _part(config: Data, table: Table, ids: np.ndarray) -> Split:
    inputs = {} if table.reader else {"inputs": table.inputs[ids]}
    origins = table.origins or ((config.source, 0),)
    arrays = inputs | {"targets": table.targets[ids]}
    return Split(arrays, len(ids), rows=ids, origins=origins, reader=table.reader)


def _moments(table: Table, train: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of all train rows; of inputs that stay in their file, of an even share of them."""
    if table.reader is None:
        return moments(train.arrays["inputs"])
    return moments(table.inputs[train.row(np.arange(0, train.length, max(1, train.length // _FITTED)))])


def is_text(source: str) -> bool:
    """Whether a source is one text, or time series, whose splits follow each other and are never drawn.

    >>> is_text("text:shakespeare.txt"), is_text("python_text"), is_text("wine")
    (True, True, False)
    """
    kind, _, name = source.partition(":")
    if kind == "mixture":
        return any(is_text(one.source) for one in mixture.sources_of(name))
    return kind in ("text", "tokens", "python_text", "series") or source.startswith("synthetic:tokens")


def takes_context(source: str) -> bool:
    """Whether a source is read with `data.context`, the tokens of a window or of a text.

    >>> takes_context("pairs:photos.csv"), takes_context("wine")
    (True, False)
    """
    return is_text(source) or source.startswith(("pairs:", "synthetic:captions"))


def _text(config: Data, tokens: np.ndarray, files: dict[str, str], fingerprint: str) -> Dataset:
    """Consecutive splits of one text: test, then train, then valid, which follows what is trained on as in nanoGPT."""
    window = text.check_window(config)
    total = len(tokens)
    begins = {"train": round(config.test * total), "valid": total - round(config.valid * total), "test": 0}
    ends = {"train": begins["valid"], "valid": total, "test": begins["train"]}
    parts = {name: tokens[begins[name] : ends[name]] for name in begins}
    splits = {}
    for name, part in parts.items():
        stride = 1 if name == "train" else window
        length = max(0, (len(part) - window - 1) // stride + 1)
        splits[name] = Split(
            {"tokens": part}, length, window, stride, first=begins[name], origins=((config.source, 0),)
        )
    return Dataset(text.token_schema(config, splits, vocabulary=256, fingerprint=fingerprint, files=files), splits)
