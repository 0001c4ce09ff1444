"""How training went: its curves, the norms of its gradients, its place in the data and its wall time."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from jaxnets import metrics
from jaxnets.loop import batch_number
from jaxnets.report import svg
from jaxnets.report.folder import Folder
from jaxnets.report.svg import Line

_APART = ("learning_rate", "grad_norm", "update_norm", "skipped")  # shown in places of their own
GROUP = "grad_norm/"  # the norm of the gradient of one group of params: what stands under one key of their tree


def names(records: Sequence[metrics.Record]) -> list[str]:
    """The figures that a log follows, those of the validation split first."""
    parts = [record[split] for split in ("valid", "train") for record in records if split in record]
    found = dict.fromkeys(name for part in parts for name in part)
    return [name for name in found if name not in _APART and not name.startswith(GROUP)]


def groups(records: Sequence[metrics.Record]) -> list[str]:
    """The groups of params whose gradients have norms in a log."""
    found = dict.fromkeys(name for record in records for name in record.get("train", {}) if name.startswith(GROUP))
    return [name.removeprefix(GROUP) for name in found]


def line(title: str, records: Sequence[metrics.Record], part: str, name: str, *, over: str = "step") -> Line:
    """The course of a figure of "train", "valid" or "time", over steps or over seconds of training."""
    found = [record for record in records if name in record.get(part, {})]
    places = [record["step"] if over == "step" else record["time"]["seconds"] for record in found]
    return Line(title, places, [record[part][name] for record in found])


def curves(records: Sequence[metrics.Record]) -> str:
    """Every figure of training and validation, the learning rate and the norms, over steps."""
    charts = []
    for name in names(records):
        both = [line("train", records, "train", name), line("valid", records, "valid", name)]
        charts.append(svg.lines(_words(name), both, x="step", y=_words(name)))
    rate = line("rate", records, "train", "learning_rate")
    charts.append(svg.lines("learning rate", [rate], x="step", y="learning rate"))
    norms = [line("gradient", records, "train", "grad_norm"), line("update", records, "train", "update_norm")]
    charts.append(svg.lines("norms, logarithmic", norms, x="step", y="norm", logarithmic=True))
    each = [line(group, records, "train", GROUP + group) for group in groups(records)]
    title = "norms of the gradients of each group, logarithmic"
    charts.append(svg.lines(title, each, x="step", y="norm", logarithmic=True, ends=True))
    return f'<div class="charts">{"".join(charts)}</div>' if any(charts) else ""


def _words(name: str) -> str:
    return name.replace("_", " ")


def position(folder: Folder) -> str:
    """How far a run has come through its data, and where its time went."""
    if not folder.records:
        return ""
    rate = line("rate", folder.records, "time", "examples_per_second", over="seconds")
    apart = uneven(rate)
    title = "throughput, logarithmic" if apart else "throughput"
    chart = svg.lines(title, [rate], x="seconds of training", y="examples/s", logarithmic=apart)
    return f'<div class="charts">{svg.table(_place(folder) | _clock(folder))}{chart}</div>'


def uneven(rate: Line) -> bool:
    """Whether a few values would press all others to the floor of a plot.

    >>> uneven(Line("", [1, 2, 3], [10.0, 11.0, 12.0])), uneven(Line("", [1, 2, 3], [10.0, 11.0, 1200.0]))
    (False, True)
    """
    return len(rate.y) > 0 and max(rate.y) > 20 * statistics.median(rate.y)


def _place(folder: Folder) -> dict[str, str]:
    size, train = folder.settings["data"]["batch_size"], dict(folder.schema.counts).get("train", 0)
    steps, seen = folder.steps(), folder.steps() * size
    rows = {"steps": f"{steps:,} of {size:,} examples", "examples seen": f"{seen:,}"}
    if folder.settings.get("loop", {}).get("overfit_batch"):
        return rows | {"data": "the first batch alone, at every step"}
    if not folder.result:
        rows["batches passed over"] = "known when the run has finished"
        passed: list[int] = []
    else:
        passed = folder.result.get("passed_over_batches", [])
        rows["batches passed over"] = ", ".join(map(str, passed)) or "none"
    following = batch_number(steps, passed)
    if train:
        rows["epochs passed"] = f"{following * size / train:.2f} of {train:,} examples"
    rows["next batch"] = f"number {following:,}"
    skipped = folder.result.get("skipped_steps", _last_skipped(folder.records))
    return rows | {"steps skipped": f"{skipped:,}" if skipped else "none"}


def _last_skipped(records: Sequence[metrics.Record]) -> int:
    found = [record["train"].get("skipped", 0) for record in records if "train" in record]
    return int(found[-1]) if found else 0


def _clock(folder: Folder) -> dict[str, str]:
    """The wall time of the loop, and what of it were evaluations; a final test comes on top."""
    looks = [record["time"]["seconds"] for record in folder.records if "valid" in record]
    whole = folder.seconds()
    rows = {
        "training loop": f"{whole:,.1f} s, evaluations and checkpoints with it",
        "evaluations": f"{sum(looks):,.1f} s of it, {len(looks)} of the validation split",
    }
    if whole:
        seen = folder.steps() * folder.settings["data"]["batch_size"]
        rows["examples per second"] = f"{seen / whole:,.0f}, a mean over the loop"
    if "evaluation_seconds" in folder.result:
        rows["final test"] = f"{folder.result['evaluation_seconds']:,.1f} s"
    return rows
