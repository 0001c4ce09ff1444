"""Charts of thousands of trials: axes as SVG, marks on a canvas above it, drawn by plates.js from packed numbers.

Scales are known here alone: what a page carries of a value is its place on an axis, as a whole number. So one column
serves every chart, and a trial that is pointed at in one chart is shown in all.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.report.sweep.dimension import Scale

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 78, 20, 14, 44
ROW = 62  # pixels from axis to axis of the parallel coordinates
_WHOLE, _NONE = 60000, 65535  # the far end of an axis, and no value; between them lies what is beyond the end
_CODE = Path(__file__).with_name("plates.js")
BANDS = 8  # of a contour plot
_FINE = 4  # cells of a contour plot for each of its grid, along each axis


class Plates:
    """The charts of a page, in the making: columns and charts go in, what the script needs comes out."""

    def __init__(self) -> None:
        self._columns: dict[str, str] = {}
        self._charts: list[dict[str, Any]] = []

    def column(self, name: str, places: np.ndarray) -> None:
        """places: (trial) between 0 and 1, NaN where a trial has none; what is beyond an end stands at its edge."""
        self._columns[name] = packed(places.clip(0.0, 1.0))

    def points(self, title: str, x: tuple[str, Scale], y: tuple[str, Scale], **more: Any) -> str:
        """A trial is a point. x, y: (name of the column, scale).

        above: SVG over the axes; top: whether the worse values are above, where failed trials are put
        grid:  (x y) in [0, 1], the background in bands
        """
        above, grid = more.pop("above", ""), more.pop("grid", None)
        chart = {"kind": "points", "x": x[0], "y": y[0], "box": _box(), "size": [WIDTH, HEIGHT], **more}
        if grid is not None:
            chart["grid"] = {"wide": grid.shape[0] * _FINE, "high": grid.shape[1] * _FINE, "bands": _bands(grid)}
        return self._figure(title, chart, axes(x[1], y[1], x[0], y[0], ruled=grid is None) + above)

    def curves(self, title: str, y: tuple[str, Scale], x: tuple[str, Scale], curves: Sequence[np.ndarray]) -> str:
        """A trial is a line. curves: (point, 2) for each trial, places on x and y."""
        ends = np.cumsum([0, *map(len, curves)]).astype("<u4")
        points = np.concatenate([*curves, np.zeros((0, 2))])
        chart = {
            "kind": "curves", "box": _box(), "size": [WIDTH, HEIGHT],
            "ends": base64.b64encode(ends.tobytes()).decode(), "points": packed(points.ravel()),
        }  # fmt: skip
        return self._figure(title, chart, axes(x[1], y[1], x[0], y[0]))

    def rows(self, title: str, rows: Sequence[tuple[str, Scale]]) -> str:
        """Parallel coordinates: an axis is a row, so that its name and its numbers stay readable on a phone."""
        high = ROW * (len(rows) - 1) + 50
        chart = {
            "kind": "rows",
            "columns": [name for name, _ in rows],
            "at": [24 + ROW * row for row in range(len(rows))],
            "box": [20, 0, WIDTH - 20, high],
            "size": [WIDTH, high],
        }
        inner = "".join(_row(name, scale, 24.0 + ROW * row) for row, (name, scale) in enumerate(rows))
        return self._figure(title, chart, inner)

    def script(self, states: Sequence[str], order: np.ndarray, heads: Sequence[str], words: Sequence[Any]) -> str:
        """What the page needs to draw its charts, once, behind them.

        order: places of the comparable trials, the best first; heads, words: what is said of a trial that is pointed at
        """
        data = {
            "states": "".join(state[:1] for state in states),  # complete, pruned, failed, running, waiting
            "order": order.tolist(),
            "heads": list(heads),
            "words": list(words),
            "columns": self._columns,
            "charts": self._charts,
        }
        text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        return (
            '<div id="dock" hidden></div><noscript><p class="note">The charts are drawn by a script, which this '
            f'browser does not run.</p></noscript><script type="application/json" id="sweep">{text}</script>'
            f"<script>{_CODE.read_text()}</script>"
        )

    def _figure(self, title: str, chart: dict[str, Any], inner: str) -> str:
        self._charts.append(chart)
        caption, (wide, high) = html.escape(title), chart["size"]
        return (
            f"<figure>{f'<figcaption>{caption}</figcaption>' if chart['kind'] != 'rows' else ''}"
            f'<div class="plate {chart["kind"]}" data-chart="{len(self._charts) - 1}">'
            f'<canvas></canvas><svg role="img" aria-label="{caption}" viewBox="0 0 {wide} {high}">{inner}</svg>'
            "<canvas></canvas><canvas></canvas></div></figure>"
        )


def packed(places: np.ndarray) -> str:
    """Places as whole numbers of two bytes, as text; a little beyond the far end is kept, so that curves leave there.

    >>> np.frombuffer(base64.b64decode(packed(np.array([0.0, 1.0, np.nan, 7.0]))), "<u2").tolist()
    [0, 60000, 65535, 65534]
    """
    with np.errstate(invalid="ignore"):
        whole = np.clip(np.round(places * _WHOLE), 0, _NONE - 1)
    return base64.b64encode(np.where(np.isfinite(places), whole, _NONE).astype("<u2").tobytes()).decode()


def _bands(grid: np.ndarray) -> str:
    """A grid (x y) between its least and largest value as the numbers of bands, finer, rows from top to bottom."""
    span = np.ptp(grid) or 1.0
    level = _finer(_finer((grid - grid.min()) / span).T)  # y x
    band = np.clip((level * BANDS).astype(int), 0, BANDS - 1)
    return "".join(map(str, band[::-1].ravel().tolist()))


def _finer(table: np.ndarray) -> np.ndarray:
    """`_FINE` rows for each, between them linear."""
    at = (np.arange(len(table) * _FINE) + 0.5) / _FINE - 0.5
    return np.stack([np.interp(at, np.arange(len(table)), column) for column in table.T], axis=1)


def _box() -> list[int]:
    return [LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM]


def place_x(place: float) -> float:
    return LEFT + place * (WIDTH - LEFT - RIGHT)


def place_y(place: float) -> float:
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)


def axes(x: Scale, y: Scale, x_name: str, y_name: str, *, ruled: bool = True) -> str:
    """Grid (if `ruled`), ticks and names, as svg.py draws them, for any two scales."""
    right, bottom, parts = WIDTH - RIGHT, HEIGHT - BOTTOM, []
    for place, words in y.ticks():
        at = place_y(place)
        end, kind = (right, "grid") if ruled else (LEFT - 4, "edge")
        parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{end}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 6}" y="{at + 4:.1f}">{html.escape(words)}</text>')
    for place, words in x.ticks():
        parts.append(
            f'<text class="tick mid" x="{place_x(place):.1f}" y="{bottom + 18}">{html.escape(words)}</text>'
            f'<line class="edge" x1="{place_x(place):.1f}" x2="{place_x(place):.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
        )
    parts.append(f'<line class="edge" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    middle, up = (LEFT + right) / 2, (TOP + bottom) / 2
    parts.append(f'<text class="axis mid" x="{middle}" y="{HEIGHT - 8}">{html.escape(x_name)}</text>')
    parts.append(f'<text class="axis mid" x="12" y="{up}" transform="rotate(-90 12 {up})">{html.escape(y_name)}</text>')
    return "".join(parts)


def _row(name: str, scale: Scale, at: float) -> str:
    parts = [
        f'<text class="name halo" x="20" y="{at - 10}">{html.escape(name)}</text>',
        f'<line class="edge" x1="20" x2="{WIDTH - 20}" y1="{at}" y2="{at}"/>',
    ]
    for place, words in scale.ticks(most=8):
        x = 20 + place * (WIDTH - 40)
        side = " mid" if 40 < x < WIDTH - 40 else " end" if x >= WIDTH - 40 else ""
        parts.append(
            f'<line class="edge" x1="{x:.1f}" x2="{x:.1f}" y1="{at}" y2="{at + 4}"/>'
            f'<text class="tick halo{side}" x="{x:.1f}" y="{at + 17}">{html.escape(words)}</text>'
        )
    return "".join(parts)


def line(places: np.ndarray, values: np.ndarray, kind: str) -> str:
    """A curve over the axes of `points`, from places on both."""
    pairs = " ".join(f"{place_x(a):.1f},{place_y(b):.1f}" for a, b in zip(places, values, strict=True))
    return f'<polyline class="line {kind}" points="{pairs}"/>'


def band(places: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """What lies between two curves."""
    there = [f"{place_x(a):.1f},{place_y(b):.1f}" for a, b in zip(places, high, strict=True)]
    back = [f"{place_x(a):.1f},{place_y(b):.1f}" for a, b in zip(places[::-1], low[::-1], strict=True)]
    return f'<polygon class="band" points="{" ".join(there + back)}"/>'
