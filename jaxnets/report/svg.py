"""Charts as inline SVG: lines, points, bars. Colours come from the page's style sheet."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 20, 14, 44
_MOST = 400  # points a line
_COLOURS = 4  # in the style sheet; then the same again, dashed
_LETTER = 6.4  # pixels, the width of a letter of a label


class Line(NamedTuple):
    """One curve: its name and its points; values that are not finite leave a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most about `most`.

    >>> ticks(0.0, 10.0), ticks(0.913, 0.987)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [0.92, 0.94, 0.96, 0.98])
    """
    if not high > low:
        return [low]
    raw = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)) + 1)
    return [round(number * step, digits) for number in range(first, last + 1)]


def powers(low: float, high: float, *, most: int = 6) -> list[float]:
    """Places of round numbers on a logarithmic axis that goes from 10 ** `low` to 10 ** `high`.

    >>> [round(10**place, 9) for place in powers(-1.2, 0.4)], powers(-4.1, 3.2)
    ([0.1, 0.2, 0.5, 1.0, 2.0], [-4.0, -2.0, 0.0, 2.0])
    """
    if high - low < 0.5:  # less than 1, 2, 5: the numbers themselves lie all but evenly
        return [math.log10(value) for value in ticks(10**low, 10**high, most=most)]
    whole = range(math.floor(low), math.ceil(high) + 1)
    fine = [math.log10(factor) + power for power in whole for factor in (1, 2, 5)]
    fine = [place for place in fine if low <= place <= high]
    if len(fine) <= most:
        return fine
    every = -(-(math.floor(high) - math.ceil(low) + 1) // most)
    return [float(power) for power in whole if low <= power <= high and power % every == 0]


def label(value: float) -> str:
    """A number as a reader wants it on an axis.

    >>> label(1500.0), label(0.0003), label(0.25)
    ('1,500', '3e-4', '0.25')
    """
    if 1000 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, power = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(power)}"
    return f"{value:.4g}"


def lines(
    title: str,
    curves: Sequence[Line],
    *,
    x: str,
    y: str,
    logarithmic: bool = False,
    logarithmic_x: bool = False,
    marks_at: Mapping[str, float] | None = None,
    ends: bool = False,
) -> str:
    """Curves over one axis, with a legend where there is more than one; "" if there is nothing to draw.

    A curve's colour and dashes follow from its place in `curves`, so that it keeps them from plot to plot.
    marks_at: places on the x axis with their names, each an upright line
    ends:     each curve's name stands at its end as well
    """
    if logarithmic_x:
        curves = [Line(curve.name, np.log10(curve.x).tolist(), curve.y) for curve in curves]
    kept = [(index, _kept(curve, logarithmic)) for index, curve in enumerate(curves)]
    kept = [(index, curve) for index, curve in kept if len(curve.x)]
    if not kept:
        return ""
    xs = np.concatenate([curve.x for _, curve in kept])
    ys = np.concatenate([curve.y for _, curve in kept])
    right = 14 + _LETTER * max(len(short(curve.name)) for _, curve in kept) if ends else float(_RIGHT)
    frame = _Frame(_span(xs), _span(ys, pad=0.05), logarithmic, logarithmic_x, right=right)
    marks = []
    for name, value in (marks_at or {}).items():
        marks.append(frame.mark(name, math.log10(value) if logarithmic_x else value))
    for index, curve in kept:
        points = " ".join(f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in zip(curve.x, curve.y, strict=True))
        if len(curve.x) == 1:
            place = f'cx="{frame.x(curve.x[0]):.1f}" cy="{frame.y(curve.y[0]):.1f}"'
            marks.append(f'<circle class="dot {_kind(index)}" r="4" {place}/>')
        marks.append(
            f'<polyline class="line {_kind(index)}" points="{points}">'
            f"<title>{html.escape(curve.name)}</title></polyline>"
        )
    marks += _ends(frame, kept) if ends else []
    legend = "".join(key(curve.name, index) for index, curve in kept) if len(kept) > 1 else ""
    return _figure(title, frame.axes(x, y) + "".join(marks), legend=legend)


def _kind(index: int) -> str:
    """The classes of the curve in this place: a colour, and dashes where the colours begin again."""
    turn = index // _COLOURS % 4
    return f"c{index % _COLOURS}" + (f" s{turn}" if turn else "")


def key(name: str, index: int) -> str:
    """The name of the curve in this place, after a piece of its line."""
    piece = f'<line class="line {_kind(index)}" x1="0" x2="24" y1="4" y2="4"/>'
    return f'<span class="key"><svg viewBox="0 0 24 8" aria-hidden="true">{piece}</svg>{html.escape(name)}</span>'


def _ends(frame: _Frame, curves: Sequence[tuple[int, Line]]) -> list[str]:
    """Each curve's name beside its last point; names that would lie over each other are moved apart."""
    labels = [(frame.y(curve.y[-1]), frame.x(curve.x[-1]) + 5, index, short(curve.name)) for index, curve in curves]
    placed: list[tuple[float, float, int, str]] = []
    for y, x, index, name in sorted(labels):
        over = [old[0] + 13 for old in placed if abs(old[1] - x) < _LETTER * max(len(name), len(old[3]))]
        placed.append((max([y, *over]), x, index, name))
    lowest = max(y for y, *_ in placed)
    up = max(0.0, lowest - (_HEIGHT - _BOTTOM))
    return [
        f'<text class="ending {_kind(index)}" x="{x:.1f}" y="{y - up + 4:.1f}">{html.escape(name)}</text>'
        for y, x, index, name in placed
    ]


def short(name: str, *, most: int = 18) -> str:
    """A name with its middle left out where it is long: names of runs differ at their ends.

    >>> short("digits_cnn"), short("digits_cnn_rate_0.0003_seed_1")
    ('digits_cnn', 'digits…0003_seed_1')
    """
    head = (most - 1) // 3 + 1
    return name if len(name) <= most else f"{name[:head]}…{name[head + 1 - most :]}"


def points(title: str, xs: np.ndarray, ys: np.ndarray, *, x: str, y: str, diagonal: bool = False) -> str:
    """A scatter of at most some hundred points, with the line y = x if asked for."""
    chosen = np.linspace(0, len(xs) - 1, min(len(xs), 600)).astype(int)
    xs, ys = np.asarray(xs, float)[chosen], np.asarray(ys, float)[chosen]
    both = _span(np.concatenate([xs, ys]), pad=0.05)
    frame = _Frame(both, both, False) if diagonal else _Frame(_span(xs, pad=0.05), _span(ys, pad=0.05), False)
    marks = [
        f'<circle class="dot c0" r="3" cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}"/>'
        for a, b in zip(xs, ys, strict=True)
    ]
    if diagonal:
        a, b = both
        ends = f'x1="{frame.x(a):.1f}" y1="{frame.y(a):.1f}" x2="{frame.x(b):.1f}" y2="{frame.y(b):.1f}"'
        marks.append(f'<line class="guide" {ends}/>')
    return _figure(title, frame.axes(x, y) + "".join(marks))


def histogram(title: str, values: np.ndarray, *, x: str, bins: int = 30) -> str:
    """How often values fall where; all but equal ones stand in one bar.

    >>> histogram("t", np.float32([1.0, 1.0 + 1e-7]), x="x").startswith("<figure")
    True
    """
    values = np.asarray(values, np.float64)
    low, high = float(values.min()), float(values.max())
    least = 1e-6 * max(1.0, abs(low), abs(high))  # narrower, the edges of the bars would not differ
    if high - low < least:
        low, high = low - least, high + least
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    frame = _Frame((float(edges[0]), float(edges[-1])), (0.0, float(max(counts.max(), 1)) * 1.05), False)
    bars = []
    for count, a, b in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        top, bottom = frame.y(float(count)), frame.y(0.0)
        width = max(frame.x(b) - frame.x(a) - 1, 1)
        place = f'x="{frame.x(a):.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}"'
        bars.append(f'<rect class="bar" {place}><title>{count} from {label(a)} to {label(b)}</title></rect>')
    return _figure(title, frame.axes(x, "examples") + "".join(bars))


class _Frame:
    """Data coordinates to places in the picture."""

    def __init__(
        self,
        xs: tuple[float, float],
        ys: tuple[float, float],
        logarithmic: bool,
        logarithmic_x: bool = False,
        *,
        right: float = float(_RIGHT),
    ) -> None:
        self.xs, self.ys, self.logarithmic, self.logarithmic_x = xs, ys, logarithmic, logarithmic_x
        self.end = _WIDTH - right

    def x(self, value: float) -> float:
        low, high = self.xs
        return _LEFT + (value - low) / (high - low) * (self.end - _LEFT)

    def y(self, value: float) -> float:
        low, high = self.ys
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    def mark(self, name: str, value: float) -> str:
        """An upright line with its name, to the side where there is room."""
        place = self.x(value)
        room = place < (_LEFT + _WIDTH - _RIGHT) / 2
        return (
            f'<line class="guide" x1="{place:.1f}" x2="{place:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
            f'<text class="name{"" if room else " end"}" x="{place + (6 if room else -6):.1f}" y="{_TOP + 10}">'
            f"{html.escape(name)}</text>"
        )

    def axes(self, x: str, y: str) -> str:
        parts = []
        for value in (powers if self.logarithmic else ticks)(*self.ys):
            place = self.y(value)
            words = label(10**value) if self.logarithmic else label(value)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{self.end:g}" y1="{place:.1f}" y2="{place:.1f}"/>')
            parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{place + 4:.1f}">{words}</text>')
        for value in ticks(*self.xs):
            place = self.x(value)
            words = label(10**value) if self.logarithmic_x else label(value)
            parts.append(f'<text class="tick mid" x="{place:.1f}" y="{_HEIGHT - _BOTTOM + 18}">{words}</text>')
        bottom = _HEIGHT - _BOTTOM
        parts.append(f'<line class="edge" x1="{_LEFT}" x2="{self.end:g}" y1="{bottom}" y2="{bottom}"/>')
        middle = (_LEFT + self.end) / 2
        parts.append(f'<text class="axis mid" x="{middle}" y="{_HEIGHT - 8}">{html.escape(x)}</text>')
        up = (_TOP + bottom) / 2
        parts.append(f'<text class="axis mid" x="12" y="{up}" transform="rotate(-90 12 {up})">{html.escape(y)}</text>')
        return "".join(parts)


def _figure(title: str, content: str, *, legend: str = "") -> str:
    caption = html.escape(title)
    return (
        f'<figure><figcaption>{caption}{legend}</figcaption><svg role="img" aria-label="{caption}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}">{content}</svg></figure>'
    )


def _kept(curve: Line, logarithmic: bool) -> Line:
    xs, ys = np.asarray(curve.x, float), np.asarray(curve.y, float)
    good = np.isfinite(ys) & ((ys > 0) | (not logarithmic))
    xs, ys = xs[good], np.log10(ys[good]) if logarithmic else ys[good]
    if len(xs) > _MOST:
        chosen = np.unique(np.linspace(0, len(xs) - 1, _MOST).astype(int))
        xs, ys = xs[chosen], ys[chosen]
    return Line(curve.name, xs.tolist(), ys.tolist())


def _span(values: np.ndarray, *, pad: float = 0.0) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    if low == high:
        half = abs(low) * 0.05 or 0.5
        return low - half, high + half
    more = (high - low) * pad
    return low - more, high + more


def table(rows: Mapping[str, str]) -> str:
    """Two columns of words, both escaped."""
    cells = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows.items())
    return f'<div class="scroll"><table>{cells}</table></div>'
