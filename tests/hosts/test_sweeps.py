"""Several processes of one launch are workers of one sweep: each trains on its own devices, without the others."""

import json
import os
import signal
from collections import Counter

import pytest
from processes import Launched, all_gone
from small import command

CONFIG = """
from jaxnets import Data, Experiment, Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW

experiment = Experiment(
    data=Data(source="digits", batch_size=64), model=MLP(widths=(8,)), optim=AdamW(lr=1e-2),
    loop=Loop(steps=20, log_every=1000, eval_every=1000, save_every=1000),
)
"""
OVER = ("--over", "optim.lr=log(1e-4,1e-1)")
HOW = ("--name", "s", "--searcher", "random", "--form", "queue")


@pytest.fixture
def config(tmp_path):
    (tmp_path / "c.py").write_text(CONFIG)
    return tmp_path / "c.py"


def launch(*words):
    return command("launch", "local", "--processes", 2, "--", "sweep", *words, JAX_PLATFORMS="cpu")


def figures_of(folder, trials):
    """The content of sweep.json, of which every trial was done."""
    figures = json.loads((folder / "sweep.json").read_text())
    assert [one["number"] for one in figures["trials"]] == list(range(trials))
    assert {one["state"] for one in figures["trials"]} == {"complete"}
    return figures


def test_two_processes_share_the_trials_and_one_speaks(config, tmp_path):
    code, out, errors = launch(config, *OVER, *HOW, "--trials", 12, "--sweep-dir", tmp_path / "s")
    assert code == 0, out + errors
    figures = figures_of(tmp_path / "s", 12)
    by_worker = Counter(one["worker"] for one in figures["trials"])
    assert len(by_worker) == figures["workers"] == 2
    assert sorted(group["trials"] for group in figures["groups"]) == sorted(
        by_worker.values()
    )  # none was trained twice
    assert {path.stem for path in (tmp_path / "s" / "workers").iterdir()} == set(by_worker)
    assert "[0] 12 trials (12 complete)" in out and "[1]" not in out and not errors
    assert not list((tmp_path / "s").glob(".processes-*"))


@pytest.mark.parametrize(
    ("over", "words"),
    [("optim.lrr=log(1e-4,1e-1)", "perhaps you meant lr"), ("optim.lr=log(1e-4)", "optim.lr")],
    ids=["no such path", "no range"],
)
def test_what_cannot_be_is_said_once(over, words, config, tmp_path):
    code, out, errors = launch(config, "--over", over, *HOW, "--trials", 12, "--sweep-dir", tmp_path / "s")
    assert code == 2 and words in out and not errors, out + errors
    assert len(out.splitlines()) == 1 and out.startswith("[0] jaxnets: ")


HERE = "import os, sys\nindex = sys.argv[sys.argv.index('--index') + 1]\nos.chdir(f'{FOLDER}/{index}')\n"


@pytest.mark.parametrize(
    ("prelude", "words", "said"),
    [
        ("", ("--sweep-dir", "s"), "--storage postgresql://… or grpc://HOST:PORT"),
        ("assert index == '0'\n", (), "AssertionError"),
    ],
    ids=["folders of their own", "a config that fails in one"],
)
def test_what_one_process_alone_has_wrong_ends_all_with_its_words(prelude, words, said, config, tmp_path):
    for index in range(2):
        (tmp_path / str(index)).mkdir()
    config.write_text(HERE.replace("{FOLDER}", str(tmp_path)) + prelude + CONFIG)
    code, out, errors = launch(config, *OVER, *HOW, "--trials", 12, *(words or ("--sweep-dir", tmp_path / "s")))
    assert code == 2 and not errors, out + errors
    assert "[0] jaxnets: process 1 of 2: " in out and out.count(said) == 1 and "[1]" not in out
    assert not list(tmp_path.glob("**/sweep.json"))


def test_processes_that_share_no_folder_share_a_database(config, tmp_path):
    for index in range(2):
        (tmp_path / str(index)).mkdir()
    config.write_text(HERE.replace("{FOLDER}", str(tmp_path)) + CONFIG)
    storage = ("--storage", f"sqlite:///{tmp_path}/s.db", "--sweep-dir", "s")
    code, out, errors = launch(config, *OVER, *HOW, "--trials", 12, *storage)
    assert code == 0, out + errors
    found = [figures_of(tmp_path / str(index) / "s", 12) for index in range(2)]
    assert [one["workers"] for one in found] == [2, 2]
    assert sum(group["trials"] for one in found for group in one["groups"]) == 12  # each knows its own programs


def launched(config, folder, *words):
    return Launched(config, folder, *OVER, *HOW, "--trials", 24, *words, command="sweep")


def until_some_are_done(begun):
    path = begun.run_dir / "study.journal"
    return begun.until(lambda: path.exists() and path.read_text(errors="replace").count("told") > 2)


LONG = ("--loop.steps", 3000)


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_its_trials_to_the_others(config, tmp_path):
    with launched(config, tmp_path / "s", *LONG) as begun:
        os.kill(until_some_are_done(begun).pids()[1], signal.SIGKILL)
        code, out = begun.end()
    assert code == 0 and "worker 1 of 2 was killed by signal 9 (SIGKILL)" in out, out
    figures_of(tmp_path / "s", 24)


@pytest.mark.slow
def test_a_process_that_is_told_to_end_does_so_at_once_and_alone(config, tmp_path):
    with launched(config, tmp_path / "s", *LONG) as begun:
        found = until_some_are_done(begun).pids()
        os.kill(found[1], signal.SIGTERM)
        assert all_gone([found[1]], 30) and not begun.ended
        code, out = begun.end()
    assert code == 0 and "worker 1 of 2 ended with exit code 143" in out, out
    figures_of(tmp_path / "s", 24)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGKILL, {134, 137}), (signal.SIGTERM, {143})])
def test_without_process_0_all_end_and_the_same_command_continues(number, codes, config, tmp_path):
    with launched(config, tmp_path / "s", *LONG) as begun:
        found = until_some_are_done(begun).pids()
        os.kill(found[0], number)
        assert all_gone(found.values(), 60)
        ended, out = begun.end()
    assert ended in codes, out
    with launched(config, tmp_path / "s", *LONG) as begun:
        ended, out = begun.end()
    assert ended == 0, out
    figures_of(tmp_path / "s", 24)
