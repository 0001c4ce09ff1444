"""How far seeds move a result: trials that differ in their seed alone, side by side."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnets.report import svg
from jaxnets.report.document import grid, word
from jaxnets.report.sweep.folder import Sweep

_MOST = 12  # settings shown
_WIDTH, _LEFT, _RIGHT, _ROW, _FOOT = 640, 44, 20, 24, 26


class Group(NamedTuple):
    """Settings, and the values of the first objective of the trials that share them.

    number:   of its first trial
    interval: of 95 % for the mean, by Student's t
    """

    number: int
    settings: dict[str, Any]
    values: np.ndarray
    interval: tuple[float, float]

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def deviation(self) -> float:
        return float(self.values.std(ddof=1))


def is_seed(path: str) -> bool:
    """
    >>> is_seed("seed"), is_seed("data.seed"), is_seed("model.width")
    (True, True, False)
    """
    return path.rpartition(".")[2] == "seed"


def groups(sweep: Sweep) -> list[Group]:
    """The settings that finished with two seeds or more, the best mean first."""
    found: dict[str, list[int]] = {}
    for place in np.flatnonzero(sweep.complete()).tolist():
        found.setdefault(word(_without(sweep.trials[place]["settings"])), []).append(place)
    if not any(map(is_seed, sweep.space)):
        return []
    several = [_group(sweep, places) for places in found.values() if len(places) > 1]
    return sorted(several, key=lambda group: group.mean, reverse=sweep.objectives[0].larger)


def _without(settings: dict[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in settings.items() if not is_seed(path)}


def _group(sweep: Sweep, places: Sequence[int]) -> Group:
    from scipy import stats

    values = sweep.values[list(places), 0]
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    mean = float(values.mean())
    first = sweep.trials[places[0]]
    return Group(first["number"], _without(first["settings"]), values, (mean - half, mean + half))


def pooled(found: Sequence[Group]) -> float:
    """The deviation from seed to seed, over all groups."""
    freedom = np.array([len(group.values) - 1 for group in found])
    return float(np.sqrt((freedom * [group.deviation**2 for group in found]).sum() / freedom.sum()))


def content(sweep: Sweep) -> str:
    """The section; "" where no settings were tried with two seeds."""
    found = groups(sweep)
    if not found:
        return ""
    shown, figure = found[:_MOST], sweep.objectives[0].figure.replace(".", " ")
    words = (
        f"{len(found):,} settings finished with two seeds or more. From seed to seed the {figure} of equal settings "
        f"deviates by {pooled(found):.3g}; the means of the settings deviate by "
        f"{np.std([group.mean for group in found]):.3g}."
    )
    if len(found) > 1:
        words += f" {_between(found[0], found[1])}"
    paths = [path for path in sweep.space if not is_seed(path)]
    rows = [["settings", "seeds", "mean", "deviation", "95 % interval", *map(html.escape, paths)]]
    for number, group in enumerate(shown, 1):
        low, high = group.interval
        cells = [str(len(group.values)), f"{group.mean:.4g}", f"{group.deviation:.3g}", f"{low:.4g} to {high:.4g}"]
        rows.append([str(number), *cells, *(setting(group.settings, path) for path in paths)])
    return f"<p>{html.escape(words)}</p>{_dots(figure, shown)}{grid(rows, kind='wide')}"


def _between(first: Group, second: Group) -> str:
    from scipy import stats

    if first.deviation == second.deviation == 0:
        return ""
    p = float(np.asarray(stats.ttest_ind(first.values, second.values, equal_var=False))[1])
    apart = "more than seeds explain" if p < 0.05 else "which seeds alone could do"
    return f"The two best differ by {abs(first.mean - second.mean):.3g}, {apart} (Welch's p = {p:.2g})."


def setting(settings: Mapping[str, Any], path: str) -> str:
    """A trial's setting in a cell of a table, "–" where it has none.

    >>> setting({"optim": "sgd"}, "optim.momentum"), setting({"model.dropout": None}, "model.dropout")
    ('–', 'none')
    """
    return html.escape(short(settings[path])) if path in settings else "–"


def short(value: Any) -> str:
    """A setting as a table shows it.

    >>> short(0.0123456789), short("relu"), short(None), short(64)
    ('0.01235', 'relu', 'none', '64')
    """
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else word(value)


def _dots(figure: str, shown: Sequence[Group]) -> str:
    """A row for each group: a dot for each seed, the mean as a line, its interval as a band."""
    ends = np.concatenate([group.values for group in shown])
    low, high = float(ends.min()), float(ends.max())
    pad = (high - low) * 0.06 or abs(low) * 0.05 or 0.5
    low, high, bottom = low - pad, high + pad, 8 + _ROW * len(shown)

    def x(value: float) -> float:
        return _LEFT + (min(max(value, low), high) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    parts = []
    for value in svg.ticks(low, high):
        parts.append(f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="4" y2="{bottom}"/>')
        parts.append(f'<text class="tick mid" x="{x(value):.1f}" y="{bottom + 17}">{svg.label(value)}</text>')
    parts.append(f'<line class="edge" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    for row, group in enumerate(shown):
        y, (a, b) = 4 + _ROW * (row + 0.5), map(x, group.interval)
        parts.append(f'<text class="name end" x="{_LEFT - 10}" y="{y + 4:.1f}">{row + 1}</text>')
        parts.append(f'<rect class="band" x="{a:.1f}" width="{max(b - a, 1):.1f}" y="{y - 8:.1f}" height="16"/>')
        mean = x(group.mean)
        parts.append(f'<line class="line c0" x1="{mean:.1f}" x2="{mean:.1f}" y1="{y - 8:.1f}" y2="{y + 8:.1f}"/>')
        for value in group.values.tolist():
            dot = f'cx="{x(value):.1f}" cy="{y:.1f}"'
            parts.append(f'<circle class="dot c1" r="4" {dot}><title>{value:.6g}</title></circle>')
    caption = f"{figure}, by settings: a dot is a seed, the line the mean, the band its 95 % interval"
    return (
        f'<figure class="strip"><figcaption>{html.escape(caption)}</figcaption><svg role="img" '
        f'aria-label="{html.escape(caption)}" viewBox="0 0 {_WIDTH} {bottom + _FOOT}">{"".join(parts)}</svg></figure>'
    )
