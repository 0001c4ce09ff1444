"""A page that lays runs side by side: figures with their intervals, differences, curves over each other, configs."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets.columns import columns
from jaxnets.config import flatten
from jaxnets.errors import CheckpointError, DataError, UsageError
from jaxnets.files import write_atomically
from jaxnets.report import folder, intervals, svg, training
from jaxnets.report.document import check_out, document, grid, section, word
from jaxnets.report.folder import Folder
from jaxnets.report.intervals import Interval
from jaxnets.report.pairs import Pair, pairs, question

_ABSENT = "–"
_NORMS = ("grad_norm", "update_norm")


class _Comparison(NamedTuple):
    """The runs, and what follows from them; every list is in the order in which the runs were given."""

    runs: list[Folder]
    names: list[str]  # of the folders, as long as it takes to tell them apart
    spreads: list[dict[str, Interval]]  # of the figures of the test split
    pairs: list[Pair]


def compare(run_dirs: Sequence[Path], out: Path) -> str:
    """Writes a page that compares two runs or more, unfinished ones included; returns its figures as text.

    Raises UsageError, before anything is written, if a folder is no run, is damaged or is given twice, or if `out` is
    not an .html file in a folder that is there.
    """
    check_out(out)
    _check_runs(run_dirs)
    runs = [_read(run_dir) for run_dir in run_dirs]
    spreads = [intervals.of_table(run.table) if run.result and run.table else {} for run in runs]
    found = _Comparison(runs, _names([run.path.resolve() for run in runs]), spreads, pairs(runs))
    write_atomically(out, document("Comparison", _body(found)).encode())
    return _text(found)


def _check_runs(run_dirs: Sequence[Path]) -> None:
    if len(run_dirs) < 2:
        raise UsageError(f"{len(run_dirs)} run(s) given, a comparison takes two or more; name another run")
    seen: dict[Path, Path] = {}
    for run_dir in run_dirs:
        before = seen.setdefault(run_dir.resolve(), run_dir)
        if before is not run_dir:
            raise UsageError(f"{run_dir} is the run {before} again; name each run once")


def _read(run_dir: Path) -> Folder:
    try:
        return folder.read(run_dir)
    except (CheckpointError, DataError) as error:
        raise UsageError(f"{run_dir} cannot be compared: {error}, or leave this run out") from error


def _names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many of the last as it takes to tell them apart.

    >>> _names([Path("/a/x"), Path("/a/y")]), _names([Path("/a/x"), Path("/b/x")])
    (['x', 'y'], ['a/x', 'b/x'])
    """
    names = [path.as_posix() for path in paths]
    for count in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _body(found: _Comparison) -> str:
    title = (
        f"<header><h1>Comparison of {len(found.runs)} runs</h1><p>{html.escape(', '.join(found.names))}</p></header>"
    )
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in _notes(found))
    return "".join(
        [
            title + notes,
            section("Test figures", _figures(found)),
            section("Paired differences", _differences(found)),
            section("Curves", _curves(found)),
            section("Gradients of each group", _groups(found)),
            section("Differences of the configs", _configs(found)),
        ]
    )


def _notes(found: _Comparison) -> list[str]:
    """What a reader must know before looking at a figure."""
    asked: dict[Any, list[str]] = {}
    for run, name in zip(found.runs, found.names, strict=True):
        asked.setdefault(question(run), []).append(f"{name} ({_source(run)})")
    notes = []
    if len(asked) > 1:
        parts = "; ".join(", ".join(names) for names in asked.values())
        notes.append(f"These runs learned different data or tasks, so their figures are not comparable: {parts}.")
    late = [name for run, name in zip(found.runs, found.names, strict=True) if not run.result]
    if late:
        notes.append(f"Not finished: {', '.join(late)}. Curves go as far as the log; test figures follow at the end.")
    return notes


def _source(run: Folder) -> str:
    return f"{run.schema.source} {run.schema.fingerprint[:12]}"


def _test_names(found: _Comparison) -> list[str]:
    """The figures of the test split, the loss last: it is what was trained, smoothing and all."""
    names = dict.fromkeys(name for run in found.runs for name in run.result.get("test", {}))
    return sorted(names, key=lambda name: name == "loss")


def _rows(found: _Comparison) -> Iterator[list[tuple[str, str]]]:
    """One row a run, behind its name: (what to read, how sure it is) of each column."""
    for run, spread in zip(found.runs, found.spreads, strict=True):
        row = [("finished" if run.result else "not finished", "")]
        for name in _test_names(found):
            value = run.result.get("test", {}).get(name)
            sure = f"{spread[name][0]:.4g} to {spread[name][1]:.4g}" if name in spread else ""
            row.append((_ABSENT if value is None else f"{value:.4f}", "" if value is None else sure))
        parameters = run.result.get("parameters")
        words = [f"{run.steps():,}", f"{run.seconds():,.1f}", _ABSENT if parameters is None else f"{parameters:,}"]
        yield row + [(text, "") for text in (*words, _source(run))]


def _head(found: _Comparison) -> list[str]:
    tests = [f"test {name.replace('_', ' ')}" for name in _test_names(found)]
    return ["run", "state", *tests, "steps", "seconds", "parameters", "data"]


def _figures(found: _Comparison) -> str:
    rows = [[html.escape(title) for title in _head(found)]]
    for number, cells in enumerate(_rows(found)):
        inner = [html.escape(text) + (f"<small>{html.escape(sure)}</small>" if sure else "") for text, sure in cells]
        rows.append([svg.key(found.names[number], number), *inner])
    words = "<p>Below a figure its 95 % interval over the test examples; seconds are those of the training loop.</p>"
    return words + grid(rows, kind="wide")


def _differences(found: _Comparison) -> str:
    words = (
        "<p>The first run minus the second, over the examples that both were tested on. The 95 % intervals tell how "
        "far other test examples could move the difference of these two sets of weights; another seed may move it "
        "further.</p>"
    )
    if not found.pairs:
        return "<p>No two of these runs have finished and were tested on the same examples.</p>"
    rows = [["runs", "examples", "figure", "difference", "95 % interval", ""]]
    for pair in found.pairs:
        title = html.escape(f"{found.names[pair.run]} − {found.names[pair.other]}")
        for name, (value, (low, high)) in pair.differences.items():
            more = html.escape(pair.words) if name == "accuracy" else ""
            sure = f"{low:+.3g} to {high:+.3g}"
            rows.append([title, f"{pair.examples:,}", name.replace("_", " "), f"{value:+.4f}", sure, more])
    return words + grid(rows, kind="wide")


def _curves(found: _Comparison) -> str:
    """One plot a figure and split, one curve a run."""
    figures = dict.fromkeys(name for run in found.runs for name in training.names(run.records))
    charts = [_chart(found, part, name) for name in figures for part in ("valid", "train")]
    charts += [_chart(found, "train", name, logarithmic=name in _NORMS) for name in ("learning_rate", *_NORMS)]
    rates = [training.line("", run.records, "time", "examples_per_second") for run in found.runs]
    charts.append(_chart(found, "time", "examples_per_second", logarithmic=any(map(training.uneven, rates))))
    return f'<div class="charts">{"".join(charts)}</div>' if any(charts) else ""


def _groups(found: _Comparison) -> str:
    names = dict.fromkeys(name for run in found.runs for name in training.groups(run.records))
    charts = "".join(_chart(found, "train", training.GROUP + name, logarithmic=True) for name in names)
    inner = f'<details><summary>{len(names)} groups</summary><div class="charts">{charts}</div></details>'
    return inner if charts else ""


def _chart(found: _Comparison, part: str, figure: str, *, logarithmic: bool = False) -> str:
    curves = [training.line(name, run.records, part, figure) for name, run in zip(found.names, found.runs, strict=True)]
    words = figure.replace("_", " ")
    title = f"{part} {words}{', logarithmic' if logarithmic else ''}".removeprefix("time ")
    return svg.lines(title, curves, x="step", y=words, logarithmic=logarithmic, ends=True)


def _configs(found: _Comparison) -> str:
    """One row for each path that is not equal in all runs."""
    flat = [
        {path.removesuffix(".variant"): word(value) for path, value in flatten(run.settings).items()}
        for run in found.runs
    ]
    rows = [["path", *map(html.escape, found.names)]]
    for path in dict.fromkeys(path for one in flat for path in one):
        values = [one.get(path, _ABSENT) for one in flat]
        if len(set(values)) > 1:
            rows.append([html.escape(path), *map(html.escape, values)])
    return grid(rows, kind="wide") if len(rows) > 1 else "<p>These configs are equal.</p>"


def _text(found: _Comparison) -> str:
    """The figures for a terminal: the table of runs, the differences, and what a reader must know."""
    rows = [_head(found)]
    for name, cells in zip(found.names, _rows(found), strict=True):
        rows.append([name, *(f"{text} ({sure})" if sure else text for text, sure in cells)])
    lines = [columns(rows)]
    for pair in found.pairs:
        lines.append(f"{found.names[pair.run]} − {found.names[pair.other]}, on {pair.examples:,} examples of both:")
        for name, (value, (low, high)) in pair.differences.items():
            more = f"; {pair.words}" if name == "accuracy" else ""
            lines.append(f"  {name.replace('_', ' ')} {value:+.4f} ({low:+.3g} to {high:+.3g}){more}")
    return "\n".join([*lines, *_notes(found)])
