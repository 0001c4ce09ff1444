"""The config of data, and the way from its `source` to a `Dataset`: one kind of source per file."""

from __future__ import annotations

from typing import Literal

import numpy as np

from jaxnets.data import parquet, text, tfds
from jaxnets.data.augment import Augmentation
from jaxnets.data.schema import Dataset, Schema, Split, moments
from jaxnets.data.tables import Table
from jaxnets.data.tfds import BUILTIN
from jaxnets.errors import ConfigError, DataError, near
from jaxnets.types import experiment_dataclass, stage


@experiment_dataclass
class Data:
    """Where examples come from and how they become batches."""

    source: str = "digits"  # digits, breast_cancer, wine, diabetes, python_text, tfds:NAME, parquet:NAME, text:FILE
    batch_size: int = 128  # examples a step, over all devices
    valid: float = 0.1  # share held out for validation, where the source does not say
    test: float = 0.2  # share held out for the test, where the source does not say
    split_seed: int = 0  # of the random splits
    folds: int | None = None  # cross-validation: one of so many parts is the test split, in place of `test`
    fold: int = 0  # which one, from 0
    context: int | None = None  # tokens a window, for text
    standardize: bool = True  # inputs to mean 0 and deviation 1, fitted on the train split
    augment: tuple[Augmentation, ...] = stage(())
    placement: Literal["auto", "device", "host"] = "auto"  # where the train split lives while training


def load(config: Data) -> Dataset:
    """Reads a source. Raises ConfigError for a name that is not known, DataError for a source that cannot be used."""
    kind, _, name = config.source.partition(":")
    if not name:
        if kind not in BUILTIN:
            raise ConfigError(
                f"data.source {config.source!r} is not known; use one of {', '.join(BUILTIN)}, "
                f"tfds:NAME, parquet:NAME or text:FILE{near(kind, BUILTIN)}"
            )
        if kind == "python_text":
            return _tokens(config, *tfds.read_python_text())
        return _table(config, tfds.read_builtin(kind))
    match kind:
        case "tfds":
            return _table(config, tfds.read_catalogue(name))
        case "parquet":
            return _table(config, parquet.read(name))
        case "text":
            return _tokens(config, *text.read(name))
    raise ConfigError(f"data.source {config.source!r}: {kind} is no kind of source; use tfds, parquet or text")


def _table(config: Data, table: Table) -> Dataset:
    """Splits, fitted moments and schema of arrays with one row an example."""
    rows = _split_rows(config, table)
    parts = {name: (table.inputs[ids], table.targets[ids]) for name, ids in rows.items()}
    train_inputs, train_targets = parts["train"]
    if len(train_inputs) == 0:
        raise DataError(f"{config.source}: the train split is empty; lower data.valid and data.test")
    mean, std = moments(train_inputs) if config.standardize else ((), ())
    real = not table.classes
    target_mean, target_std = moments(train_targets) if real else ((), ())
    schema = Schema(
        source=config.source,
        fingerprint=table.fingerprint,
        input_kind="image" if table.inputs.ndim == 4 else "row",
        input_shape=tuple(table.inputs.shape[1:]),
        input_dtype=str(table.inputs.dtype),
        target_kind="real" if real else "class",
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
    origins = table.origins or ((config.source, 0),)
    splits = {
        n: Split({"inputs": x, "targets": y}, len(x), rows=rows[n], origins=origins) for n, (x, y) in parts.items()
    }
    return Dataset(schema, splits)


def _split_rows(config: Data, table: Table) -> dict[str, np.ndarray]:
    """Row numbers of each split: the source's own where it has them, random and stratified where it has not."""
    own = {name: np.arange(start, stop) for name, (start, stop) in table.splits.items()}
    labels = table.targets if table.classes else None
    rest = own.pop("train", np.arange(len(table.inputs)))
    if config.folds is not None:
        own["test"], rest = _test_fold(config, config.folds, rest, table)
    for name, share, salt in (("test", config.test, 0), ("valid", config.valid, 1)):
        if name in own:
            continue
        whole = len(rest) if table.splits else len(table.inputs)
        own[name], rest = _held_out(rest, round(share * whole), labels, seed=(config.split_seed, salt))
    return {"train": rest, "valid": own["valid"], "test": own["test"]}


def _held_out(
    rows: np.ndarray, count: int, labels: np.ndarray | None, *, seed: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """(`count` rows, the rest), sorted; with labels, each class gives its share, largest remainders first."""
    draw = np.random.Generator(np.random.Philox(list(seed)))
    if labels is None or count == 0:
        taken = draw.permutation(len(rows))[:count]
    else:
        own = labels[rows]
        kinds, sizes = np.unique(own, return_counts=True)
        exact = sizes * (count / len(rows))
        quota = np.floor(exact).astype(int)
        quota[np.argsort(-(exact - quota), kind="stable")[: count - quota.sum()]] += 1
        taken = np.concatenate(
            [draw.permutation(np.flatnonzero(own == k))[:q] for k, q in zip(kinds, quota, strict=True)]
        )
    mask = np.zeros(len(rows), bool)
    mask[taken] = True
    return rows[mask], rows[~mask]


def _test_fold(config: Data, folds: int, rows: np.ndarray, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """(the rows of the test fold, the rest). Raises ConfigError if the source cannot be folded so often."""
    if "test" in table.splits:
        raise ConfigError(
            f"data.folds {folds}: {config.source} has a test split of its own, which stays the test split; leave "
            "data.folds out, or give one pool of rows, as in tfds:NAME:train"
        )
    labels = table.targets[rows] if table.classes else np.zeros(len(rows), np.int32)
    kinds, sizes = np.unique(labels, return_counts=True)
    if folds > sizes.min():
        where = f"of class {table.classes[kinds[sizes.argmin()]]}" if table.classes else "of the source"
        raise ConfigError(
            f"data.folds {folds} are more than the {sizes.min()} rows {where}; give at most {sizes.min()}"
        )
    taken = folds_of(labels, folds, seed=config.split_seed) == config.fold
    return rows[taken], rows[~taken]


def folds_of(labels: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """The number of the fold (n,) that each row with these labels (n,) is in.

    Rows are shuffled inside their class and dealt out one after the other, class after class, so that both the folds
    and each class inside them differ by at most one row.

    >>> np.bincount(folds_of(np.array([0, 0, 0, 0, 1, 1, 1]), 3, seed=0)).tolist()
    [3, 2, 2]
    """
    draw = np.random.Generator(np.random.Philox([seed, 2]))  # 0 and 1 draw test and valid
    dealt = np.concatenate([draw.permutation(np.flatnonzero(labels == kind)) for kind in np.unique(labels)])
    folded = np.empty(len(labels), np.int64)
    folded[dealt] = np.arange(len(labels)) % folds
    return folded


def is_text(source: str) -> bool:
    """Whether a source is one text, whose splits follow each other and are never drawn.

    >>> is_text("text:shakespeare.txt"), is_text("python_text"), is_text("wine")
    (True, True, False)
    """
    return source.partition(":")[0] in ("text", "python_text")


def _tokens(config: Data, tokens: np.ndarray, files: dict[str, str], fingerprint: str) -> Dataset:
    """Consecutive splits of one text: test, then train, then valid, which follows what is trained on as in nanoGPT."""
    window = config.context
    if config.folds is not None:
        raise ConfigError(
            f"data.folds {config.folds}: {config.source} is one text, whose splits follow each other; leave data.folds "
            "out (other seeds, as by train --seeds, tell how much a figure varies)"
        )
    if window is None:
        raise ConfigError(f"data.context is none, but {config.source} is text; give the tokens of a window, as in 64")
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
    schema = Schema(
        source=config.source,
        fingerprint=fingerprint,
        input_kind="token",
        input_shape=(window,),
        input_dtype="int32",
        target_kind="token",
        vocabulary_size=256,
        counts=tuple((name, split.length) for name, split in splits.items()),
        files=tuple(files.items()),
    )
    return Dataset(schema, splits)
