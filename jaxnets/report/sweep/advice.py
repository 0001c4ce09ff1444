"""What to try next: what the trials of a sweep say about its space, each with what it follows from."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnets.report.document import word
from jaxnets.report.sweep.costs import without_numbers
from jaxnets.report.sweep.dimension import Dimension, Scale
from jaxnets.report.sweep.folder import HOME, Sweep
from jaxnets.report.sweep.spread import groups, is_seed, pooled

LEAST = 20  # trials that ended, below which nothing is said of the space
_BEST, _MOST = 5, 50  # trials, at least and at most, that are called the best
_EDGE = 0.1  # of an axis
_NOTHING = 0.02  # of the variance: a dimension without importance
_SURE = 0.01  # of chance alone, at most
_DISTINCT = 5  # values of a number, below which its range was not searched
_SEEDS = 5
_BREAK = " \\\n    "  # a command goes on in the next line


class Advice(NamedTuple):
    """One thing to do.

    kind:    "go on", "stop", "widen", "narrow", "fix", "failures" or "seeds"
    words:   what to do and why
    over:    {path: the dimension's new spelling} for the next sweep
    still:   {path: value} to hold it at
    command: to be typed, or ""
    """

    kind: str
    words: str
    over: Mapping[str, str] = {}
    still: Mapping[str, str] = {}
    command: str = ""


def advise(sweep: Sweep, important: Mapping[str, float]) -> list[Advice]:
    """important: {path: share of the variance}, of what is known."""
    if int(sweep.ended().sum()) < LEAST or int(sweep.complete().sum()) < _BEST:
        return list(_failures(sweep))
    idle = [path for path, share in important.items() if share < _NOTHING and not is_seed(path)]
    found = [*_course(sweep), *_failures(sweep)]
    for path, dimension in sweep.space.items():
        if not is_seed(path) and path not in idle and len(sweep.objectives) == 1:
            found += _of_dimension(sweep, path, dimension, important.get(path))
    return [*found, *_idle(sweep, idle, important), *_more_seeds(sweep)]


def _idle(sweep: Sweep, idle: Sequence[str], important: Mapping[str, float]) -> Iterator[Advice]:
    best = sweep.trials[sweep.order()[0]]["settings"]
    still = {path: typed(best[path]) for path in idle if path in best}
    if still:
        names = ", ".join(f"{path} ({important[path]:.1%})" for path in still)
        yield Advice(
            "fix",
            f"Next to nothing of the variance is explained by {names}, over all trials and among the better half: hold "
            "what is not of interest in itself as the best trial has it, and search the rest.",
            still=still,
        )


def next_command(sweep: Sweep, advices: Sequence[Advice]) -> str:
    """The next sweep with every change of the space that is advised; "" without one."""
    over = {path: dimension.text for path, dimension in sweep.space.items()}
    still: dict[str, str] = {}
    for advice in advices:
        over |= advice.over
        still |= advice.still
    changed = any(advice.over or advice.still for advice in advices)
    left = [shlex.quote(f"{path}={text}") for path, text in over.items() if path not in still]
    if not changed or not left:
        return ""
    wanted = sweep.written.get("wanted") or len(sweep.trials)
    lines = [f"jaxnets sweep {_config(sweep)} --name {shlex.quote(sweep.name + '_2')} --trials {wanted}"]
    lines += [f"--over {one}" for one in left]
    return _BREAK.join([*lines, *(f"--{path} {shlex.quote(value)}" for path, value in still.items())])


def _config(sweep: Sweep) -> str:
    return shlex.quote(str(sweep.written.get("config") or "CONFIG"))


def _course(sweep: Sweep) -> Iterator[Advice]:
    """Whether the search still gains."""
    if len(sweep.objectives) > 1:
        return
    done = np.flatnonzero(sweep.ended())
    place = int(np.flatnonzero(done == sweep.order()[0])[0])
    number, since = sweep.trials[done[place]]["number"], len(done) - 1 - place
    if place < len(done) * 2 / 3:
        yield Advice(
            "stop",
            f"The best trial, number {number}, has not been improved for the last {since:,} trials, more than "
            "a third of them: more of the same are unlikely to help. Stop, or change the space.",
        )
    elif place >= len(done) * 0.9:
        yield Advice(
            "go on",
            f"The best trial, number {number}, came in the last tenth of the trials: the search still gains. "
            f"Give the same command with --trials +{max(20, len(done) // 2)}.",
        )


def _of_dimension(sweep: Sweep, path: str, dimension: Dimension, share: float | None) -> Iterator[Advice]:
    places = np.array([dimension.scale.place(value) for value in sweep.settings(path)])
    known = sweep.ended() & np.isfinite(places)
    order = [place for place in sweep.order().tolist() if known[place]]
    best = places[
        order[: min(_MOST, max(_BEST, math.ceil(known.sum() / 10)))]
    ]  # whatever was stopped early was not among them
    distinct = len(np.unique(places[known]))
    if known.sum() < LEAST or len(best) < _BEST or distinct < (_DISTINCT if dimension.numeric else 2):
        return
    if not dimension.numeric:
        yield from _choice(path, dimension, best, places[known])
    elif found := _edge(path, dimension, best):
        yield found
    elif share is None or share >= 0.05:
        yield from _narrow(path, dimension, best)


def _edge(path: str, dimension: Dimension, best: np.ndarray) -> Advice | None:
    for upper in (False, True):
        near = int(((best > 1 - _EDGE) if upper else (best < _EDGE)).sum())
        if near < 0.4 * len(best) or _by_chance(near, len(best), _EDGE) > _SURE:
            continue
        end, side = _ends(dimension)[upper], "upper" if upper else "lower"
        words = f"{near} of the {len(best)} best trials have {path} within a tenth of its {side} end, {end:g}: "
        text = widened(dimension, upper=upper)
        if text is None:
            return Advice("widen", f"{words}nothing lies beyond it, so hold it there.", still={path: f"{end:g}"})
        return Advice("widen", f"{words}widen it to {text}, as far as the config allows.", over={path: text})
    return None


def _ends(dimension: Dimension) -> tuple[float, float]:
    half = 0.5 if dimension.kind == "int" else 0.0
    return dimension.scale.low + half, dimension.scale.high - half


def widened(dimension: Dimension, *, upper: bool) -> str | None:
    """The spelling with one end farther out; None where nothing lies beyond it.

    >>> from jaxnets.report.sweep.dimension import read_dimension
    >>> widened(read_dimension("log(0.0001,0.1)"), upper=True), widened(read_dimension("int(2,8)"), upper=True)
    ('log(0.0001,3)', 'int(2,11)')
    >>> widened(read_dimension("uniform(0,0.99)"), upper=True), widened(read_dimension("uniform(0,1)"), upper=False)
    ('uniform(0,0.995)', None)
    """
    low, high = _ends(dimension)
    if dimension.scale.logarithmic:
        factor = (high / low) ** 0.5
        low, high = (low, _round(high * factor)) if upper else (_round(low / factor), high)
    elif upper:
        more = (high - low) / 2
        share = low >= 0 and high <= 1 and dimension.kind == "uniform"  # a share or a rate: it ends at 1
        high = min(high + more, (1 + high) / 2) if share else high + more
    else:
        low = max(low - (high - low) / 2, 0.0) if low >= 0 else low - (high - low) / 2
    if dimension.kind == "int":
        low, high = (max(1, round(low)) if _ends(dimension)[0] >= 1 else round(low)), round(high)
    return None if (low, high) == _ends(dimension) else _spelled(dimension, float(low), float(high))


def _spelled(dimension: Dimension, low: float, high: float) -> str:
    if dimension.kind == "int":
        low, high = round(low), round(high)
    logarithmic = ",log" if dimension.kind == "int" and dimension.scale.logarithmic else ""
    _, condition, more = dimension.text.partition(" if ")
    return f"{dimension.kind}({low:.4g},{high:.4g}{logarithmic}){condition}{more}"


def _round(value: float) -> float:
    return float(f"{value:.0e}")


def _narrow(path: str, dimension: Dimension, best: np.ndarray) -> Iterator[Advice]:
    low, high = float(best.min()), float(best.max())
    if np.ptp(np.quantile(best, [0.1, 0.9])) > 1 / 3 or high - low > 0.6:
        return
    ends = [dimension.scale.value(min(max(place, 0.0), 1.0)) for place in (low - 0.05, high + 0.05)]
    if dimension.kind == "int":
        limits = _ends(dimension)
        ends = [float(max(math.floor(ends[0] + 0.5), limits[0])), float(min(math.ceil(ends[1] - 0.5), limits[1]))]
    if ends[0] >= ends[1] or _spelled(dimension, *ends) == _spelled(dimension, *_ends(dimension)):
        return
    text = _spelled(dimension, *(ends if dimension.kind == "int" else [float(f"{end:.2g}") for end in ends]))
    seen = [dimension.scale.value(place) for place in (low, high)]
    words = f"The {len(best)} best trials have {path} between {seen[0]:.3g} and {seen[1]:.3g}"
    yield Advice("narrow", f"{words}: narrow it to {text}.", over={path: text})


def _choice(path: str, dimension: Dimension, best: np.ndarray, places: np.ndarray) -> Iterator[Advice]:
    """A choice that all of the best have; the smallest or largest of numbers asks for one beyond."""
    names = dimension.scale.names
    of_best = (best * len(names)).astype(int)
    winner, count = Counter(of_best.tolist()).most_common(1)[0]
    usual = float(((places * len(names)).astype(int) == winner).mean())
    if len(names) < 2 or count < 0.8 * len(best) or _by_chance(count, len(best), min(usual, 0.5)) > _SURE:
        return
    words = f"{count} of the {len(best)} best trials have {path} = {names[winner]}"
    numbers = _numbers(names)
    if numbers and len(numbers) > 2 and numbers[winner] in (min(numbers), max(numbers)):
        least = numbers[winner] == min(numbers)
        more = "smallest of its choices: add a smaller one" if least else "largest of its choices: add a larger one"
        yield Advice("widen", f"{words}, the {more}.")
    else:
        yield Advice("fix", f"{words}: hold it there.", still={path: names[winner]})


def _numbers(names: Sequence[str]) -> list[float]:
    try:
        return [float(name) for name in names]
    except ValueError:
        return []


def typed(value: Any) -> str:
    """A setting as a command line takes it, to its last digit.

    >>> typed(0.1 + 0.2), typed(None), typed("relu"), typed(True)
    ('0.30000000000000004', 'none', 'relu', 'true')
    """
    return "none" if value is None else word(value)


def _by_chance(count: int, of: int, share: float) -> float:
    from scipy import stats

    return float(stats.binom.sf(count - 1, of, share))


def _failures(sweep: Sweep) -> Iterator[Advice]:
    """Regions in which trials fail more often than elsewhere, the surest of each dimension."""
    failed = sweep.states() == "failed"
    ended = failed | np.isin(sweep.states(), ["complete", "pruned"])
    if failed.sum() < 3:
        return
    for path, dimension in sweep.space.items():
        places = np.array([dimension.scale.place(value) for value in sweep.settings(path)])
        known = ended & np.isfinite(places)
        regions = [(_p(inside & known, known, failed), words, inside) for words, inside in _regions(dimension, places)]
        p, words, inside = min(regions, key=lambda one: one[0], default=(1.0, "", known))
        share, rest = (float(failed[part].mean()) if part.any() else 0.0 for part in (inside & known, known & ~inside))
        if p < 0.001 and share >= 0.1 and share >= 2 * rest:
            yield Advice(
                "failures",
                f"{share:.0%} of the trials with {path} {words} failed, {rest:.0%} of the others"
                f"{_why(sweep, failed & inside)}. Leave that region out, or make it train (warmup, clipping).",
            )


def _regions(dimension: Dimension, places: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    scale: Scale = dimension.scale
    with np.errstate(invalid="ignore"):
        if scale.names:
            for number, name in enumerate(scale.names):
                yield f"= {name}", np.floor(places * len(scale.names)) == number
            return
        for part in (0.1, 0.2, 1 / 3, 0.5):
            yield f"< {scale.value(part):.3g}", places < part
            yield f"> {scale.value(1 - part):.3g}", places > 1 - part


def _p(inside: np.ndarray, known: np.ndarray, failed: np.ndarray) -> float:
    """Fisher's exact p that so many of the failures lie inside."""
    from scipy import stats

    hit = int((inside & failed).sum())
    return float(stats.hypergeom.sf(hit - 1, int(known.sum()), int((known & failed).sum()), int(inside.sum())))


def _why(sweep: Sweep, chosen: np.ndarray) -> str:
    reasons = [str(sweep.trials[place]["why"]) for place in np.flatnonzero(chosen) if sweep.trials[place]["why"]]
    common = Counter(map(without_numbers, reasons)).most_common(1)
    return f" ({common[0][0][:80]})" if common else ""


def _more_seeds(sweep: Sweep) -> Iterator[Advice]:
    """The two best settings against each other, where one seed, or few, cannot tell them apart."""
    if len(sweep.objectives) > 1:
        return
    found = groups(sweep)
    if found:
        two = found[:2]
        if len(two) < 2 or min(len(group.values) for group in two) >= _SEEDS:
            return
        gap, noise = abs(two[0].mean - two[1].mean), pooled(found)
        if gap > 4 * noise:
            return
        why = (
            f"The two best settings differ by {gap:.3g}, where equal settings deviate by {noise:.3g} from seed to seed"
        )
        numbers = [group.number for group in two]
    else:
        first, second = sweep.order()[:2].tolist()
        gap = abs(float(sweep.values[first, 0] - sweep.values[second, 0]))
        numbers = [sweep.trials[place]["number"] for place in (first, second)]
        why = f"The two best trials, {numbers[0]} and {numbers[1]}, differ by {gap:.3g}, each with one seed"
    yield Advice(
        "seeds",
        f"{why}: train both with {_SEEDS} seeds before one is called the better.",
        command="\n".join(_train(sweep, number) for number in numbers),
    )


def _train(sweep: Sweep, number: int) -> str:
    source = sweep.path.name if sweep.path.parent == HOME else str(sweep.path)
    place = shlex.quote(f"runs/{sweep.name}_{number}")
    return _BREAK.join(
        [f"jaxnets train --from-sweep {shlex.quote(source)} --trial {number}", f"--seeds {_SEEDS} --run-dir {place}"]
    )
