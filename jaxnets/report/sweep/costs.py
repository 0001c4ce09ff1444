"""Where the time of a sweep went, and what it cost."""

from __future__ import annotations

import html
import re
from collections import Counter
from typing import Any

import numpy as np

from jaxnets.report import svg
from jaxnets.report.document import grid, word
from jaxnets.report.sweep.folder import Sweep, number
from jaxnets.report.sweep.spread import short


def cards(sweep: Sweep, price: float | None) -> list[tuple[str, str, str]]:
    """(title, figure, words below) of wall time and cost, as far as they are known."""
    wall = seconds(sweep, "wall")
    if not np.isfinite(wall):
        return []
    ended = int(np.isin(sweep.states(), ["complete", "pruned", "failed"]).sum())
    rate = f"{ended / wall * 3600:,.0f} trials an hour" if wall and ended else "no trial has ended"
    found = [("wall time", duration(wall), rate)]
    held = wall * devices(sweep)
    if devices(sweep) > 1:
        found.append(("device time", duration(held), f"{devices(sweep)} devices"))
    if price is not None:
        found.append(("cost", f"${held / 3600 * price:,.2f}", f"at ${price:g} an hour for a device"))
    return found


def seconds(sweep: Sweep, part: str) -> float:
    return number((sweep.written.get("seconds") or {}).get(part))


def devices(sweep: Sweep) -> int:
    return max(1, len(sweep.written.get("devices") or []))


def duration(value: float) -> str:
    """
    >>> duration(0.25), duration(75.0), duration(7325.0)
    ('0.25 s', '1 min 15 s', '2 h 2 min')
    """
    if value < 60:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def content(sweep: Sweep, price: float | None) -> str:
    """The section: the parts of the wall time, what each state of trials took, and the groups that shared a program."""
    return f'<div class="charts">{_parts(sweep)}{_facts(sweep, price)}</div>{_groups(sweep)}'


def _parts(sweep: Sweep) -> str:
    parts = [part for part in sweep.written.get("seconds") or {} if part != "wall"]
    known = {part: seconds(sweep, part) for part in parts if np.isfinite(seconds(sweep, part))}
    known = dict(sorted(known.items(), key=lambda one: -one[1]))
    whole = max([number(seconds(sweep, "wall")), sum(known.values())], default=0.0)
    if not known or not whole > 0:
        return ""
    rest = whole - sum(known.values())
    if rest > 0.005 * whole:
        known["everything else"] = rest
    rows = "".join(
        f'<div title="{html.escape(words)}: {value:.4g} s"><span>{html.escape(words)}</span>'
        f'<i><i style="width:{100 * value / whole:.1f}%"></i></i><b>{value / whole:.1%}</b></div>'
        for words, value in known.items()
    )
    return f'<figure><figcaption>parts of the wall time</figcaption><div class="lying">{rows}</div></figure>'


def _facts(sweep: Sweep, price: float | None) -> str:
    wall, rows = seconds(sweep, "wall"), {}
    if np.isfinite(wall):
        held = wall * devices(sweep)
        rows["wall time"] = duration(wall)
        rows["device time"] = f"{duration(held)}: {devices(sweep)} device(s) over the wall time"
    kinds = Counter(_kind(word(device)) for device in sweep.written.get("devices") or [])
    rows["devices"] = ", ".join(f"{count} × {kind}" for kind, count in kinds.items()) or "not known"
    if sweep.written.get("workers"):
        rows["workers"] = word(sweep.written["workers"])
    rows |= _states(sweep)
    if np.isfinite(wall) and price is not None:
        cost, ended = wall * devices(sweep) / 3600 * price, max(1, len(sweep.trials))
        rows["cost"] = f"${cost:,.4g}, ${cost / ended:,.2g} a trial, at ${price:g} an hour for a device"
    elif np.isfinite(wall):
        rows["cost"] = "give --dollars-per-hour, the price of one device"
    for part in ("searcher", "storage", "engine"):
        if np.isfinite(seconds(sweep, part)) and sweep.trials:
            rows[f"{part}, a trial"] = f"{1000 * seconds(sweep, part) / len(sweep.trials):.3g} ms"
    return svg.table(rows)


def _kind(device: str) -> str:
    """
    >>> _kind("cpu cpu"), _kind("gpu NVIDIA H100")
    ('cpu', 'gpu NVIDIA H100')
    """
    return " ".join(dict.fromkeys(device.split()))


def _states(sweep: Sweep) -> dict[str, str]:
    """The time of trials by how they ended."""
    spent = {}
    for state in ("complete", "pruned", "failed"):
        known = [number(trial["seconds"]) for trial in sweep.trials if trial["state"] == state]
        if known:
            spent[f"{state} trials"] = f"{duration(float(np.nansum(known)))} in {len(known):,}, summed over trials"
    return spent


def _groups(sweep: Sweep) -> str:
    """The groups of trials that shared a program, and how it was run."""
    found = [one for one in sweep.written.get("groups") or [] if isinstance(one, dict)]
    if not found:
        return ""
    rows = [["program", "trials", "form", "lanes", "a step in lanes", "a step in the queue", "compiling"]]
    for one in found:
        structure = ", ".join(f"{path} {short(value)}" for path, value in (one.get("structure") or {}).items())
        times = [_step(one.get("lanes_seconds")), _step(one.get("queue_seconds"))]
        compiling = number(one.get("compile_seconds"))
        cells = [word(one.get("trials") or 0), word(one.get("form") or "–"), word(one.get("lanes") or "–"), *times]
        cells.append(f"{compiling:.3g} s" if np.isfinite(compiling) else "–")
        rows.append([html.escape(cell) for cell in [structure or "one for all", *cells]])
    return f"<p>Trials that share a program, and the time of a trial's step in both forms.</p>{grid(rows, kind='wide')}"


def _step(value: Any) -> str:
    known = number(value)
    return f"{known * 1e6:,.3g} µs" if np.isfinite(known) else "–"


def without_numbers(words: str) -> str:
    """A reason without what makes each its own.

    >>> without_numbers("not finite at step 120")
    'not finite at step N'
    """
    return re.sub(r"\d+", "N", words)
