"""The same experiment several times: with other seeds, over the folds of a cross-validation, or on other splits.

A series is a folder of ordinary run folders, `seed_0`, `fold_0` or `split_0` and on, beside `series.json` (each run's
figures; mean, deviation and interval over them) and `series.html`. Each member is resumed, tested and used like any
run. The members of one process share compiled programs where these are equal: always between seeds; between folds and
splits the moments of the train split are constants of the step, so that it is compiled for each member.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxnets import config
from jaxnets.columns import columns
from jaxnets.config import Experiment
from jaxnets.data.source import is_text
from jaxnets.errors import ConfigError, DataError, UsageError
from jaxnets.files import read_json, write_json
from jaxnets.folders import SERIES, members_of
from jaxnets.metrics import Opener
from jaxnets.progress import Progress
from jaxnets.report.series import write_page
from jaxnets.run import check_folder, locked, run
from jaxnets.signals import Signals

By = Literal["seeds", "folds", "splits"]
_OF_A_RUN = ("steps", "tested_step", "test_examples", "test", "valid_examples", "valid")


class Series(NamedTuple):
    """What a series ends with; `figures` is the content of `series.json`.

    by, count, finished: what differs between the runs, how many there are to be, how many are finished
    runs: of each finished one `name`, `settings` ({dotted path: value}), and its figures, as in its `result.json`
    test: {figure: {mean, deviation, low, high}} of the finished runs' test splits
    data: the source and its sha256
    """

    folder: Path
    figures: dict[str, Any]


class Summary(NamedTuple):
    """A figure over runs: mean, standard deviation (n - 1), and the 95 % interval of the mean, low to high."""

    mean: float
    deviation: float
    low: float
    high: float


class Paired(NamedTuple):
    """How a figure of one series differs from that of another, run by run.

    difference: mean of second minus first, with its 95 % interval, low to high
    p:          of the two-sided paired t-test: how often chance alone would give such a difference
    """

    difference: float
    low: float
    high: float
    p: float


def series(
    experiment: Experiment,
    folder: str | Path,
    *,
    by: By,
    count: int,
    allow: Iterable[str] = (),
    progress: Progress | None = None,
    sinks: Callable[[Path], Iterable[Opener]] = lambda run_dir: (),
    ahead: Callable[[dict[str, Experiment], Path, Signals], object] = lambda runs, folder, signals: None,
) -> Series:
    """Trains and tests `count` members; on a folder that holds this series, finishes what is not finished.

    by: "seeds" (`seed`, seed + 1, …: how much chance moves a figure), "folds" (`data.folds` = count, `data.fold` 0 and
        on: every row is tested once) or "splits" (`data.split_seed`, + 1, …: other rows are tested, some of them twice)
    count: at least 2; seeds and splits may be given a larger one later
    sinks: `run folder -> openers` of what each member's log goes to as well
    ahead: (members, folder, signals) -> None, called before the first is run: it may train several of them at once

    Raises what `run` raises, before the first member begins where it can be known; UsageError for a folder that holds
    something else, or is in use. After a signal the member at hand is saved, and Interrupted ends the whole series.

    >>> from jaxnets import Data, Experiment
    >>> series(Experiment(data=Data(source="wine")), "runs/wine", by="folds", count=1)
    Traceback (most recent call last):
    jaxnets.errors.ConfigError: --folds 1 is not allowed; give a whole number of at least 2
    """
    folder, allow, progress = Path(folder), tuple(allow), progress or Progress()
    runs = members(experiment, by=by, count=count)
    _check_series(folder, by, count)
    for name, member in runs.items():
        config.check(member)
        check_folder(folder / name, member, allow)
    with locked(folder), Signals() as signals:
        figures = _write(folder, by, runs)
        ahead(runs, folder, signals)
        for number, (name, member) in enumerate(runs.items(), 1):
            progress.say(f"{name} ({number} of {count})")
            run(member, folder / name, allow=allow, progress=progress, sinks=sinks(folder / name))
            figures = _write(folder, by, runs)
    return Series(folder, figures)


def members(experiment: Experiment, *, by: By, count: int) -> dict[str, Experiment]:
    """{name of the run folder: its experiment}, in order. Raises ConfigError if there can be no such series.

    >>> found = members(Experiment(seed=7), by="seeds", count=2)
    >>> {name: int(one.seed) for name, one in found.items()}
    {'seed_0': 7, 'seed_1': 8}
    """
    if count < 2:
        raise ConfigError(f"--{by} {count} is not allowed; give a whole number of at least 2")
    data, numbers = experiment.data, range(count)
    match by:
        case "seeds":
            changed = [dataclasses.replace(experiment, seed=int(experiment.seed) + number) for number in numbers]
        case "folds":
            if data.folds not in (None, count) or data.fold:
                raise ConfigError(
                    f"--folds {count} sets data.folds and data.fold, which are {data.folds} and {data.fold}; "
                    "leave them out"
                )
            changed = [_with_data(experiment, folds=count, fold=number) for number in numbers]
        case "splits":
            if is_text(data.source):
                kind = "one text" if not data.source.startswith("series:") else "a row of times"
                raise ConfigError(
                    f"--splits {count}: {data.source} is {kind}, whose splits follow each other and are never drawn; "
                    "use --seeds"
                )
            changed = [_with_data(experiment, split_seed=data.split_seed + number) for number in numbers]
    return {f"{by.removesuffix('s')}_{number}": one for number, one in enumerate(changed)}


def _with_data(experiment: Experiment, **changes: Any) -> Experiment:
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, **changes))


def _check_series(folder: Path, by: By, count: int) -> None:
    """Raises UsageError if the folder holds a single run, another kind of series, a longer one, or other things."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--run-dir {folder} is a file; give a folder")
    if (folder / "config.json").exists():
        raise UsageError(
            f"--run-dir {folder} holds a single run, and --{by} needs a folder of its own; give another one"
        )
    if not (folder / SERIES).exists():
        if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UsageError(f"--run-dir {folder} is not empty and holds no series; give another folder")
        return
    if not any((folder / name / "config.json").exists() for name in members_of(folder)):
        return  # it was refused before its first step
    found = read_json(folder / SERIES)
    if found["by"] != by or found["count"] > count:
        raise UsageError(
            f"--run-dir {folder} holds the series --{found['by']} {found['count']}, which --{by} {count} does not "
            "continue; give the same again, or another folder"
        )


def _write(folder: Path, by: By, runs: dict[str, Experiment]) -> dict[str, Any]:
    """`series.json` and `series.html` of what the members' folders hold; no clock in it, so that it is reproducible."""
    results = {name: _result(folder / name, one) for name, one in runs.items()}
    finished = {name: result for name, result in results.items() if result is not None}
    found = [
        {"name": name, "settings": _settings(by, runs[name])} | {key: result[key] for key in _OF_A_RUN}
        for name, result in finished.items()
    ]
    names = list(found[0]["test"]) if len(found) > 1 else []
    figures = {
        "by": by,
        "count": len(runs),
        "finished": len(found),
        "data": next((result["data"] for result in finished.values()), None),
        "runs": found,
        "test": {figure: summary([one["test"][figure] for one in found])._asdict() for figure in names},
    }
    write_json(folder / SERIES, figures)
    write_page(folder, figures)
    return figures


def _result(run_dir: Path, experiment: Experiment) -> dict[str, Any] | None:
    """What a member ended with, if it is finished and of this very experiment."""
    if not (run_dir / "result.json").exists():
        return None
    try:
        check_folder(run_dir, experiment, ())
    except ConfigError:  # it is to be continued with a change
        return None
    return read_json(run_dir / "result.json")


def _settings(by: By, experiment: Experiment) -> dict[str, int]:
    data = experiment.data
    match by:
        case "seeds":
            return {"seed": int(experiment.seed)}
        case "folds":
            return {"data.folds": data.folds or 0, "data.fold": data.fold, "data.split_seed": data.split_seed}
        case "splits":
            return {"data.split_seed": data.split_seed}


def summary(values: Sequence[float]) -> Summary:
    """Mean, deviation and Student's 95 % interval of the mean of n >= 2 values x.

        mean ± t · deviation / √n,  deviation² = Σ(x - mean)² / (n - 1),  t the 97.5 % point of n - 1 degrees of freedom

    The interval holds for independent values. Folds and splits of one source share most of their training rows, so
    that for them it is somewhat too narrow (Bengio and Grandvalet, 2004).

    >>> [round(number, 3) for number in summary([1.0, 2.0, 3.0])]
    [2.0, 1.0, -0.484, 4.484]
    """
    from scipy import stats

    found = np.asarray(values, np.float64)
    n, mean, deviation = len(found), float(found.mean()), float(found.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * deviation / float(np.sqrt(n))
    return Summary(mean, deviation, mean - half, mean + half)


def text(figures: dict[str, Any]) -> str:
    """The summary of `series.json` as a terminal shows it."""
    rows = [("", "mean", "deviation", "95 % interval")]
    for figure, found in figures["test"].items():
        interval = f"{found['low']:.4f} to {found['high']:.4f}"
        rows.append((figure.replace("_", " "), f"{found['mean']:.4f}", f"{found['deviation']:.4f}", interval))
    return columns(rows, right=(1, 2, 3))


def compare(first: str | Path, second: str | Path) -> dict[str, Paired]:
    """{figure: Paired} of two finished series (their folders) over the same seeds, folds or splits, second minus first.

    Raises UsageError if a folder is no finished series or the settings of their runs differ, DataError if two runs of
    the same settings were not tested on the same rows of the same data.
    """
    from scipy import stats

    one, two = (_finished(Path(folder)) for folder in (first, second))
    for before, after in zip(one["runs"], two["runs"], strict=False):
        if before["settings"] != after["settings"]:
            raise UsageError(
                f"{first} and {second} differ in the settings of {before['name']}: {before['settings']} and "
                f"{after['settings']}; runs are compared one by one, so train both series with the same"
            )
    if len(one["runs"]) != len(two["runs"]):
        raise UsageError(
            f"{first} has {len(one['runs'])} runs and {second} {len(two['runs'])}; train both with the same number"
        )
    for member in one["runs"]:
        _check_same_rows(Path(first), Path(second), one["data"], two["data"], member["name"])
    found = {}
    for figure in one["test"].keys() & two["test"].keys():
        before, after = (np.array([run["test"][figure] for run in side["runs"]]) for side in (one, two))
        mean, deviation, low, high = summary((after - before).tolist())
        certain = 0.0 if mean else 1.0  # the same difference in every run: without spread there is no t
        p = float(stats.ttest_rel(after, before).pvalue) if deviation > 0 else certain
        found[figure] = Paired(mean, low, high, p)
    return {figure: found[figure] for figure in one["test"] if figure in found}


def _finished(folder: Path) -> dict[str, Any]:
    if not (folder / SERIES).is_file():
        raise UsageError(f"{folder} is not a series: it has no {SERIES}; give the folder of train --seeds N")
    figures = read_json(folder / SERIES)
    if figures["finished"] < figures["count"]:
        raise UsageError(
            f"{folder}: {figures['finished']} of {figures['count']} runs are finished; finish it with the command that "
            "began it"
        )
    return figures


def _check_same_rows(first: Path, second: Path, before: Any, after: Any, name: str) -> None:
    rows = []
    for folder in (first, second):
        with np.load(folder / name / "evaluation.npz", allow_pickle=False) as table:
            rows.append(np.sort(table["row"]))
    if before["sha256"] != after["sha256"] or not np.array_equal(*rows):
        raise DataError(
            f"{first / name} and {second / name} were not tested on the same rows of the same data; train both series "
            "on the same source, data.test and data.split_seed"
        )
