"""A run at a URL is the run of a folder, bit for bit: trained, cut off anywhere, continued, tested, watched."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from faulty import Faulty, outage, sample
from small import CONFIG, Said, assert_same_runs, command, experiment, loop

from jaxnets import cli, evaluate
from jaxnets.errors import CheckpointError, ConfigError, JaxnetsError, UsageError
from jaxnets.progress import Progress
from jaxnets.remote import Store, lease, store
from jaxnets.run import run

URL = "faulty://bucket/runs/wine"


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(lease, "PATIENCE", 0.2)
    monkeypatch.setattr(lease, "_SETTLE", 0.0)
    monkeypatch.setattr(lease, "BEAT", 1000.0)  # so that the calls of a run are the same each time
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    Faulty.empty()


def settings():
    return experiment(loop=loop(dispatch="block"))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return run(settings(), tmp_path_factory.mktemp("runs") / "wine", progress=Progress(quiet=True)).run_dir


def fetched(url, folder):
    """All of a run at a URL in a folder."""
    place = Store(url)
    place.download("", folder, place.marks())
    return folder


def test_a_run_at_a_url_is_the_run_of_a_folder(reference, tmp_path):
    said = Said()
    result = run(settings(), URL, progress=said)
    assert (
        result.run_dir == URL and result.figures["test"] == json.loads((reference / "result.json").read_text())["test"]
    )
    here = fetched(URL, tmp_path / "here")
    assert_same_runs(here, reference)
    kept = {path.name for path in reference.iterdir()} - {".lock"}
    assert {path.name for path in here.iterdir()} == kept
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and here not in path.parents}
    assert left <= {".guard"}
    again = run(settings(), URL, progress=said)
    assert again.figures == result.figures and said.lines[-1].startswith(f"{URL} is finished")
    with pytest.raises(ConfigError, match=f"{URL} holds a run of another config"):
        run(experiment(), URL, progress=said)


@pytest.mark.parametrize("count", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_a_run_that_is_cut_off_at_any_call_continues_bit_for_bit(reference, tmp_path, count):
    run(settings(), URL, progress=Progress(quiet=True))
    ended = []
    for number in sample(Faulty.calls, count):
        Faulty.empty()
        Faulty.plan(outage(number), after=bool(number % 2))
        ended.append(how_it_ends(settings(), URL))
        # the lease is given back quietly; the last checkpoint, in its thread, may have sent what the end would send
        spared = ended[-1] is None and Faulty.calls - number <= len(store.WAITS)
        assert ended[-1] == (CheckpointError, 4) or spared
        Faulty.plan()
        run(settings(), URL, progress=Progress(quiet=True))
        assert_same_runs(fetched(URL, tmp_path / str(number)), reference)
    assert (CheckpointError, 4) in ended


def how_it_ends(config, url):
    """(the error's type, its exit code) of a run, or None if there is none."""
    try:
        run(config, url, progress=Progress(quiet=True))
    except JaxnetsError as error:
        return type(error), error.exit_code
    return None


def test_the_commands_take_a_url(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.py").write_text(CONFIG.replace("steps=1000", "steps=40"))
    url = f"file://{tmp_path}/bucket/one"
    assert cli.main(["train", "config.py", "--run-dir", url, "--tensorboard"]) == 0
    assert f"run folder   {url}" in capsys.readouterr().out
    folder = tmp_path / "bucket" / "one"
    assert list((folder / "tb").iterdir()) and not (folder / ".lease").exists()
    for name in ("report.html", "evaluation.npz"):
        (folder / name).unlink()
    assert cli.main(["test", url]) == 0 and (folder / "report.html").exists() and (folder / "evaluation.npz").exists()
    (folder / "report.html").unlink()
    assert cli.main(["report", url]) == 0 and (folder / "report.html").exists()
    capsys.readouterr()
    assert cli.main(["watch", url, "--once"]) == 0
    assert capsys.readouterr().out.startswith("one  step 40/40")
    np.save(tmp_path / "rows.npy", np.zeros((2, 13), np.float32))
    assert cli.main(["predict", url, "rows.npy", "--out", "found.jsonl"]) == 0
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 2
    assert evaluate.predict(url, np.zeros((2, 13)))["class"].shape == (2,)
    capsys.readouterr()
    assert cli.main(["test", f"{url}x"]) == 2
    assert f"{url}x is not a run folder: it has no config.json" in capsys.readouterr().err
    assert cli.main(["train", "config.py", "--run-dir", url, "--seeds", "2"]) == 2


@pytest.mark.slow
def test_a_bucket_behind_the_protocol_of_google_cloud_storage(reference, tmp_path, monkeypatch):
    """The driver of gs:// over HTTP, to a server on this host that answers as Google's."""
    pytest.importorskip("gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
    server.start()
    try:
        run(settings(), "gs://bucket/runs/wine", progress=Progress(quiet=True))
        assert_same_runs(fetched("gs://bucket/runs/wine", tmp_path / "here"), reference)
        assert evaluate.test("gs://bucket/runs/wine")["examples"] == 36
        with pytest.raises(UsageError, match="no such bucket or folder"):
            run(settings(), "gs://nowhere/runs/wine", progress=Progress(quiet=True))
    finally:
        server.stop()


def killed(config, run_dir, *, after):
    """Trains in a process of its own until this file is there, and kills it."""
    words = [sys.executable, "-m", "jaxnets.cli", "train", str(config), "--run-dir", run_dir, "--quiet"]
    process = subprocess.Popen(words, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    began = time.monotonic()
    while not after.exists() and time.monotonic() - began < 120:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_killed_process_is_followed(tmp_path):
    (tmp_path / "config.py").write_text(CONFIG)
    manifest = tmp_path / "remote" / "checkpoints" / "00000040" / "manifest.json"
    killed(tmp_path / "config.py", f"file://{tmp_path}/remote", after=manifest)
    assert not (tmp_path / "remote" / "result.json").exists()
    for where in (tmp_path / "local", f"file://{tmp_path}/remote"):
        code, out, errors = command("train", tmp_path / "config.py", "--run-dir", where)
        assert code == 0, out + errors
    assert "that run is gone, and this one continues it" in out and "continues file://" in out
    assert_same_runs(tmp_path / "remote", tmp_path / "local")


@pytest.mark.slow
@pytest.mark.parametrize("plan", [(), ("--plan.data", 1, "--plan.fsdp", 2)])
def test_processes_that_share_nothing_but_a_url_give_the_run_of_a_folder(tmp_path, plan):
    (tmp_path / "config.py").write_text(CONFIG.replace("steps=1000", "steps=40, dispatch='block'"))
    two, url = ("launch", "local", "--processes", 2, "--"), f"file://{tmp_path}/remote"
    for where in (tmp_path / "local", url):
        code, out, errors = command(
            *two, "train", tmp_path / "config.py", "--run-dir", where, *plan, JAX_PLATFORMS="cpu"
        )
        assert code == 0, out + errors
    assert_same_runs(tmp_path / "remote", tmp_path / "local")
    one = ("--loop.steps", 60, "--allow", "loop.steps", "plan")
    code, out, errors = command("train", tmp_path / "config.py", "--run-dir", url, *one)
    assert code == 0 and f"continues {url} at step 40" in out, out + errors
