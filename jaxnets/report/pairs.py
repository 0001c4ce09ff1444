"""Two runs on the same test examples: the difference of their figures, example by example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxnets.report import intervals
from jaxnets.report.folder import Folder
from jaxnets.report.intervals import Interval


class Pair(NamedTuple):
    """Run number `run` minus run number `other`, over the test examples that both were tested on.

    differences: {figure: (difference, its 95 % interval)}
    words: of a classification, how often each is right alone; else ""
    """

    run: int
    other: int
    examples: int
    differences: dict[str, tuple[float, Interval]]
    words: str


def pairs(runs: Sequence[Folder]) -> list[Pair]:
    """Each finished run against the first of those before it that was tested on some of the same examples."""
    found = (_first_pair(runs, number) for number in range(1, len(runs)))
    return [pair for pair in found if pair is not None]


def _first_pair(runs: Sequence[Folder], number: int) -> Pair | None:
    return next((pair for other in range(number) if (pair := _pair(runs, number, other))), None)


def question(run: Folder) -> tuple[object, ...]:
    """What a run was asked: figures of two runs are comparable where this is equal."""
    schema = run.schema
    context = schema.input_shape if schema.input_kind == "token" else ()
    return schema.fingerprint, schema.target_kind, schema.classes, schema.target_names, context


def _pair(runs: Sequence[Folder], number: int, other: int) -> Pair | None:
    a, b = runs[number], runs[other]
    if not (a.result and b.result and a.table and b.table) or question(a) != question(b):
        return None
    _, at, there = np.intersect1d(a.table["row"], b.table["row"], return_indices=True)
    first, second = _rows(a, at), _rows(b, there)
    if not len(at) or first.keys() != second.keys() or not _same_targets(first, second):
        return None
    names = [name for name in a.result["test"] if name in b.result["test"]]
    return Pair(number, other, len(at), intervals.of_difference(first, second, names), _words(first, second))


def _rows(run: Folder, rows: np.ndarray) -> dict[str, np.ndarray]:
    kept = (
        "loss",
        "class",
        "probabilities",
        "value",
        "target",
        "labels",
        "hits",
        "true",
        "found",
        "embedding",
        "similarity",
    )
    return {name: run.table[name][rows] for name in (*kept, *intervals.levels(run.table)) if name in run.table}


def _same_targets(first: intervals.Table, second: intervals.Table) -> bool:
    return "target" not in first or np.array_equal(first["target"], second["target"])


def _words(first: intervals.Table, second: intervals.Table) -> str:
    if "class" not in first:
        return ""
    _, one, other, _ = intervals.alone(first, second)
    return f"right alone {one} and {other} times, McNemar's exact p = {intervals.mcnemar(one, other):.3g}"
