"""Studies on servers and in the dashboard, for real: PostgreSQL, Optuna's gRPC proxy and optuna-dashboard."""

import contextlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from jaxnets.errors import UsageError
from jaxnets.sweep import storage
from jaxnets.sweep.search import Objective, Study
from jaxnets.sweep.space import Choice, Log, Uniform

pytestmark = pytest.mark.slow
SPACE = {"optim.lr": Log(1e-4, 1e-1), "optim": Choice("adamw", "sgd")}
SPACE |= {"optim.momentum": Uniform(0, 0.9, when=("optim", "sgd"))}

WORKER = """
import sys, time
from jaxnets.sweep.search import Objective, Study
from jaxnets.sweep.space import parse
space = dict(parse(text) for text in sys.argv[3:])
study = Study.open("study", storage=sys.argv[1], space=space, objectives=[Objective("valid.loss", False)],
                   searcher=sys.argv[2], fixed={}, patience=60)
print("ready", flush=True)
while asked := study.ask(4):
    print(len(asked), flush=True)
    time.sleep(0.3)
    study.tell_all([(one.number, "complete", [one.settings["optim.lr"]], {"by": study.worker}) for one in asked])
"""


def opened(url, **changes):
    arguments = dict(space=SPACE, objectives=[Objective("valid.loss", False)], searcher="random", fixed={})
    return Study.open("study", storage=url, **(arguments | changes))


def worker(url, searcher):
    from jaxnets.sweep.space import text

    space = [f"{path}={text(dimension)}" for path, dimension in SPACE.items()]
    command = [sys.executable, "-c", WORKER, url, searcher, *space]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def postgres_programs():
    found = [Path(shutil.which("postgres") or "/nowhere").parent, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    return next((folder for folder in found if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def postgres():
    """The URL of a new database of a new server. It does not run as root, so a user of its own is needed there."""
    pytest.importorskip("psycopg2", reason="the extra postgres is not installed")
    programs = postgres_programs() or pytest.skip("PostgreSQL is not installed")
    owner = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp()), free_port()
    if owner:
        shutil.chown(folder, "postgres", "postgres")

    def run(program, *arguments):
        command = [programs / program, "-D", folder / "data", *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, **owner)

    run("initdb", "-U", "ann", "-A", "trust", "--no-sync")
    run("pg_ctl", "-w", "-l", folder / "log", "-o", f"-p {port} -k {folder} -h localhost", "start")
    try:
        yield f"postgresql://ann@localhost:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@contextlib.contextmanager
def proxy():
    """The URL of Optuna's gRPC proxy before a journal."""
    folder, port = Path(tempfile.mkdtemp()), free_port()
    code = (
        "import optuna, optuna.storages.journal as journal\n"
        f"backend = journal.JournalFileBackend({str(folder / 'study.journal')!r})\n"
        f"optuna.storages.run_grpc_proxy_server(optuna.storages.JournalStorage(backend), host='localhost', port={port})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storage, "READY_SECONDS", 120.0)
            yield f"grpc://localhost:{port}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


@pytest.mark.parametrize("server", [postgres, proxy])
def test_workers_share_a_server_and_one_is_killed(server):
    with server() as url:
        opened(url).want(40)
        processes = [worker(url, "random") for _ in range(3)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        assert processes[0].stdout.readline() == "4\n"
        os.kill(processes[0].pid, signal.SIGKILL)
        for process in processes:
            process.communicate(timeout=240)
        assert [process.returncode for process in processes] == [-signal.SIGKILL, 0, 0]
        records = opened(url).records()
        assert [(one.number, one.state) for one in records] == [(number, "complete") for number in range(40)]
        assert len({one.attributes["by"] for one in records}) >= 2
        again = opened(url)
        assert again.ask(1) == [] and again.want("+2") == 42
        assert [one.number for one in again.ask(9)] == [40, 41]
        with pytest.raises(UsageError, match="another space"):
            opened(url, space=SPACE | {"optim.lr": Log(1e-3, 1e-1)})
    with tempfile.TemporaryDirectory() as folder:
        alone = opened(f"{folder}/study.journal").ask(40)
        assert [one.settings for one in alone] == [one.settings for one in records]


@pytest.mark.parametrize("server", [postgres, proxy])
@pytest.mark.parametrize("searcher", ["tpe", "cmaes", "nsga2"])
def test_searchers_that_learn_keep_what_they_need_on_a_server(server, searcher):
    space = SPACE | {"task.label_smoothing": Uniform(0, 0.2)}
    with server() as url:
        study = opened(url, space=space, searcher=searcher)
        for _ in range(5):
            asked = study.ask(5)
            study.tell_all([(one.number, "complete", [one.settings["optim.lr"]]) for one in asked])
        assert [record.values[0] for record in study.records()] == [r.settings["optim.lr"] for r in study.records()]


@pytest.mark.parametrize("server", [postgres, proxy])
def test_values_that_are_no_numbers_are_shared_too(server):
    with server() as url:
        one, other = opened(url), opened(url)
        one.ask(4)
        one.share({0: {3: 0.5}, 1: {3: math.nan}, 2: {3: math.inf, 9: -math.inf}})
        one.share({0: {3: 0.1}})
        assert repr(other.shared(3)) == repr({0: 0.1, 1: math.nan, 2: math.inf})
        assert other.shared(9) == {2: -math.inf}
        assert other.tell(0, "pruned")
        one.share({0: {3: 7.0}})  # another told of it before
        assert one.shared(3)[0] == 0.1


def test_a_server_that_stops_is_told_and_nothing_is_lost():
    with postgres() as url:
        study = opened(url)
        asked = study.ask(2)
        study.tell(asked[0].number, "complete", [1.0])
    with pytest.raises(UsageError, match="postgresql://ann@localhost.*cannot be used"):
        study.tell(asked[1].number, "complete", [1.0])
    with pytest.raises(UsageError, match="cannot be used.*[Rr]efused"):
        opened(url)


def test_the_dashboard_shows_a_study_and_may_write_to_it(tmp_path):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    where, port = tmp_path / "study.journal", free_port()
    study = opened(where)
    first = study.ask(12)
    study.share({0: {3: 0.5, 9: math.nan}})
    study.tell_all([(one.number, "complete", [one.settings["optim.lr"]]) for one in first])
    program = Path(sys.executable).parent / "optuna-dashboard"
    process = subprocess.Popen([program, where, "--port", str(port)], stderr=subprocess.DEVNULL)

    def asked(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://localhost:{port}/{path}", data, {"Content-Type": "application/json"})
        if body is not None:
            request.method = "PUT"
        return urllib.request.urlopen(request, timeout=30).read()

    try:
        until = time.monotonic() + 120
        while True:
            try:
                listed = json.loads(asked("api/studies"))
                break
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.2)
        (shown,) = listed["study_summaries"]
        assert shown["study_name"] == "study" and b"<html" in asked("dashboard").lower()
        detail = json.loads(asked(f"api/studies/{shown['study_id']}"))
        values = [trial["values"] for trial in detail["trials"]]
        assert values == [record.values for record in study.records()]
        curve = [(point["step"], point["value"]) for point in detail["trials"][0]["intermediate_values"]]
        assert curve == [(3, 0.5), (9, "nan")]
        asked(f"api/studies/{shown['study_id']}/note", {"body": "wide enough?", "version": 1})  # it takes the lock
        assert [one.number for one in study.ask(2)] == [12, 13]
        until = time.monotonic() + 60  # it looks for new trials every ten seconds
        while len((again := json.loads(asked(f"api/studies/{shown['study_id']}")))["trials"]) < 14:
            assert time.monotonic() < until
            time.sleep(0.5)
        assert again["note"]["body"] == "wide enough?"
    finally:
        process.kill()
        process.wait()
