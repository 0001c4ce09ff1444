"""What a check found: how bad it is, in words, and the rows concerned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxnets.data import Split

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # worst first
_MOST_ROWS = 100  # that a finding names


class Finding(NamedTuple):
    """One finding.

    check:  the name of the check
    words:  what was found and what to do
    count:  rows concerned; rows: file and row of the first of them
    column: the one concerned, or ""

    >>> Finding("tiny class", "warning", "class b has 1 row", count=1, rows=("a.csv, row 4",)).line()
    'warning  tiny class: class b has 1 row (a.csv, row 4)'
    """

    check: str
    severity: Severity
    words: str
    count: int = 0
    rows: tuple[str, ...] = ()
    column: str = ""

    def line(self, *, most: int = 3) -> str:
        """The finding in one line, with at most so many rows."""
        shown = "; ".join(self.rows[:most]) + ("; …" if len(self.rows) > most or self.count > len(self.rows) else "")
        return f"{self.severity:<7}  {self.check}: {self.words}" + (f" ({shown})" if self.rows else "")

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return self._asdict() | {"rows": list(self.rows)}


def named(split: Split, ids: Iterable[Any], *, most: int = _MOST_ROWS) -> tuple[str, ...]:
    """File and row of the first examples of a split."""
    return tuple(split.where(int(example)) for example, _ in zip(ids, range(most), strict=False))


def pairs(first: Split, others: np.ndarray, second: Split, ids: np.ndarray) -> tuple[str, ...]:
    """Examples of one split, each with its twin of another."""
    both = zip(named(first, others), named(second, ids), strict=False)
    return tuple(f"{one} = {other}" for one, other in both)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; else in the order given."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def shares(count: int, whole: int) -> str:
    """A count with its share of the whole.

    >>> shares(3, 200), shares(0, 0)
    ('3 of 200 (1.5 %)', '0 of 0')
    """
    return f"{count:,} of {whole:,}" + (f" ({100 * count / whole:.2g} %)" if whole else "")


def spread(length: int, most: int) -> np.ndarray:
    """At most so many of the numbers below `length`, evenly spread."""
    return np.arange(length) if length <= most else np.linspace(0, length - 1, most).astype(np.int64)
