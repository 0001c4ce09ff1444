"""Real processes on this machine: who speaks, who failed, and that nobody is left behind."""

import os
import signal
import subprocess
import sys
import time

import pytest
from processes import all_gone
from small import command

from jaxnets.errors import UsageError
from jaxnets.launch import local, processes
from jaxnets.launch import program as programs

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
index, folder = int(os.environ["OMPI_COMM_WORLD_RANK"]), Path(sys.argv[1])
(folder / f"pid{index}").write_text(str(os.getpid()))
print("hello from", index, "of", os.environ["OMPI_COMM_WORLD_SIZE"], "devices", os.environ["JAX_LOCAL_DEVICE_IDS"])
"""
FOREVER = "while True:\n    time.sleep(0.05)\n"


@pytest.fixture
def script(tmp_path):
    def write(body):
        (tmp_path / "script.py").write_text(SCRIPT + body)
        return [str(tmp_path / "script.py"), str(tmp_path)]

    return write


def pids(folder, count):
    """The processes of the script, once all are there."""
    until = time.monotonic() + 20
    while len(files := [path for path in folder.glob("pid*") if path.read_text()]) < count:
        assert time.monotonic() < until, f"only {files} began"
        time.sleep(0.01)
    return [int((folder / f"pid{index}").read_text()) for index in range(count)]


def start(words, *more):
    program = [sys.executable, "-m", "jaxnets.cli", "launch", "local", "--processes", "3", *more, "--", *words]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_lines_carry_the_index_of_their_process(script, capsys):
    assert local.launch(script(""), processes=3, devices_per_process=2) == 0
    expected = [f"[{i}] hello from {i} of 3 devices {2 * i},{2 * i + 1}" for i in range(3)]
    assert sorted(capsys.readouterr().out.splitlines()) == expected


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        ("sys.exit('the disk is full')", 1, "process 1 of 3 ended with exit code 1"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "process 1 of 3 was killed by signal 9 (SIGKILL)"),
    ],
)
def test_the_one_that_failed_is_named_and_the_others_are_ended(failure, code, words, script, tmp_path, capsys):
    body = f"if index == 1:\n    print('last words', flush=True)\n    time.sleep(0.3)\n    {failure}\n"
    # The others end as processes do that lose another, before the launcher has to; who only follows is not named.
    lost = "while not (folder / 'pid1').exists():\n    time.sleep(0.01)\ntime.sleep(0.6)\nsys.exit(6)\n"
    began = time.monotonic()
    assert local.launch(script(body + lost), processes=3) == code
    errors = capsys.readouterr().err
    assert words in errors and "  last words" in errors and time.monotonic() - began < 10
    assert all_gone(pids(tmp_path, 3))


def test_a_frozen_process_is_named_when_the_others_have_lost_it(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(processes, "_GRACE", 1.0)
    body = "if index == 2:\n    os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(0.5)\nsys.exit(6)\n"
    assert local.launch(script(body), processes=3) == 1
    assert "process 2 of 3 did not answer any more" in capsys.readouterr().err
    assert all_gone(pids(tmp_path, 3))


def test_others_that_do_not_end_are_killed(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(processes, "_GRACE", 0.3)
    assert local.launch(script(f"if index == 0:\n    sys.exit(3)\n{FOREVER}"), processes=3) == 3
    assert "process 0 of 3 ended with exit code 3" in capsys.readouterr().err
    assert all_gone(pids(tmp_path, 3))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_every_process_and_they_save(number, code, script, tmp_path):
    saving = (
        "def save(number, frame):\n    (folder / f'saved{index}').touch()\n    os._exit(128 + number)\n"
        "signal.signal(signal.SIGTERM, save)\nsignal.signal(signal.SIGINT, save)\n(folder / f'ready{index}').touch()\n"
    )
    with start(script(saving + FOREVER)) as process:
        found = pids(tmp_path, 3)
        while len(list(tmp_path.glob("ready*"))) < 3:
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == code and "failed" not in errors and all_gone(found)
    assert len(list(tmp_path.glob("saved*"))) == 3


def test_a_second_signal_ends_those_that_do_not_listen(script, tmp_path):
    deaf = f"signal.signal(signal.SIGINT, signal.SIG_IGN)\n(folder / f'ready{{index}}').touch()\n{FOREVER}"
    with start(script(deaf)) as process:
        found = pids(tmp_path, 3)
        while len(list(tmp_path.glob("ready*"))) < 3:
            time.sleep(0.01)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        process.communicate(timeout=30)
    assert process.returncode != 0 and all_gone(found)


def test_no_process_outlives_a_killed_launcher(script, tmp_path):
    with start(script(FOREVER)) as process:
        found = pids(tmp_path, 3)
        process.kill()
        process.communicate(timeout=30)
    assert all_gone(found)


@pytest.mark.parametrize(
    ("program", "sizes", "words"),
    [
        (["tran", "c.py"], {}, "perhaps you meant train"),
        (["test", "runs/x"], {}, "'test' cannot be launched"),
        ([], {}, "nothing to launch"),
        (["s.py"], {"processes": 0}, "--processes 0"),
        (["s.py"], {"devices_per_process": 0}, "--devices-per-process 0"),
    ],
)
def test_what_cannot_be_launched_is_refused(program, sizes, words):
    with pytest.raises(UsageError, match=words):
        local.commands(program, **({"processes": 2, "port": 1} | sizes))


def test_jax_finds_the_processes_of_a_script_by_itself(tmp_path):
    (tmp_path / "s.py").write_text(
        "import jax\njax.distributed.initialize()\n"
        "print(jax.process_index(), jax.process_count(), jax.device_count(), jax.local_device_count())\n"
    )
    words = ("launch", "local", "--processes", "2", "--devices-per-process", "2", "--", tmp_path / "s.py")
    code, out, errors = command(*words, JAX_PLATFORMS="cpu")
    assert code == 0, errors
    assert {"[0] 0 2 4 2", "[1] 1 2 4 2"} <= set(out.splitlines())


def test_a_dry_run_prints_what_would_run_and_runs_nothing(tmp_path):
    words = ("launch", "local", "--processes", "2", "--dry-run", "--", tmp_path / "none.py", "a b")
    code, out, _ = command(*words)
    assert code == 0 and out.count("none.py 'a b'") == 2 and "OMPI_COMM_WORLD_RANK=1" in out
    assert not os.listdir(tmp_path)


def test_each_process_of_a_sweep_is_told_its_place_and_is_one_worker():
    program = ["sweep", "c.py", "--trials", "+9"]
    _, second = local.commands(program, processes=2, port=1)
    assert second.words[3:] == (*program, "--coordinator", "127.0.0.1:1", "--processes", "2", "--index", "1")
    for option in (["--workers", "4"], ["--workers=4"], ["--on", "ray"]):
        with pytest.raises(UsageError, match="each process is a worker already"):
            local.commands([*program, *option], processes=2, port=1)


def test_a_sweep_that_may_be_started_again_adds_no_trials_each_time():
    with pytest.raises(UsageError, match=r"--trials \+9 is not allowed here"):
        programs.words(["sweep", "c.py", "--trials=+9"], python="python3", repeats=True)


def test_of_a_sweep_the_launcher_ends_with_the_code_of_its_refusal_and_adds_nothing(capfd, monkeypatch):
    refuse = processes.Command((sys.executable, "-c", "import sys; print('no such path'); sys.exit(2)"), {})
    monkeypatch.setattr(local, "commands", lambda program, **how: [refuse])
    assert local.launch(["sweep", "c.py"], processes=1) == 2
    assert capfd.readouterr().out == "[0] no such path\n"


def apart(*bodies):
    """(exit code, what was said) of processes of which each can do without the others."""
    said = []
    commands = [processes.Command((sys.executable, "-c", body), {}) for body in bodies]
    return processes.run_apart(commands, say=said.append, lost="; so it goes"), said


DIES, ENDS = (
    "import os; print('mine', flush=True); os.kill(os.getpid(), 9)",
    "import time; time.sleep(0.5); print('done')",
)


def test_of_processes_that_stand_alone_one_may_die():
    code, said = apart(DIES, ENDS)
    assert code == 0 and said == ["[0] mine", "worker 0 of 2 was killed by signal 9 (SIGKILL); so it goes", "[1] done"]


def test_if_none_ends_well_the_first_to_fail_gives_the_code():
    code, said = apart("import time, sys; time.sleep(0.5); sys.exit(3)", DIES)
    assert code == 137 and "worker 0 of 2 ended with exit code 3; so it goes" in said


def test_a_signal_is_handed_on_to_all_that_stand_alone():
    body = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(143))\nprint('ready', flush=True)\n"
    said = []

    def say(line):
        said.append(line)
        if len(said) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    commands = [processes.Command((sys.executable, "-c", body + FOREVER), {})] * 2
    assert processes.run_apart(commands, say=say) == 143 and len(said) == 2
