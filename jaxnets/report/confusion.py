"""A confusion matrix as inline SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np


def matrix(title: str, counts: np.ndarray, names: Sequence[str]) -> str:
    """Rows are the true classes, columns the predicted ones; a cell's strength is its share of the row."""
    n = len(names)
    side = max(14.0, min(46.0, 520.0 / n))
    longest = max(len(name) for name in names)
    left = 30 + min(longest, 14) * 7.5
    width, height = left + side * n + 10, side * n + 34 + min(longest, 14) * (7.5 if longest > 3 else 3)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = []
    for row in range(n):
        for column in range(n):
            x, y, count = left + column * side, 4 + row * side, int(counts[row, column])
            words = f"true {html.escape(names[row])}, predicted {html.escape(names[column])}: {count}"
            kind = "none" if not count else "right" if row == column else "wrong"
            cells.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{side - 1:.1f}" height="{side - 1:.1f}" '
                f'fill-opacity="{_strength(shares[row, column]):.3f}"><title>{words}</title></rect>'
            )
            if count and side >= 20:
                strong = " strong" if shares[row, column] > 0.5 else ""
                cells.append(
                    f'<text class="cell{strong}" x="{x + side / 2:.1f}" y="{y + side / 2 + 4:.1f}">{count}</text>'
                )
        place = 4 + row * side + side / 2
        cells.append(f'<text class="name end" x="{left - 6:.1f}" y="{place + 4:.1f}">{_short(names[row])}</text>')
        x, y = left + row * side + side / 2, 4 + n * side
        if longest > 3:
            turned = f'x="{x + 4:.1f}" y="{y + 8:.1f}" transform="rotate(-90 {x + 4:.1f} {y + 8:.1f})"'
            cells.append(f'<text class="name end" {turned}>{_short(names[row])}</text>')
        else:
            cells.append(f'<text class="name mid" x="{x:.1f}" y="{y + 14:.1f}">{_short(names[row])}</text>')
    cells.append(f'<text class="axis mid" x="{left + side * n / 2:.1f}" y="{height - 4:.1f}">predicted</text>')
    middle = 4 + side * n / 2
    cells.append(f'<text class="axis mid" x="12" y="{middle:.1f}" transform="rotate(-90 12 {middle:.1f})">true</text>')
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px"'
    return f'<figure><figcaption>{html.escape(title)}</figcaption><svg role="img" {box}>{"".join(cells)}</svg></figure>'


def _strength(share: float) -> float:
    return 0.04 + 0.9 * math.sqrt(share) if share else 1.0


def _short(name: str) -> str:
    return html.escape(name if len(name) <= 14 else name[:13] + "…")
