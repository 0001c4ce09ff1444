"""The charts of a sweep: the course of the search, the curves, and what the figures say over the space."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from jaxnets.report.sweep import plates
from jaxnets.report.sweep.dimension import Scale
from jaxnets.report.sweep.folder import Objective, Sweep, at_one_step, curve
from jaxnets.report.sweep.forest import GRID, Importance, importance
from jaxnets.report.sweep.plates import Plates
from jaxnets.report.sweep.spread import is_seed

LEAST = 20  # finished trials, below which a forest says nothing
TRUSTED = 0.3  # R² of a forest, below which nothing is concluded from it
_SLICES, _CONTOURS = 12, 6
_FAINT = 0.05  # of the variance, below which a pair is not drawn
_POINTS = 400_000  # of all curves together
_ENOUGH = 3  # finished trials whose curves alone make the axis: those that were stopped may be far off
_FALL = 6.0  # largest over least value, from which the axis of curves is logarithmic
_MIDDLES = (np.arange(GRID) + 0.5) / GRID
LEGEND = (
    ("c0", "finished"), ("c2", "best tenth"), ("c3", "best"), ("soft", "pruned"), ("c1", "failed ✕"),
)  # fmt: skip


class Study(NamedTuple):
    """A sweep with what its charts share.

    paths:   of the dimensions that are drawn, the most important first
    names:   of the objectives on axes
    scales:  of the objectives
    forests: of each objective, None where too few trials have ended
    halves:  the same where whatever is worse than the median counts as the median: what matters among good trials
    at:      the step whose values the forests are of, if too few trials have finished; 0 = the end of each trial
    plates:  where columns and charts are collected
    """

    sweep: Sweep
    paths: list[str]
    names: list[str]
    scales: list[Scale]
    forests: list[Importance | None]
    halves: list[Importance | None]
    at: int
    plates: Plates


def study(sweep: Sweep) -> Study:
    """Looks for what matters, and puts every column where the charts find it."""
    places = {path: _places(sweep, path) for path in sweep.space}
    paths = [path for path in sweep.space if len(set(places[path][np.isfinite(places[path])].tolist())) > 1]
    last = np.array([_last(trial) if trial["state"] == "pruned" else math.nan for trial in sweep.trials], float)
    values = sweep.values.copy()
    values[:, 0] = np.where(np.isfinite(values[:, 0]), values[:, 0], last)
    scales = [_scale(_near(sweep, values[:, k], k), one.larger) for k, one in enumerate(sweep.objectives)]
    columns = [places[path] for path in paths]
    step, judged = 0, np.where(sweep.complete()[:, None], sweep.values, math.nan)
    if len(sweep.objectives) == 1 and sweep.complete().sum() < max(LEAST, sweep.ended().sum() / 4):
        step, at_step = at_one_step(sweep)
        judged = at_step[:, None] if step else judged
    forests, halves = (
        [_forest(judged[:, k], columns, one.larger, half=half) for k, one in enumerate(sweep.objectives)]
        for half in (False, True)
    )
    found = Study(sweep, paths, list(map(name, sweep.objectives)), scales, forests, halves, step, Plates())
    for path in sweep.space:
        found.plates.column(path, places[path] + _apart(sweep, path))
    for k, scale in enumerate(scales):
        found.plates.column(found.names[k], np.array([scale.place(value) for value in values[:, k].tolist()], float))
    return found


def _last(trial: dict[str, Any]) -> float:
    points = curve(trial)
    return float(points[-1, 1]) if len(points) else math.nan


def _near(sweep: Sweep, values: np.ndarray, k: int) -> np.ndarray:
    """What an axis is to show: every finished trial, and the better half of the last values of those stopped early."""
    others = values[~sweep.complete() & np.isfinite(values)]
    sign = -1.0 if sweep.objectives[k].larger else 1.0
    return np.concatenate([values[sweep.complete()], sign * np.sort(sign * others)[: (len(others) + 1) // 2]])


def name(objective: Objective) -> str:
    return objective.figure.replace(".", " ").replace("_", " ")


def _places(sweep: Sweep, path: str) -> np.ndarray:
    scale = sweep.space[path].scale
    return np.array([scale.place(value) for value in sweep.settings(path)], float)


def _apart(sweep: Sweep, path: str) -> np.ndarray:
    """What moves equal values of whole numbers and choices apart, within the part of the axis that each has."""
    dimension = sweep.space[path]
    parts = len(dimension.scale.names)
    if dimension.kind == "int" and not dimension.scale.logarithmic:
        parts = round(dimension.scale.high - dimension.scale.low)
    width = 0.5 / parts if parts else 0.0
    return np.random.default_rng(list(sweep.space).index(path)).uniform(-width / 2, width / 2, len(sweep.trials))


def _scale(values: np.ndarray, larger: bool, *, spread: float = 20.0) -> Scale:
    """From the best to the worst value, without those that are far worse than most, which stand at the edge.

    spread: most values over the least, from which the axis is logarithmic
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return Scale(0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    logarithmic = low > 0 and not larger and np.quantile(values, 0.9) > spread * low
    turned = np.log(values) if logarithmic else values
    first, third = np.quantile(turned, [0.25, 0.75])
    fence = 3 * float(third - first)
    low, high = float(turned.min()), float(turned.max())
    if fence:
        low, high = (max(low, float(first) - fence), high) if larger else (low, min(high, float(third) + fence))
    pad = (high - low) * 0.04 or abs(low) * 0.05 or 0.5
    ends = (low - pad, high + pad)
    return Scale(float(np.exp(ends[0])), float(np.exp(ends[1])), True) if logarithmic else Scale(*ends)


def _forest(values: np.ndarray, columns: Sequence[np.ndarray], larger: bool, *, half: bool) -> Importance | None:
    """Of the places of an objective on its axis: what is far off weighs no more than its edge."""
    known = np.isfinite(values)
    if known.sum() < LEAST or not columns:
        return None
    scale = _scale(values, larger)
    places = np.array([scale.place(value) for value in values[known].tolist()]).clip(0.0, 1.0)
    if half:
        middle = np.median(places)
        places = np.maximum(places, middle) if larger else np.minimum(places, middle)
    return importance(np.stack(columns, axis=1)[known], places) if np.ptp(places) else None


def at_step(found: Study) -> str:
    """Words for the step that the forests are of."""
    return f" at step {found.at:,}" if found.at else ""


def ranked(found: Study, k: int = 0) -> list[int]:
    """The numbers of `paths`, the most important for an objective first."""
    forest = found.forests[k]
    return list(range(len(found.paths))) if forest is None else np.argsort(-forest.shares, kind="stable").tolist()


def legend(sweep: Sweep, *, finished: bool = False) -> str:
    """What the colours mean, of the states that trials are in. finished: where no others are drawn."""
    states = () if finished else sweep.states()
    absent = {kind for kind, state in (("soft", "pruned"), ("c1", "failed")) if state not in states}
    shown = [one for one in LEGEND if one[0] not in absent]
    keys = "".join(
        f'<span class="key"><i class="swatch {kind}"></i>{html.escape(words)}</span>' for kind, words in shown
    )
    return f'<p class="legend">{keys}</p>'


def _charts(charts: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


def course(found: Study) -> str:
    """The values in the order of the trials with the best so far, and every curve."""
    sweep, scale = found.sweep, found.scales[0]
    charts = []
    numbers = np.array([trial["number"] for trial in sweep.trials], float)
    if sweep.complete().any():
        axis = Scale(0.0, max(float(numbers.max()), 1.0))
        found.plates.column("trial", np.array([axis.place(value) for value in numbers.tolist()]))
        y = (found.names[0], scale)
        above = _best_so_far(sweep, axis, scale)
        charts.append(
            found.plates.points("The search, and the best so far", ("trial", axis), y, above=above, **_bad(found, 0))
        )
    if curves := _curves(found):
        charts.append(curves)
    return (legend(sweep) + _charts(charts)) if charts else ""


def _bad(found: Study, k: int) -> dict[str, int]:
    """Where failed trials are put: at the end of the worse values."""
    return {"top": int(not found.sweep.objectives[k].larger)}


def _best_so_far(sweep: Sweep, axis: Scale, scale: Scale) -> str:
    done = np.flatnonzero(sweep.complete())
    sign = -1.0 if sweep.objectives[0].larger else 1.0
    best = sign * np.minimum.accumulate(sign * sweep.values[done, 0])
    steps = [0, *(np.flatnonzero(np.diff(best)) + 1).tolist()]
    xs = [axis.place(float(sweep.trials[done[step]]["number"])) for step in steps] + [1.0]
    ys = [min(max(scale.place(float(best[step])), 0.0), 1.0) for step in steps]
    return plates.line(np.repeat(xs, 2)[1:-1], np.repeat(ys, 2), "c3")


def _curves(found: Study) -> str:
    trials = found.sweep.trials
    curves = [curve(trial) for trial in trials]
    longest = max((float(points[-1, 0]) for points in curves if len(points)), default=0.0)
    if not longest:
        return ""
    most = min(200, max(12, _POINTS // len(trials)))
    kept = [_thinned(points, most) for points in curves]
    objective = found.sweep.objectives[0]
    done = [points for points, there in zip(kept, found.sweep.complete(), strict=True) if there and len(points)]
    those = done if len(done) >= _ENOUGH else kept
    y = _scale(np.concatenate([points[:, 1] for points in those]), objective.larger, spread=_FALL)
    x = Scale(0.0, longest)
    placed = [np.array([(x.place(a), y.place(b)) for a, b in curve.tolist()], float).reshape(-1, 2) for curve in kept]
    words = f"valid {objective.figure.rpartition('.')[2].replace('_', ' ')}"
    return found.plates.curves("Curves of all trials", (words, y), ("step", x), placed)


def _thinned(points: np.ndarray, most: int) -> np.ndarray:
    if len(points) <= most:
        return points
    return points[np.unique(np.linspace(0, len(points) - 1, most).round().astype(int))]


def parallel(found: Study) -> str:
    """Every trial as a line over the axes of the space, and the objectives below."""
    if not found.paths or not found.sweep.trials:
        return ""
    rows = [(found.paths[place], found.sweep.space[found.paths[place]].scale) for place in ranked(found)]
    rows += list(zip(found.names, found.scales, strict=True))
    words = (
        "<p>A trial is a line from axis to axis, the most important dimension first. Draw along an axis to choose "
        "trials by it, in all charts; click it to let go. Point at a trial to see it everywhere.</p>"
    )
    return f"{words}{legend(found.sweep)}{found.plates.rows('Parallel coordinates', rows)}"


def slices(found: Study) -> str:
    """Each objective over each dimension, with what the forest expects there."""
    parts = []
    for k, objective in enumerate(found.names):
        inner = _charts([_slice(found, k, place) for place in ranked(found, k)[:_SLICES]])
        if inner and k:
            inner = f"<details><summary>{html.escape(objective)}</summary>{inner}</details>"
        parts.append(inner)
    if not any(parts):
        return ""
    words = "Values far worse than most stand at the edge."
    if "pruned" in found.sweep.states():
        words = f"Values far worse than most stand at the edge, and a pruned trial at its last {found.names[0]}."
    if found.forests[0] is not None and not found.at:
        words += (
            " The line is what the forest expects at a value, over all values of the other dimensions; the band is the "
            "deviation of its trees."
        )
    return f"<p>{words}</p>" + legend(found.sweep) + "".join(parts)


def _slice(found: Study, k: int, place: int) -> str:
    path, forest, above = found.paths[place], found.forests[k], ""
    if forest is not None and not found.at:
        mean, deviation = (part.clip(0.0, 1.0) for part in forest.marginals[place])
        low, high = (mean - deviation).clip(0.0, 1.0), (mean + deviation).clip(0.0, 1.0)
        above = plates.band(_MIDDLES, low, high) + plates.line(_MIDDLES, mean, "guess")
    axis = (path, found.sweep.space[path].scale)
    return found.plates.points(path, axis, (found.names[k], found.scales[k]), above=above, **_bad(found, k))


def contours(found: Study) -> str:
    """The pairs of dimensions that explain most together among the better half, as the forest sees them."""
    forest = found.halves[0]
    if forest is None:
        return ""
    weight = {
        (a, b): share + float(forest.shares[a] + forest.shares[b])
        for (a, b), share in forest.pairs.items()
        if not is_seed(found.paths[a]) and not is_seed(found.paths[b])
    }
    charts = []
    for a, b in sorted(weight, key=lambda pair: -weight[pair])[:_CONTOURS]:
        if charts and weight[a, b] < _FAINT:
            break
        grid = forest.grids[a, b].mean
        title = f"{found.paths[a]} and {found.paths[b]}: {weight[a, b]:.0%} of the variance"
        axes = [(path, found.sweep.space[path].scale) for path in (found.paths[a], found.paths[b])]
        charts.append(found.plates.points(title, *axes, grid=-grid if found.sweep.objectives[0].larger else grid))
    words = (
        f"<p>The darker, the better {html.escape(found.names[0])}{at_step(found)} the forest expects, over all values "
        "of the other dimensions; white is no better than the median. Over it the trials.</p>"
    )
    return words + legend(found.sweep) + _charts(charts) if charts else ""


def front(found: Study) -> str:
    """Each pair of objectives with the trials that no other trial beats in all of them."""
    sweep = found.sweep
    if len(sweep.objectives) < 2 or not sweep.complete().any():
        return ""
    best, charts = unbeaten(sweep), []
    for a, b in combinations(range(len(sweep.objectives)), 2):
        corner = sorted(
            (found.scales[a].place(float(sweep.values[t, a])), found.scales[b].place(float(sweep.values[t, b])))
            for t in best
        )
        xs, ys = np.array(corner).clip(0.0, 1.0).T
        above = plates.line(xs, ys, "c3") if len(sweep.objectives) == 2 else ""
        above += "".join(
            f'<circle class="ring" r="5" cx="{plates.place_x(x):.1f}" cy="{plates.place_y(y):.1f}"/>'
            for x, y in zip(xs, ys, strict=True)
        )
        axes = [(found.names[k], found.scales[k]) for k in (a, b)]
        charts.append(found.plates.points(f"{found.names[a]} and {found.names[b]}", *axes, above=above))
    return legend(sweep, finished=True) + _charts(charts)


def unbeaten(sweep: Sweep) -> list[int]:
    """The places of the Pareto front, by the first objective.

    A trial is beaten by one that is nowhere worse and somewhere better; equal ones stand together.
    """
    losses = np.stack([sweep.losses(k) for k in range(len(sweep.objectives))], axis=1)
    done = np.flatnonzero(np.isfinite(losses).all(axis=1))
    kept: list[int] = []
    for place in done[np.lexsort(losses[done].T[::-1])].tolist():  # whoever beats a trial comes before it
        before = losses[kept]
        if not ((before <= losses[place]).all(axis=1) & (before < losses[place]).any(axis=1)).any():
            kept.append(place)
    return kept
