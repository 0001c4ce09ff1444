"""Rows that stay where they are: how a source that does not fit in memory gives examples, and what it does at bad ones.

A reader is a pure function of (row, draw): it may be called from many threads at once, in any order, and always fills
in the same values. So the content of a batch depends on nothing but its number.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from jaxnets.errors import DataError


class Leaf(NamedTuple):
    """What one example of a streamed split holds under one name."""

    shape: tuple[int, ...]
    dtype: str


class Reader(Protocol):
    """`leaves` says what `fill` writes: {"inputs": Leaf((32, 32, 3), "uint8"), ...}.

    A part of inputs that are several is named with a dot: "inputs.image".
    """

    @property
    def leaves(self) -> Mapping[str, Leaf]: ...

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        """Writes the examples at `rows` (n,) of the source into `out`, arrays (n …) of every leaf and of `weight`.

        draws: (n, 2) uint64, what to draw random numbers from while training: the seed and the example's place in the
               stream of training examples; None in evaluation, where nothing is random
        weight is 1 and may be set to 0 where an example does not count: a bad row that is skipped
        """
        ...


def part_of(batch: Mapping[str, Any], name: str) -> Any:
    """What a batch holds under the name of a leaf.

    >>> part_of({"inputs": {"image": 1}, "weight": 2}, "inputs.image"), part_of({"weight": 2}, "weight")
    (1, 2)
    """
    outer, dot, inner = name.partition(".")
    return batch[outer][inner] if dot else batch[outer]


def with_part(batch: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The batch with `value` under the name of a leaf, beside the other parts that are there.

    >>> with_part({"inputs": {"text": 1}}, "inputs.image", 2)
    {'inputs': {'text': 1, 'image': 2}}
    """
    outer, dot, inner = name.partition(".")
    return {**batch, outer: {**batch.get(outer, {}), inner: value} if dot else value}


class Bad:
    """The bad rows of a source: the first one stops, or they are skipped up to a limit. Safe to call from threads.

    >>> bad = Bad("skip", most=1)
    >>> bad("a.jpg, row 3", "zero bytes")
    >>> bad("a.jpg, row 3", "zero bytes")  # the same one again, in another epoch
    >>> bad.rows
    ['a.jpg, row 3: zero bytes']
    """

    def __init__(self, policy: Literal["stop", "skip"], *, most: int) -> None:
        self._policy, self._most = policy, most
        self._found: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, where: str, why: object) -> None:
        """Notes a bad row. Raises DataError naming it, if rows are not skipped or too many were."""
        with self._lock:
            self._found.setdefault(where, f"{where}: {why}")
            found = len(self._found)
        if self._policy == "stop":
            raise DataError(f"{where}: {why}; mend or remove it, or leave such rows out with --data.on_bad skip")
        if found > self._most:
            raise DataError(
                f"{where}: {why}; it is bad row number {found}, more than the {self._most} that data.most_bad allows; "
                "mend them, or raise --data.most_bad"
            )

    @property
    def rows(self) -> list[str]:
        """What was bad, each with its reason, in order of name."""
        with self._lock:
            return sorted(self._found.values())
