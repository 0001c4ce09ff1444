"""Conclusions about a table: what is learned, from which columns, how it is split."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxnets.config import Experiment
from jaxnets.data import Columns, Data, Dataset, load
from jaxnets.data.table import fitting, reading, targets, values
from jaxnets.draft import choice, labels
from jaxnets.draft.outline import Outline, answered
from jaxnets.draft.place import Found
from jaxnets.errors import UsageError, near
from jaxnets.inspection import Finding, cheap
from jaxnets.tasks import Classification, MultiLabel, Regression

_USUAL = ("target", "label", "class", "y", "outcome", "response")  # names of targets
_SPLIT = ("split", "fold", "subset", "partition", "set")  # names of a column that says the split


def outline(found: Found, target: str | None) -> Outline:
    """The experiment for a table. UsageError if the target is not said, not there, or cannot be learned.

    Several labels a row are learned from a column of lists, or of texts like "a|b", and from columns of 0 and 1.
    """
    reader = reading.Reader(reading.find(found.source.partition(":")[2]))
    names = _target(found, reader.names, target)
    given = {name: _values(reader, name) for name in names}
    if not len(given[names[0]]):
        raise UsageError(f"{found.source} holds no rows; give a table with a header and rows")
    kinds = {name: "labels" for name in names if len(names) == 1 and labels.listed(given[name])}
    if len(names) == 1 and not kinds and not targets.is_list(given[names[0]].type):
        _check_target(found, reader.names, names[0], given[names[0]])
    missing = _without_target(found, given, kinds)
    data, reasons = _data(found, reader, names, missing, rows=len(given[names[0]]))
    if kinds:
        data = dataclasses.replace(data, columns=Columns(types=tuple(":".join(pair) for pair in kinds.items())))
        reasons["data.columns"] = f"any number of labels stands in {names[0]}; NAME:category where a text is a class"
    dataset = load(data)
    findings = cheap(dataset, data)
    data, more = answered(data, findings)
    return _concluded(found, data, dataset, findings, reasons | more)


def _target(found: Found, names: Sequence[str], target: str | None) -> tuple[str, ...]:
    if target is not None:
        wanted = (target,) if target in names else tuple(part.strip() for part in next(csv.reader([target]), []))
        for name in wanted or (target,):
            if name not in names:
                raise UsageError(f"--target {name!r} is no column of {found.source}{near(name, names)}; {_has(names)}")
        return wanted
    usual = [name for name in names if name.lower() in _USUAL]
    if len(usual) != 1:
        raise UsageError(f"what is to be learned from {found.source} is not said; give --target COLUMN: {_has(names)}")
    return (usual[0],)


def _has(names: Sequence[str]) -> str:
    return f"it has {', '.join(names[:20])}{' …' if len(names) > 20 else ''}"


def _values(reader: reading.Reader, name: str) -> Any:
    import pyarrow

    chunks = [chunk for _, chunk in reader.chunks([name])]
    return values._one(pyarrow.concat_tables(chunks, promote_options="permissive")[name]) if chunks else []


def _check_target(found: Found, names: Sequence[str], target: str, given: Any) -> None:
    """UsageError if the target is a constant, an identifier, a date or free text."""
    others = f"; choose another column: {', '.join(name for name in names if name != target)}"
    known = values.texts(given).drop_null()
    if not len(known):
        raise UsageError(f"--target {target}: no row of {found.source} has a value there{others}")
    kind, why, _ = fitting.infer(target, known)
    if kind == "constant" or values.pc().count_distinct(known).as_py() == 1:
        raise UsageError(f"--target {target} is always {known[0].as_py()!r}, so that there is nothing to learn{others}")
    if kind == "identifier" and not _measured(known):
        raise UsageError(f"--target {target} is an identifier ({why}), which nothing tells{others}")
    if kind in ("date", "text"):
        raise UsageError(f"--target {target} is a {kind} ({why}); classes and numbers can be learned{others}")


def _without_target(found: Found, given: Mapping[str, Any], kinds: Mapping[str, str]) -> int:
    """How many rows have no target. UsageError if several columns are learned, and one is not of numbers."""
    import pyarrow

    try:
        read = targets.read(pyarrow.table(given), tuple(given), kinds, ())
    except targets.BadTarget as error:
        raise UsageError(
            f"{found.source}, row {error.index}: {error}; columns that are learned together hold 0 and 1, or numbers"
        ) from error
    if not read.given.any():
        raise UsageError(f"{found.source} has no row with a value in {', '.join(given)}; give a table with some")
    return int((~read.given).sum())


def _measured(known: Any) -> bool:
    """Whether numbers that only rise are a measure after which the rows were sorted: a count has equal steps."""
    try:
        steps = np.diff(values.numbers(known))
    except values.BadValue:
        return False
    return bool((steps != steps[0]).any())


def _data(
    found: Found, reader: reading.Reader, names: Sequence[str], missing: int, *, rows: int
) -> tuple[Data, dict[str, str]]:
    target = names[0] if len(names) == 1 else ",".join(map(_quoted, names))
    reasons = {"data.split_by": "order where the rows follow each other in time; column:NAME, file:PATH"}
    own: dict[str, Any] = {"source": found.source, "target": target}
    if missing:
        own |= {"on_bad": "skip", "most_bad": missing}
        reasons["data.on_bad"] = f"{missing} of {rows} rows have no {target}"
    others = [name for name in reader.names if name not in names]
    splits = [name for name in others if name.lower() in _SPLIT and _says(reader, name)]
    if splits:
        own["split_by"] = f"column:{splits[0]}"
        reasons["data.split_by"] = "the table says which rows belong to which split"
    elif any(reader.files.splits):
        reasons["data.split_by"] = "without effect: the names of the files say it"
    else:
        reasons["data.test"] = "share of the rows that is tested on, drawn with data.split_seed"
        reasons["data.valid"] = "share that chooses the best weights"
    return Data(**own), reasons


def _quoted(name: str) -> str:
    """A name as one of many with commas between them."""
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"') else name


def _says(reader: reading.Reader, name: str) -> bool:
    words = {str(word).lower() for word in values.texts(_values(reader, name)).to_pylist()}
    return "train" in words and words <= set(reading.SPLITS)


def _concluded(
    found: Found, data: Data, dataset: Dataset, findings: Sequence[Finding], reasons: dict[str, str]
) -> Outline:
    schema, counts = dataset.schema, dict(dataset.schema.counts)
    real = schema.target_kind == "real"
    task = Classification(label_smoothing=0.05) if schema.target_kind == "class" else MultiLabel()
    chosen = choice.for_table(counts["train"], monitor="rmse" if real else "nll")
    reasons = chosen.reasons | reasons
    reasons["data.target"] = _about_target(dataset)
    experiment = Experiment(
        data=dataclasses.replace(data, batch_size=min(chosen.batch_size, counts["train"])),
        model=chosen.model,
        task=Regression() if real else task,
        optim=chosen.optim,
        loop=chosen.loop,
    )
    return Outline(
        experiment, f"{found.name}: {data.target} from {_count(dataset)}.", _lines(dataset), reasons, tuple(findings)
    )


def _count(dataset: Dataset) -> str:
    used, rows = sum(c.used for c in dataset.schema.columns), sum(n for _, n in dataset.schema.counts)
    return f"{used} column{'s' if used > 1 else ''} of {rows:,} rows"


def _about_target(dataset: Dataset) -> str:
    schema = dataset.schema
    every = np.concatenate([split.arrays["targets"] for split in dataset.splits.values()])
    if schema.target_kind == "real":
        return f"a number from {every.min():.6g} to {every.max():.6g}, mean {every.mean():.6g}"
    several = schema.target_kind == "labels"
    counts = every.sum(axis=0).astype(int) if several else np.bincount(every, minlength=len(schema.classes))
    each = ", ".join(f"{name} ({n:,})" for name, n in list(zip(schema.classes, counts, strict=True))[:8])
    each += ", …" if len(schema.classes) > 8 else ""
    return f"{len(schema.classes)} {f'labels, {every.sum(axis=1).mean():.2g} a row' if several else 'classes'}: {each}"


def _lines(dataset: Dataset) -> list[str]:
    """What each column is taken for, by kind, and how to say otherwise."""
    kinds: dict[str, list[str]] = {}
    for column in dataset.schema.columns:
        kinds.setdefault(column.kind, []).append(column.name)
    lines = [f"{re.sub('y$', 'ie', kind)}s {', '.join(names[:30])}" for kind, names in kinds.items() if kind != "drop"]
    return [*lines, 'otherwise columns=Columns(types=("NAME:number", "NAME:category", "NAME:drop")) in data']
