"""A sweep from the first trial to the last: continued, extended, stopped, shared, refused, promoted."""

import contextlib
import json
import signal
import subprocess
import sys
import time

import pytest
from small import experiment, loop

from jaxnets.errors import ConfigError, UsageError
from jaxnets.run import run
from jaxnets.sweep import Choice, Int, Log, Range, Uniform, search, sweep
from jaxnets.sweep import run as engine
from jaxnets.sweep.pool import Pool
from jaxnets.sweep.promotion import promoted
from jaxnets.sweep.storage import open_storage

SHORT = {"steps": 9, "log_every": 3, "eval_every": 3, "save_every": 9, "dispatch": "block"}
SPACE = {"optim.lr": Log(1e-3, 1e-1), "seed": Range(3)}


def swept(folder, trials=4, space=SPACE, base=None, **how):
    base = base or experiment(loop=loop(**SHORT))
    how = {"searcher": "random", "say": lambda line: None} | how
    return sweep(base, space, name="s", folder=folder, trials=trials, **how).figures


def test_every_trial_is_there_and_the_best_is_the_best(tmp_path):
    figures = swept(tmp_path, objectives=("test.accuracy",), form="queue")
    assert figures == json.loads((tmp_path / "sweep.json").read_text())
    assert [one["number"] for one in figures["trials"]] == [0, 1, 2, 3]
    for one in figures["trials"]:
        assert one["state"] == "complete" and one["values"] == [one["figures"]["test"]["accuracy"]]
        assert [step for step, _ in one["curve"]] == [3, 6, 9]
        assert 1e-3 <= one["settings"]["optim.lr"] <= 1e-1 and one["settings"]["seed"] in range(3)
    assert figures["best"]["values"] == max(one["values"] for one in figures["trials"])


def test_a_sweep_goes_on_and_grows_and_nothing_is_trained_twice(tmp_path):
    first = swept(tmp_path, trials=2)
    again = swept(tmp_path, trials=2)
    assert again["trials"] == first["trials"]
    more = swept(tmp_path, trials="+2")
    assert more["wanted"] == 4 and more["trials"][:2] == first["trials"] and len(more["trials"]) == 4
    at_once = swept(tmp_path / "other", trials=4)
    assert [one["settings"] for one in at_once["trials"]] == [one["settings"] for one in more["trials"]]
    assert [one["values"] for one in at_once["trials"]] == [one["values"] for one in more["trials"]]


def test_a_searcher_learns_from_trials_that_were_stopped(tmp_path):
    import optuna

    figures = swept(tmp_path, trials=6, space={"optim.lr": Log(1e-4, 1e-1)}, stopping="asha", eta=2, least=2)
    stopped = {one["number"]: one for one in figures["trials"] if one["state"] == "pruned"}
    study = optuna.load_study(study_name="s", storage=open_storage(tmp_path / "study.journal").optuna)
    assert stopped
    for number, one in stopped.items():
        assert study.trials[number].intermediate_values == {one["steps"]: one["rungs"][str(one["steps"])]}


def test_another_space_is_refused_and_nothing_is_lost(tmp_path):
    swept(tmp_path, trials=2)
    before = (tmp_path / "sweep.json").read_bytes()
    with pytest.raises(UsageError, match="another space"):
        swept(tmp_path, space={"optim.lr": Log(1e-3, 1.0)}, trials=4)
    assert (tmp_path / "sweep.json").read_bytes() == before
    narrowed = swept(tmp_path, space={"optim.lr": Log(1e-2, 2e-2)}, trials=4, allow=("space",))
    assert all(1e-2 <= one["settings"]["optim.lr"] <= 2e-2 for one in narrowed["trials"][2:])


def test_the_best_trial_is_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figures = swept(tmp_path / "sweeps" / "first", form="queue")
    found, words = promoted("first")
    result = run(found, tmp_path / "run").figures
    assert result["valid"]["loss"] == pytest.approx(figures["best"]["values"][0], rel=1e-6)
    assert f"trial {figures['best']['number']}" in words
    with pytest.raises(UsageError, match="perhaps you meant"):
        promoted("frist")
    with pytest.raises(UsageError, match="has no trial 9"):
        promoted("first", trial=9)


def test_a_trial_that_changed_its_settings_is_promoted_with_those_that_its_values_come_from(tmp_path):
    figures = swept(tmp_path, trials=8, space={"optim.lr": Log(1e-3, 1e-1)}, stopping="pbt", least=2)
    changed = [one for one in figures["trials"] if one["first_settings"]]
    assert changed and all(one["settings"] != one["first_settings"] for one in changed)
    for one in figures["trials"]:
        before = [change for change in one["history"] if change[0] < one["tested_step"]]
        assert one["settings"] == (before[-1][2] if before else one["settings"])
        assert bool(before) == (one in changed)
        found, words = promoted(tmp_path, trial=one["number"])
        assert float(found.optim.lr) == one["settings"]["optim.lr"]
        assert ("the last ones from the start" in words) == bool(before)
        assert all(str(step) in words.partition("after step")[2] for step, _, _ in before)
    best = figures["trials"][figures["best"]["number"]]
    assert figures["best"]["settings"] == best["settings"]
    assert float(promoted(tmp_path)[0].optim.lr) == best["settings"]["optim.lr"]


class Died(BaseException):
    """In place of the death of this process."""


@pytest.fixture
def deaths(monkeypatch):
    """Where trial 1 ends the process: with how many trials beside it. Programs are compiled once for all tests here."""
    where, found = ["compiling"], []

    def die(moment, trials):
        if moment == where[0] and any(one.number == 1 for one in trials):
            found.append(len(trials))
            raise Died

    def choose_dying(own, group, real=engine._Sweep._choose, **how):
        die("compiling", group.waiting)
        real(own, group, **how)

    def advance_dying(pool, active, *given, real=Pool._advanced):
        die("training", [one.trial for _, one in active])
        real(pool, active, *given)

    def choose_once(*given, form, waiting, real=engine.choose, **how):
        key = (form, waiting)
        PROGRAMS[key] = PROGRAMS.get(key) or real(*given, form=form, waiting=waiting, **how)
        return PROGRAMS[key]

    monkeypatch.setattr(engine._Sweep, "_choose", choose_dying)
    monkeypatch.setattr(Pool, "_advanced", advance_dying)
    monkeypatch.setattr(engine, "choose", choose_once)
    monkeypatch.setattr(search, "is_dead", lambda process: True)  # of the others, which were this process
    return where, found


PROGRAMS = {}


def swept_to_the_end(folder, found):
    said, figures = [], {}
    while not figures and len(found) < 9:
        with contextlib.suppress(Died):
            figures = swept(folder, trials=4, form="lanes", lanes=4, say=said.append)
    return figures, said


def test_a_sweep_ends_although_one_of_its_trials_ends_every_process(tmp_path, monkeypatch, deaths):
    where, found = deaths
    where[0] = "training"
    monkeypatch.setattr(engine, "_FIRST", 0)  # what counts is that they were begun
    figures, said = swept_to_the_end(tmp_path, found)
    assert found == [4, 4, 4, 1, 1, 1] and sum("trial 1 is trained alone" in line for line in said) == 3
    assert [one["state"] for one in figures["trials"]] == ["complete", "failed", "complete", "complete"]
    assert "workers were lost" in figures["trials"][1]["why"]


def test_lanes_that_end_every_process_when_they_are_compiled_give_way_to_a_queue(tmp_path, deaths):
    _, found = deaths
    figures, _ = swept_to_the_end(tmp_path, found)
    assert found == [4, 4, 4]
    assert all(one["state"] == "complete" and one["form"] == "queue" for one in figures["trials"])


def test_a_rule_that_looks_at_no_step_says_so(tmp_path):
    lines = []
    swept(tmp_path, trials=1, form="queue", stopping="asha", least=20, say=lines.append)
    assert any("--stopping asha ends none of these trials: with --least 20" in line for line in lines)


def test_shapes_make_groups_and_each_is_compiled_once(tmp_path):
    space = SPACE | {"model.widths": Choice("4", "8,8")}
    figures = swept(tmp_path, trials=8, space=space, form="lanes", lanes=2)
    assert sorted(one["structure"]["model.widths"] for one in figures["groups"]) == ["4", "8,8"]
    assert sum(one["trials"] for one in figures["groups"]) == 8
    assert all(one["state"] == "complete" and one["form"] == "lanes" for one in figures["trials"])


def test_a_group_has_as_many_lanes_as_trials(tmp_path):
    space = {"model.widths": Choice("4", "8,8"), "optim.lr": Choice(0.01, 0.02, 0.03)}
    figures = swept(tmp_path, trials=6, space=space, form="lanes", searcher="grid")
    assert [(one["trials"], one["lanes"]) for one in figures["groups"]] == [(3, 3), (3, 3)]
    [group] = swept(tmp_path / "few", trials=2, form="lanes", lanes=8)["groups"]
    assert group["lanes"] == 2


def test_what_is_no_number_is_null_in_the_file(tmp_path):
    base = experiment(loop=loop(**SHORT, nonfinite="skip"))
    space = {"optim.lr": Choice(1e30, 0.01)}
    figures = swept(tmp_path, trials=2, base=base, space=space, searcher="grid", stopping="asha", least=2, eta=2)
    assert figures == json.loads((tmp_path / "sweep.json").read_text(), parse_constant=pytest.fail)
    assert {None} < {value for one in figures["trials"] for value in one["rungs"].values()}


def test_times_of_a_worker_that_are_damaged_stop_nothing(tmp_path):
    swept(tmp_path, trials=1)
    for path in (tmp_path / "workers").iterdir():
        path.write_text("{")
    assert len(swept(tmp_path, trials=2)["trials"]) == 2


def test_what_cannot_be_is_told_before_anything_is_compiled(tmp_path):
    for space, words in (
        ({"optim.lrr": Log(1e-3, 1.0)}, "lrr"),
        ({"optim.lr": Log(1.0, 1e-3)}, "rise"),
        ({"model.widths": Uniform(0.0, 1.0)}, "widths"),
    ):
        with pytest.raises(ConfigError, match=words):
            swept(tmp_path, space=space)
    with pytest.raises(ConfigError, match="valid.accuracy"):
        swept(tmp_path, objectives=("valid.acuracy",))
    with pytest.raises(ConfigError, match="no number of a lane"):
        swept(tmp_path, space={"data.batch_size": Int(4, 8)}, form="lanes")
    with pytest.raises(UsageError, match="a name without folders"):
        sweep(experiment(), SPACE, name="../s", trials=1)
    (tmp_path / "file").write_text("")
    for how, words in (
        ({"stopping": "ahsa"}, "asha"),
        ({"stopping": "asha", "eta": 1}, "--eta 1 is not allowed; give a whole number of at least 2"),
        ({"stopping": "asha", "least": 0}, "--least 0"),
        ({"lanes": 0}, "--lanes 0"),
        ({"objectives": ("valid.loss", "valid.loss")}, "valid.loss is there twice"),
        ({"allow": ("spaces",)}, "perhaps you meant space"),
    ):
        with pytest.raises(UsageError, match=words):
            swept(tmp_path, **how)
    with pytest.raises(UsageError, match="cannot be written.*give another --sweep-dir"):
        swept(tmp_path / "file")
    assert not list(tmp_path.glob("s*"))


def test_a_trial_that_cannot_be_fails_alone(tmp_path):
    """Heads that do not divide the width: known only when both are drawn."""
    from jaxnets.data import Data
    from jaxnets.models import ViT

    base = experiment(
        model=ViT(patch=4, width=8, depth=1, heads=2, mlp_width=8),
        data=Data(source="digits", batch_size=8),
        loop=loop(**SHORT | {"steps": 2, "eval_every": 2}),
    )
    space = {"model.heads": Choice(2, 4), "model.width": Choice(8, 6)}
    figures = swept(tmp_path, base=base, trials=4, space=space, searcher="grid")
    failed = [one for one in figures["trials"] if one["state"] == "failed"]
    assert [one["settings"] for one in failed] == [{"model.heads": 4, "model.width": 6}]
    assert "does not divide" in failed[0]["why"] and len(figures["trials"]) == 4


CONFIG = """
from jaxnets import Data, Experiment, Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW
from jaxnets.sweep import Log

experiment = Experiment(
    data=Data(source="wine", batch_size=16), model=MLP(widths=(8,)), optim=AdamW(lr=1e-2),
    loop=Loop(steps=3000, log_every=1000, eval_every=1000, save_every=3000, monitor="nll"),
)
space = {"optim.lr": Log(1e-3, 1e-1)}
"""


def start(folder, *words):
    (folder / "c.py").write_text(CONFIG)
    command = [sys.executable, "-m", "jaxnets.cli", "sweep", "c.py", "--name", "s", "--searcher", "random", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(folder, count, process):
    """Until the journal tells of so many finished trials."""
    end = time.monotonic() + 120
    journal = folder / "sweeps" / "s" / "study.journal"
    while time.monotonic() < end and process.poll() is None:
        if journal.exists() and journal.read_text(errors="replace").count('"state":1') >= count:
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_a_worker_that_ends_at_any_time_leaves_a_sweep_that_goes_on(tmp_path, number):
    process = start(tmp_path, "--trials", "120", "--form", "queue")
    wait_for(tmp_path, 3, process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    if number == signal.SIGTERM:
        assert "the same command continues" in stderr
    again = start(tmp_path, "--trials", "12", "--form", "queue")
    stdout, stderr = again.communicate(timeout=200)
    assert again.returncode == 0, stderr
    figures = json.loads((tmp_path / "sweeps" / "s" / "sweep.json").read_text())
    states = [one["state"] for one in figures["trials"]]
    assert states[:12].count("complete") == 12
    assert len({one["number"] for one in figures["trials"]}) == len(states)
