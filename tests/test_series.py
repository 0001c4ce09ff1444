"""A series: its members are ordinary runs, its figures are right, it continues, and it refuses what it cannot be."""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from jax import monitoring
from scipy import stats
from small import CONFIG, Said, command, experiment, loop

from jaxnets import cli, compilation, config
from jaxnets.data import Data
from jaxnets.errors import CheckpointError, ConfigError, DataError, UsageError
from jaxnets.folders import members_of
from jaxnets.models import MLP
from jaxnets.progress import Progress
from jaxnets.run import locked, run
from jaxnets.series import compare, members, series, summary

SHORT = loop(steps=30, log_every=10, eval_every=15, save_every=15, dispatch="bare")
QUIET = Progress(quiet=True)


def small(**changes):
    return experiment(**({"loop": SHORT} | changes))


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory):
    """All tests of this file share their compiled programs, as the members of a series do."""
    with compilation.cache(tmp_path_factory.mktemp("programs")):
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory, programs):
    """The three kinds, finished."""
    root = tmp_path_factory.mktemp("series")
    for by in ("seeds", "folds", "splits"):
        series(small(), root / by, by=by, count=3, progress=QUIET)
    return root


def read(folder):
    return json.loads((folder / "series.json").read_text())


def test_summary_is_scipys():
    values = [0.91, 0.94, 0.97, 0.93, 0.9]
    found = summary(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert found == pytest.approx((np.mean(values), np.std(values, ddof=1), low, high), rel=1e-12)
    # by hand: mean 2, deviation √2, t of 1 degree of freedom 12.7062 (a table's), half = 12.7062 · √2 / √2
    assert summary([1.0, 3.0]) == pytest.approx((2.0, 2**0.5, 2 - 12.7062, 2 + 12.7062), abs=1e-4)
    assert summary([0.5, 0.5, 0.5]) == (0.5, 0.0, 0.5, 0.5)


@pytest.mark.parametrize("by", ["seeds", "folds", "splits"])
def test_series_json_is_what_the_members_say(by, folders):
    found = read(folders / by)
    word = by.removesuffix("s")
    assert members_of(folders / by) == [f"{word}_0", f"{word}_1", f"{word}_2"]
    assert (found["by"], found["count"], found["finished"]) == (by, 3, 3)
    for one in found["runs"]:
        result = json.loads((folders / by / one["name"] / "result.json").read_text())
        assert one["test"] == result["test"] and one["test_examples"] == result["test_examples"]
        assert found["data"] == result["data"]
        stored = json.loads((folders / by / one["name"] / "config.json").read_text())
        for path, value in one["settings"].items():
            stage, _, field = path.rpartition(".")
            assert (stored[stage] if stage else stored)[field] == value
    assert set(found["test"]) == {"loss", "accuracy", "nll", "balanced_accuracy", "f1", "roc_auc", "pr_auc"}
    for name, spread in found["test"].items():
        values = [one["test"][name] for one in found["runs"]]
        low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
        assert list(spread.values()) == pytest.approx([np.mean(values), np.std(values, ddof=1), low, high], rel=1e-9)
    rows = [np.load(folders / by / one["name"] / "evaluation.npz")["row"] for one in found["runs"]]
    if by == "folds":
        np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(178))  # each row is tested once
    else:
        assert (set(rows[0]) == set(rows[1])) == (by == "seeds")


def test_a_member_is_the_run_that_it_would_be_alone(folders, tmp_path):
    alone = run(small(seed=1), tmp_path / "run", progress=QUIET)
    member = folders / "seeds" / "seed_1" / "weights.safetensors"
    assert member.read_bytes() == (tmp_path / "run" / "weights.safetensors").read_bytes()
    code, out, _ = main_of("test", folders / "folds" / "fold_2")
    assert code == 0 and json.loads(out)["test"]["accuracy"] == pytest.approx(
        read(folders / "folds")["runs"][2]["test"]["accuracy"]
    )
    assert alone.figures["test"] == read(folders / "seeds")["runs"][1]["test"]


def main_of(*words):
    import contextlib
    import io

    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = cli.main([str(word) for word in words])
    return code, out.getvalue(), errors.getvalue()


def test_a_series_that_lost_its_last_result_ends_the_same(folders, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(folders / "splits", folder)
    before = (folder / "series.json").read_bytes()
    (folder / "split_2" / "result.json").unlink()
    trained = (folder / "split_0" / "metrics.jsonl").stat().st_mtime_ns
    said = Said()
    series(small(), folder, by="splits", count=3, progress=said)
    assert (folder / "series.json").read_bytes() == before
    assert (folder / "split_0" / "metrics.jsonl").stat().st_mtime_ns == trained
    assert any("continues" in line for line in said.lines)
    page = (folder / "series.html").read_bytes()
    (folder / "series.html").unlink()
    series(small(), folder, by="splits", count=3, progress=QUIET)
    assert (folder / "series.html").read_bytes() == page


def test_a_failure_leaves_what_is_finished_and_the_rest_follows(folders, tmp_path):
    def fails(one, run_dir, **more):
        if run_dir.name == "seed_1":
            raise CheckpointError("the disk is full")
        return run(one, run_dir, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxnets.series.run", fails)
        with pytest.raises(CheckpointError):
            series(small(), tmp_path / "s", by="seeds", count=3, progress=QUIET)
    found = read(tmp_path / "s")
    assert found["finished"] == 1 and found["count"] == 3 and found["test"] == {}
    with pytest.raises(UsageError, match="1 of 3 runs are finished"):
        compare(tmp_path / "s", folders / "seeds")
    series(small(), tmp_path / "s", by="seeds", count=3, progress=QUIET)
    assert (tmp_path / "s" / "series.json").read_bytes() == (folders / "seeds" / "series.json").read_bytes()


@pytest.mark.slow
def test_a_signal_ends_the_whole_series_and_the_same_command_continues_it(tmp_path):
    cadence = "steps=6000, log_every=100, eval_every=1000, save_every=500, dispatch='bare'"
    (tmp_path / "config.py").write_text(re.sub(r"steps=1000.*save_every=20", cadence, CONFIG))
    words = ["train", tmp_path / "config.py", "--seeds", 3, "--run-dir", tmp_path / "s"]
    for name, number, code in (("seed_0", signal.SIGINT, 130), ("seed_1", signal.SIGTERM, 143)):
        log = tmp_path / "s" / name / "metrics.jsonl"
        command_line = [sys.executable, "-m", "jaxnets.cli", *map(str, words)]
        with subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            while process.poll() is None and not (log.exists() and log.stat().st_size):
                time.sleep(0.002)
            process.send_signal(number)
            out, _ = process.communicate(timeout=60)
        assert process.returncode == code and "the same command continues" in out, out
        assert members_of(tmp_path / "s")[-1] == name and read(tmp_path / "s")["finished"] == int(name[-1])
    ended, out, errors = command(*words)
    assert ended == 0 and re.search(r"continues .*seed_1 at step \d", out), out + errors
    assert f"{tmp_path / 's' / 'seed_0'} is finished" in out and "95 % interval" in out
    series(config.load(tmp_path / "config.py"), tmp_path / "whole", by="seeds", count=3, progress=QUIET)
    assert (tmp_path / "s" / "series.json").read_bytes() == (tmp_path / "whole" / "series.json").read_bytes()


def test_a_longer_series_keeps_what_it_has_and_a_shorter_one_is_refused(folders, tmp_path):
    shutil.copytree(folders / "seeds", tmp_path / "s")
    first = read(tmp_path / "s")["runs"]
    found = series(small(), tmp_path / "s", by="seeds", count=4, progress=QUIET).figures
    assert found["runs"][:3] == first and found["runs"][3]["settings"] == {"seed": 3} and found["finished"] == 4
    with pytest.raises(UsageError, match="holds the series --seeds 4, which --seeds 3 does not continue"):
        series(small(), tmp_path / "s", by="seeds", count=3)


def test_other_experiments_and_folders_are_refused_by_name(folders, tmp_path):
    longer = small(loop=dataclasses.replace(SHORT, steps=31))
    before = {path: path.stat().st_mtime_ns for path in folders.rglob("*")}
    with pytest.raises(ConfigError, match=r"seed_0 holds a run of another config:\n  loop.steps: 30 -> 31"):
        series(longer, folders / "seeds", by="seeds", count=3)
    with pytest.raises(UsageError, match="holds the series --folds 3, which --seeds 3 does not continue"):
        series(small(), folders / "folds", by="seeds", count=3)
    with pytest.raises(ConfigError, match="data.folds: 3 -> 4"):
        series(small(), folders / "folds", by="folds", count=4)
    with pytest.raises(UsageError, match=r"seeds is a series of runs \(seed_0, seed_1, seed_2\), not one run"):
        run(small(), folders / "seeds")
    with pytest.raises(UsageError, match="holds a single run"):
        series(small(), folders / "seeds" / "seed_0", by="seeds", count=3)
    with locked(folders / "seeds"), pytest.raises(UsageError, match="in use by another process"):
        series(small(), folders / "seeds", by="seeds", count=3)
    after = {path: path.stat().st_mtime_ns for path in folders.rglob("*") if path.name != ".lock"}
    assert after == {path: time for path, time in before.items() if path.name != ".lock"}
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="is not empty and holds no series"):
        series(small(), tmp_path, by="seeds", count=3)


def test_a_series_that_was_refused_does_not_hold_its_folder(tmp_path):
    with pytest.raises(ConfigError, match="give at most 48"):
        series(small(), tmp_path / "s", by="folds", count=49, progress=QUIET)
    assert series(small(), tmp_path / "s", by="splits", count=2, progress=QUIET).figures["finished"] == 2


def test_an_allowed_change_continues_every_member(folders, tmp_path):
    shutil.copytree(folders / "seeds", tmp_path / "s")
    longer = small(loop=dataclasses.replace(SHORT, steps=45))
    found = series(longer, tmp_path / "s", by="seeds", count=3, allow=["loop.steps"], progress=QUIET).figures
    assert [one["steps"] for one in found["runs"]] == [45, 45, 45]


@pytest.mark.parametrize("command_name", ["test", "report", "watch", "predict", "config"])
def test_commands_for_one_run_name_the_members(command_name, folders):
    more = ["x.npy"] if command_name == "predict" else []
    code, out, errors = main_of(command_name, folders / "splits", *more)
    assert code == 2 and "is a series of runs (split_0, split_1, split_2), not one run" in errors and not out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seeds", "1"], "--seeds 1 is not allowed; give a whole number of at least 2"),
        (["--folds", "0"], "--folds 0 is not allowed; give a whole number of at least 2"),
        (["--splits", "many"], "invalid int value: 'many'"),
        (["--seeds", "2", "--folds", "3"], "--seeds 2 and --folds 3 cannot go together; give one of them"),
        (["--folds", "3", "--data.folds", "4"], "--folds 3 sets data.folds and data.fold, which are 4 and 0"),
        (["--folds", "49"], "data.folds 49 are more than the 48 rows of class class_2"),
        (["--seeds", "3", "--seed", "2147483646"], "seed 2147483648 is not allowed"),
        (["--seeds"], "expected one argument"),
    ],
)
def test_mistakes_exit_2_with_one_sentence(words, told, tmp_path):
    code, out, errors = main_of("train", "configs/wine_mlp.py", "--run-dir", tmp_path / "s", "--quiet", *words)
    assert code == 2 and told in errors and not out and not list(tmp_path.glob("s/*/checkpoints/0*")), errors


def test_a_text_has_no_other_splits():
    one = small(data=Data(source="python_text", context=8))
    assert list(members(one, by="seeds", count=2)) == ["seed_0", "seed_1"]
    with pytest.raises(ConfigError, match="python_text is one text.*use --seeds"):
        members(one, by="splits", count=2)


def test_a_rehearsal_is_that_of_the_first_member(tmp_path):
    code, out, _ = main_of("train", "configs/wine_mlp.py", "--folds", 6, "--dry-run", "--run-dir", tmp_path / "s")
    assert code == 0 and "6 runs; this is the first of them, fold_0" in out and "30 test" in out
    assert not (tmp_path / "s").exists()


def test_the_page_shows_every_run_and_figure(folders):
    text = (folders / "folds" / "series.html").read_text()
    found = read(folders / "folds")
    assert "http" not in text and "<script" not in text and len(text) < 60_000
    for one in found["runs"]:
        assert f'href="{one["name"]}/report.html"' in text
        assert (folders / "folds" / one["name"] / "report.html").is_file()
        for value in one["test"].values():
            assert f"<td>{value:.4f}</td>" in text
    figures = len(found["test"])
    assert figures > 2 and text.count('<circle class="dot') == 3 * figures
    assert text.count('<rect class="band"') == figures
    for spread in found["test"].values():
        assert f"{spread['mean']:.4f}" in text and f"{spread['low']:.4g} to {spread['high']:.4g}" in text


def test_seeds_share_their_compiled_programs(tmp_path):
    """The second member finds every program that the first one compiled."""
    events = []

    def hear(event, **more):
        events.append(event)

    monitoring.register_event_listener(hear)
    try:
        missed = []
        for name, one in members(small(model=MLP(widths=(11,))), by="seeds", count=2).items():
            run(one, tmp_path / name, progress=QUIET)
            missed.append(events.count("/jax/compilation_cache/cache_misses"))
            events.clear()
    finally:
        monitoring.unregister_event_listener(hear)
    assert missed[0] > 3 and missed[1] == 0


# ---------------------------------------------------------------- two series, run by run


def test_a_comparison_is_scipys_paired_test(folders, tmp_path):
    other = small(model=MLP(widths=(16,), dropout=0.1))
    series(other, tmp_path / "wide", by="folds", count=3, progress=QUIET)
    found = compare(folders / "folds", tmp_path / "wide")
    assert list(found) == list(read(folders / "folds")["test"])
    for figure, paired in found.items():
        a, b = ([one["test"][figure] for one in read(f)["runs"]] for f in (folders / "folds", tmp_path / "wide"))
        expected = stats.ttest_rel(b, a)
        interval = expected.confidence_interval(0.95)
        assert paired.difference == pytest.approx(np.mean(b) - np.mean(a))
        assert (paired.low, paired.high) == pytest.approx((interval.low, interval.high))
        assert paired.p == pytest.approx(expected.pvalue)
    assert all(one == (0.0, 0.0, 0.0, 1.0) for one in compare(folders / "folds", folders / "folds").values())


def test_what_cannot_be_compared_is_refused(folders, tmp_path):
    with pytest.raises(UsageError, match="differ in the settings of seed_0"):
        compare(folders / "seeds", folders / "folds")
    with pytest.raises(UsageError, match="is not a series"):
        compare(folders / "seeds", tmp_path)
    other = small(data=Data(source="wine", batch_size=16, split_seed=5))
    series(other, tmp_path / "two", by="seeds", count=2, progress=QUIET)
    with pytest.raises(UsageError, match="has 3 runs and .* 2; train both with the same number"):
        compare(folders / "seeds", tmp_path / "two")
    series(other, tmp_path / "two", by="seeds", count=3, progress=QUIET)
    with pytest.raises(DataError, match="seed_0 were not tested on the same rows"):
        compare(folders / "seeds", tmp_path / "two")
