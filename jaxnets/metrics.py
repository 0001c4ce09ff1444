"""Running sums, and where figures go: a sink is three functions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnets.types import Metric

Record = dict[str, Any]


class Sink(NamedTuple):
    """Where records go; a user's own is three functions too, and `docs/trackers.md` has some.

    write: takes one record `{"step": n, "train" | "valid": {name: value}, "time": {...}}`
    flush: returns once all that was written is safe
    close: releases what is held
    """

    write: Callable[[Record], None]
    flush: Callable[[], None]
    close: Callable[[], None]


Opener = Callable[[list[Record]], Sink]  # takes the records that stand in the log already


def add(total: Any, more: Any) -> Any:
    """Two trees of sums added leaf by leaf, in float64, as JSON holds them; `None` is nothing yet.

    >>> add(None, {"total": 1.5}), add({"total": 1.5}, {"total": 2.0})
    ({'total': 1.5}, {'total': 3.5})
    """
    return _listed(_sum(total, more))


def gather(metrics: Mapping[str, Metric], total: Any, more: Any) -> Any:
    """Sums of one more batch of an evaluation, as arrays of float64; what a metric collects is appended to a list.

    An axis of lanes in front of every leaf stays there.

    >>> collecting = Metric(lambda *_: None, len, collects=True)
    >>> found = gather({"auc": collecting}, {"auc": [1], "loss": 1.0}, {"auc": 2, "loss": 0.5})
    >>> found["auc"], float(found["loss"])
    ([1, 2], 1.5)
    """
    found = {}
    for name, value in more.items():
        before = None if total is None else total[name]
        collects = name in metrics and metrics[name].collects
        found[name] = [*(before or ()), value] if collects else _sum(before, value)
    return found


def _sum(total: Any, more: Any) -> Any:
    if isinstance(more, dict):
        return {name: _sum(None if total is None else total[name], value) for name, value in more.items()}
    value = np.asarray(more, np.float64)
    return value if total is None else value + np.asarray(total, np.float64)


def _listed(sums: Any) -> Any:
    return {name: _listed(value) for name, value in sums.items()} if isinstance(sums, dict) else sums.tolist()


class JsonLines:
    """`metrics.jsonl`: one record a line, floats in full precision, with an offset to return to.

    On opening, everything after `offset` bytes is cut: lines that a killed run wrote after its last checkpoint.
    """

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self._file = open(path, "ab")  # noqa: SIM115
        self.cut(offset)

    def cut(self, offset: int) -> None:
        self._file.flush()
        self._file.truncate(offset)
        self._file.seek(0, os.SEEK_END)

    def write(self, record: Record) -> None:
        self._file.write(json.dumps(record, allow_nan=True).encode() + b"\n")
        self._file.flush()

    def offset(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class Silent:
    """The log of a process that writes none, since process 0 does."""

    def cut(self, offset: int) -> None: ...
    def write(self, record: Record) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...

    def offset(self) -> int:
        return 0


def read(path: Path) -> list[Record]:
    """The records of a `metrics.jsonl`; a last line that is cut short is left out."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def scalars(record: Record) -> Iterator[tuple[str, float]]:
    """(tag, value) of a record as trackers name them: what stands before the slash is a section of their pages.

    >>> list(scalars({"step": 5, "train": {"loss": 0.5}, "time": {"seconds": 2.0, "examples_per_second": 9.0}}))
    [('loss/train', 0.5), ('examples_per_second/train', 9.0)]
    """
    for split in ("train", "valid"):
        for name, value in record.get(split, {}).items():
            yield f"{name}/{split}", float(value)
    for name in ("examples_per_second", "mfu"):
        if name in record["time"]:
            yield f"{name}/train", float(record["time"][name])
