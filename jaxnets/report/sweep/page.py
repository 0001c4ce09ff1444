"""`sweep.html`: a sweep in one file that opens offline, from its sweep.json alone."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.config import flatten
from jaxnets.errors import UsageError
from jaxnets.files import write_atomically
from jaxnets.report import svg
from jaxnets.report.document import check_out, document, grid, section, word
from jaxnets.report.sweep import charts, costs, spread
from jaxnets.report.sweep.advice import Advice, advise, next_command
from jaxnets.report.sweep.charts import Study
from jaxnets.report.sweep.folder import Sweep, find, number, read
from jaxnets.report.sweep.forest import Importance
from jaxnets.report.sweep.spread import setting, short

_BEST = 20  # rows of the table
_STATES = ("complete", "pruned", "failed", "running", "waiting")
_HEADS = {
    "go on": "Go on", "stop": "Stop", "widen": "Widen", "narrow": "Narrow", "fix": "Hold still",
    "failures": "Failures", "seeds": "More seeds",
}  # fmt: skip


def write(name: str, out: Path | None = None, *, dollars_per_hour: float | None = None) -> str:
    """Writes the page of a sweep, which may be under way; returns what a terminal shows of it, the file's path last.

    name: under sweeps/, or a folder; out: the page, sweep.html in the sweep's folder if None; dollars_per_hour: of one
    device, for the cost

    Raises UsageError if there is no such sweep or `out` is no .html file in a folder that is there, CheckpointError if
    its sweep.json is damaged.
    """
    check_out(out)
    if dollars_per_hour is not None and not dollars_per_hour >= 0:
        raise UsageError(
            f"--dollars-per-hour {dollars_per_hour:g} is not allowed; give the price of a device, 0 or more"
        )
    sweep = read(find(name))
    out = out or sweep.path / "sweep.html"
    found = charts.study(sweep)
    advices = _advices(found)
    write_atomically(out, document(sweep.name, _body(found, advices, dollars_per_hour)).encode())
    return _text(found, advices) + f"\n{out}"


def _advices(found: Study) -> list[Advice]:
    """From the larger of a dimension's shares, over every forest, if all of them can be trusted."""
    forests = [forest for forest in (*found.forests, *found.halves) if forest is not None]
    if not forests or min(forest.explained for forest in forests) < charts.TRUSTED:
        return advise(found.sweep, {})
    shares = np.max([forest.shares for forest in forests], axis=0)
    return advise(found.sweep, dict(zip(found.paths, shares.tolist(), strict=True)))


def _body(found: Study, advices: Sequence[Advice], price: float | None) -> str:
    sweep = found.sweep
    inner = [
        _head(sweep),
        _cards(found, price),
        _notes(sweep),
        section("What to try next", _next(sweep, advices)),
        section("Best trials" if len(sweep.objectives) == 1 else "Pareto front", _best(found)),
        section("Course", charts.course(found)),
        section("Parallel coordinates", charts.parallel(found)),
        section("Importance", _importance(found)),
        section("Slices", charts.slices(found)),
        section("Contours", charts.contours(found)),
        section("Spread over seeds", spread.content(sweep)),
        section("Failures", _failures(sweep)),
        section("Time and cost", costs.content(sweep, price)),
        section("Space", _space(sweep)),
        section("Config", _config(sweep)),
    ]
    return "".join(inner) + found.plates.script(sweep.states().tolist(), sweep.order(), *_words(found))


def _head(sweep: Sweep) -> str:
    written = sweep.written
    aims = ", ".join(f"{'largest' if one.larger else 'least'} {charts.name(one)}" for one in sweep.objectives)
    words = [f"Looking for the {aims}"]
    if written.get("config"):
        words.append(f"config {written['config']}")
    if written.get("searcher"):
        words.append(f"searcher {written['searcher']}")
    if written.get("stopping") not in (None, "none"):
        words.append(f"early stopping {written['stopping']}")
    return f"<header><h1>{html.escape(sweep.name)}</h1><p>{html.escape('; '.join(words))}</p></header>"


def counts(sweep: Sweep) -> str:
    """How many trials ended how.

    Those without a trial are not named.
    """
    found = Counter(sweep.states().tolist())
    return ", ".join(
        f"{found[state]:,} {state}" for state in (*_STATES, *sorted(set(found) - {*_STATES})) if found[state]
    )


def _cards(found: Study, price: float | None) -> str:
    sweep, cards = found.sweep, []
    order = sweep.order()
    for k, name in enumerate(found.names):
        if len(order):
            best = int(np.nanargmin(sweep.losses(k)))
            words = f"trial {sweep.trials[best]['number']:,}"
            cards.append((f"best {name}", f"{sweep.values[best, k]:.4g}", words))
    wanted = sweep.written.get("wanted")
    of = f" of {wanted:,}" if isinstance(wanted, int) else ""
    cards.append((f"trials{of}", f"{len(sweep.trials):,}", counts(sweep) or "none yet"))
    cards += costs.cards(sweep, price)
    inner = "".join(
        f'<div class="card"><span>{html.escape(a)}</span><b>{html.escape(b)}</b><span>{html.escape(c)}</span></div>'
        for a, b, c in cards
    )
    return f'<div class="cards">{inner}</div>'


def _notes(sweep: Sweep) -> str:
    notes, wanted = [], sweep.written.get("wanted")
    ended = int(np.isin(sweep.states(), ["complete", "pruned", "failed"]).sum())
    if isinstance(wanted, int) and ended < wanted:
        notes.append(f"This sweep is not finished: {ended:,} of {wanted:,} trials have ended.")
    if not sweep.complete().any():
        notes.append("No trial has finished with a value yet: what is compared follows when one has.")
    return "".join(f'<p class="note">{html.escape(note)}</p>' for note in notes)


def _next(sweep: Sweep, advices: Sequence[Advice]) -> str:
    if not advices:
        return "<p>Nothing stands out: with more trials this may say more.</p>" if sweep.complete().any() else ""
    parts = []
    for one in advices:
        command = f"<pre>{html.escape(one.command)}</pre>" if one.command else ""
        kind = "finding warning" if one.kind in ("failures", "stop") else "finding"
        parts.append(f'<div class="{kind}"><b>{_HEADS[one.kind]}.</b> {html.escape(one.words)}{command}</div>')
    if command := next_command(sweep, advices):
        words = "All of it as the next sweep, with the settings that this one was given on its command line:"
        parts.append(f"<p>{words}</p><pre>{html.escape(command)}</pre>")
    return "".join(parts)


def _best(found: Study) -> str:
    """The best trials, or those of the front, with everything that is known of them."""
    sweep = found.sweep
    places = sweep.order()[:_BEST].tolist() if len(sweep.objectives) == 1 else charts.unbeaten(sweep)[: 3 * _BEST]
    if not places:
        return ""
    figures = list(dict.fromkeys(name for place in places for name in _figures(sweep.trials[place], sweep)))
    paths = list(sweep.space)
    changing = any(trial["history"] for trial in sweep.trials)
    rows = [
        [
            "trial",
            *map(html.escape, [*found.names, *paths, *(name.replace(".", " ") for name in figures)]),
            "steps",
            "seconds",
            *(["settings changed after steps"] if changing else []),
        ]
    ]
    for place in places:
        trial = sweep.trials[place]
        values = [f"<b>{value:.5g}</b>" for value in sweep.values[place].tolist()]
        settings = [setting(trial["settings"], path) for path in paths]
        others = _figures(trial, sweep)
        known = [f"{others[name]:.5g}" if name in others else "–" for name in figures]
        steps, seconds = trial.get("steps"), trial["seconds"]
        ends = ["–" if steps is None else f"{steps:,}", "–" if seconds is None else f"{seconds:.3g}"]
        if changing:
            ends.append(", ".join(f"{number(change[0]):,.0f}" for change in trial["history"]) or "–")
        rows.append([f'<span data-trial="{place}">{trial["number"]}</span>', *values, *settings, *known, *ends])
    words = "<p>The settings are those that the values come from, after changes on the way.</p>" if changing else ""
    return charts.front(found) + words + grid(rows, kind="wide tall")


def _figures(trial: dict[str, Any], sweep: Sweep) -> dict[str, float]:
    """Every figure of a trial that is no objective, as in `test.accuracy`."""
    flat = {f"{split}.{name}": value for split, part in trial["figures"].items() for name, value in part.items()}
    return {
        name: value
        for name, value in flat.items()
        if isinstance(value, (int, float)) and name not in {one.figure for one in sweep.objectives}
    }


def _importance(found: Study) -> str:
    if all(forest is None for forest in found.forests):
        done = int(found.sweep.complete().sum())
        return f"<p>Not known: it takes {charts.LEAST} finished trials that differ, and {done} have finished.</p>"
    of = "of the finished trials"
    if found.at:
        of = f"of the values at step {found.at:,}, since too few of the trials were trained to their end"
    words = (
        "<p>The share of the variance that a dimension explains alone, and pairs beyond it: fANOVA (Hutter, Hoos and "
        f"Leyton-Brown, 2014) over a random forest of 64 trees, {of}. A few bad trials can make up most of the "
        "variance; among the better half, what is worse than the median counts as the median.</p>"
    )
    figures = []
    for name, whole, half in zip(found.names, found.forests, found.halves, strict=True):
        figures += [_bars(found, name, whole), _bars(found, f"{name}, among the better half", half)]
    return f'{words}<div class="charts">{"".join(figures)}</div>'


def _bars(found: Study, title: str, forest: Importance | None) -> str:
    if forest is None:
        return ""
    shares = [(path, float(share)) for path, share in zip(found.paths, forest.shares, strict=True)]
    shares.sort(key=lambda one: -one[1])
    pairs = sorted(forest.pairs.items(), key=lambda one: -one[1])[:3]
    shares += [(f"{found.paths[a]} × {found.paths[b]}", share) for (a, b), share in pairs if share >= 0.01]
    rows = "".join(
        f'<div title="{html.escape(name)}: {share:.1%}"><span>{html.escape(name)}</span>'
        f'<i><i style="width:{100 * min(share, 1):.1f}%"></i></i><b>{share:.1%}</b></div>'
        for name, share in shares
    )
    trust = f"The forest explains {max(forest.explained, 0):.0%} of the variance of trials that it has not seen"
    trust += ": too little to rely on this." if forest.explained < charts.TRUSTED else "."
    caption = f"<figcaption>{html.escape(title)}</figcaption>"
    return f'<figure>{caption}<div class="lying named">{rows}</div><p>{trust}</p></figure>'


def _failures(sweep: Sweep) -> str:
    """Why trials failed, the commonest first, with the first of each."""
    failed = [trial for trial in sweep.trials if trial["state"] == "failed"]
    if not failed:
        return ""
    reasons: dict[str, list[int]] = {}
    for trial in failed:
        reasons.setdefault(costs.without_numbers(str(trial["why"] or "no reason was given")), []).append(
            trial["number"]
        )
    rows = [["why", "trials", "first"]]
    for why, numbers in sorted(reasons.items(), key=lambda one: -len(one[1]))[:10]:
        rows.append([html.escape(why), f"{len(numbers):,}", f"{numbers[0]:,}"])
    return grid(rows)


def _space(sweep: Sweep) -> str:
    return svg.table({path: dimension.text for path, dimension in sweep.space.items()})


def _config(sweep: Sweep) -> str:
    base = sweep.written.get("base")
    if not isinstance(base, dict):
        return ""
    flat = {path.removesuffix(".variant"): word(value) for path, value in flatten(base).items() if path != "variant"}
    rows = {path: value for path, value in flat.items() if path != value and path not in sweep.space}
    inner = f'<div class="columns">{svg.table(rows)}</div>'
    return f"<details><summary>what all trials share, {len(rows)} values</summary>{inner}</details>"


def _words(found: Study) -> tuple[list[str], list[list[str]]]:
    """(what is said of a trial that is pointed at, and that of each trial)."""
    sweep = found.sweep
    words = []
    for place, trial in enumerate(sweep.trials):
        values = [f"{value:.5g}" if np.isfinite(value) else "" for value in sweep.values[place].tolist()]
        settings = [short(trial["settings"][path]) if path in trial["settings"] else "" for path in sweep.space]
        state = "" if trial["state"] == "complete" else trial["state"]
        words.append([f"{trial['number']}", *values, *settings, state, str(trial["why"] or "")[:120]])
    return ["trial", *found.names, *sweep.space, "", ""], words


def _text(found: Study, advices: Sequence[Advice]) -> str:
    sweep = found.sweep
    lines = [f"{sweep.name}: {counts(sweep) or 'no trials yet'}"]
    order = sweep.order()
    for k, name in enumerate(found.names if len(order) else []):
        best = int(np.nanargmin(sweep.losses(k)))
        settings = ", ".join(f"{path} {short(value)}" for path, value in sweep.trials[best]["settings"].items())
        lines.append(f"best {name} {sweep.values[best, k]:.5g}: trial {sweep.trials[best]['number']} ({settings})")
    return "\n".join([*lines, *(f"{_HEADS[one.kind].lower()}: {one.words}" for one in advices)])
