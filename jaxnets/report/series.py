"""`series.html`: the figures of several runs of one experiment, in one file that opens offline."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxnets.files import write_atomically
from jaxnets.report import svg
from jaxnets.report.document import document, section

_WIDTH, _LEFT, _RIGHT, _ROW, _FOOT = 360, 66, 14, 20, 24
_LEGEND = "<p>A dot is a run, the line the mean, the band its 95 % interval.</p>"
_TOTALS = {"mean": "mean", "deviation": "deviation", "low": "95 % from", "high": "95 % to"}
_NOTES = {
    "seeds": "Each run has another seed (init, dropout, augmentation, order of data) on the same splits.",
    "folds": "Each row of the source is tested in exactly one fold. Folds share most of their training rows, so the "
    "interval is somewhat too narrow.",
    "splits": "Each run draws other splits. They share rows, so the interval is somewhat too narrow.",
}


def write_page(folder: Path, figures: dict[str, Any]) -> None:
    """Writes `series.html` from the content of `series.json`, a series that is still under way included."""
    runs, by = figures["runs"], figures["by"]
    source = f" on {figures['data']['source']}" if figures["data"] else ""
    words = f"{figures['finished']} of {figures['count']} runs{source} are finished. {_NOTES[by]}"
    plots = "".join(
        dots(figure.replace("_", " "), [one["name"] for one in runs], [one["test"][figure] for one in runs], spread)
        for figure, spread in figures["test"].items()
    )
    body = "".join(
        [
            f"<header><h1>{html.escape(folder.resolve().name)}</h1><p>{html.escape(words)}</p></header>",
            _cards(figures["test"], len(runs)),
            section("Figures of the test split", f'{_LEGEND}<div class="charts">{plots}</div>' if plots else ""),
            section("Runs", _runs(runs, figures["test"]) if runs else ""),
        ]
    )
    write_atomically(folder / "series.html", document(folder.resolve().name, body).encode())


def _cards(test: dict[str, Any], count: int) -> str:
    cards = "".join(
        f'<div class="card"><span>test {html.escape(name.replace("_", " "))}, mean of {count}</span>'
        f"<b>{spread['mean']:.4f}</b><span>95 % interval {spread['low']:.4g} to {spread['high']:.4g}</span></div>"
        for name, spread in test.items()
    )
    return f'<div class="cards">{cards}</div>' if cards else ""


def _runs(runs: Sequence[dict[str, Any]], test: dict[str, Any]) -> str:
    """A row for each run, with a way to its own report, then mean, deviation and interval."""
    names = list(runs[0]["test"])
    settings = list(runs[0]["settings"])
    words = ["run", *(name.replace("_", " ") for name in names), "test examples", "tested step", *settings]
    lines = ["".join(f"<th>{html.escape(word)}</th>" for word in words)]
    for one in runs:
        cells = [f"{one['test'][name]:.4f}" for name in names]
        cells += [f"{one['test_examples']:,}", f"{one['tested_step']:,}", *map(str, one["settings"].values())]
        link = f'<th><a href="{one["name"]}/report.html">{one["name"]}</a></th>'
        lines.append(link + "".join(f"<td>{cell}</td>" for cell in cells))
    for key, word in _TOTALS.items() if test else ():
        cells = "".join(f"<td>{test[name][key]:.4f}</td>" for name in names)
        lines.append(f"<th>{word}</th>{cells}{'<td></td>' * (len(settings) + 2)}")
    inner = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table>{inner}</table></div>'


def dots(title: str, names: Sequence[str], values: Sequence[float], spread: dict[str, float]) -> str:
    """A dot for each run, one row each; behind them the mean as a line and its interval as a band."""
    ends = [*values, spread["low"], spread["high"]]
    low, high = min(ends), max(ends)
    pad = (high - low) * 0.05 or abs(low) * 0.05 or 0.5
    low, high = low - pad, high + pad
    bottom = 8 + _ROW * len(names)

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    band = f'x="{x(spread["low"]):.1f}" width="{max(x(spread["high"]) - x(spread["low"]), 1):.1f}"'
    words = f"mean {spread['mean']:.4g}, 95 % interval {spread['low']:.4g} to {spread['high']:.4g}"
    parts = [f'<rect class="band" y="4" height="{bottom - 4}" {band}><title>{words}</title></rect>']
    for value in svg.ticks(low, high, most=6):
        parts.append(f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="4" y2="{bottom}"/>')
        parts.append(f'<text class="tick mid" x="{x(value):.1f}" y="{bottom + 16}">{svg.label(value)}</text>')
    mean = x(spread["mean"])
    parts.append(f'<line class="line c0" x1="{mean:.1f}" x2="{mean:.1f}" y1="4" y2="{bottom}"/>')
    parts.append(f'<line class="edge" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        y = 4 + _ROW * (row + 0.5)
        parts.append(f'<text class="name end" x="{_LEFT - 8}" y="{y + 4:.1f}">{html.escape(name)}</text>')
        dot = f'cx="{x(value):.1f}" cy="{y:.1f}"'
        parts.append(f'<circle class="dot c1" r="5" {dot}><title>{html.escape(name)}: {value:.6g}</title></circle>')
    box = f'viewBox="0 0 {_WIDTH} {bottom + _FOOT}" style="max-width:{_WIDTH * 1.4:.0f}px"'
    caption = html.escape(title)
    return (
        f'<figure><figcaption>{caption}</figcaption><svg role="img" aria-label="{caption}: {words}" {box}>'
        f"{''.join(parts)}</svg></figure>"
    )
