"""Words in columns, for a terminal, a file or a pipe."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """One line a row, columns two blanks apart; those whose number is in `right` end flush.

    >>> print(columns([("name", "count"), ("a", "12,000"), ("long name", "3")], right=[1]))
    name        count
    a          12,000
    long name       3
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def scaled(value: int | float) -> str:
    """A large count in three digits and a letter.

    >>> scaled(8_178_000_000), scaled(1234), scaled(12)
    ('8.18 G', '1.23 k', '12')
    """
    for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{value / power:#.3g}".rstrip(".") + f" {letter}"
    return f"{value:.3g}"


def sparkline(values: Sequence[float], *, width: int = 32) -> str:
    """The course of a figure in one line of bars, means of neighbours where there are more than `width`.

    Values that are not finite leave a gap.

    >>> sparkline([0.0, 1.0, 2.0, 3.0]), sparkline([1.0, float("nan"), 1.0]), sparkline([])
    ('▁▃▆█', '▁ ▁', '')
    """
    count = min(width, len(values))
    parts = [values[len(values) * i // count : len(values) * (i + 1) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in parts]
    finite = [mean for mean in means if math.isfinite(mean)]
    if not finite:
        return " " * count
    low, span = min(finite), max(finite) - min(finite) or 1.0
    return "".join(_BARS[round((mean - low) / span * 7)] if math.isfinite(mean) else " " for mean in means)
