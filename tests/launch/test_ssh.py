"""Hosts by ssh: a stand-in that runs the remote command here, in a home of its own; and, slow, a real sshd."""

import getpass
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recorded import refused
from small import CONFIG
from test_local import all_gone, pids

from jaxnets import cli
from jaxnets.errors import UsageError
from jaxnets.launch import processes, ssh
from jaxnets.launch.local import free_port

STAND_IN = """#!/bin/sh
printf '%s\\n' "$*" >> {folder}/calls
for word; do host=$target target=$word; done
[ "$host" != down ] || {{ echo "ssh: connect to host down port 22: No route to host" >&2; exit 255; }}
export HOME={folder}/home
cd "$HOME" && exec sh -c "$target"
"""
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
index, folder = int(os.environ["OMPI_COMM_WORLD_RANK"]), Path(sys.argv[1])
(folder / f"pid{index}").write_text(str(os.getpid()))
"""
FOREVER = "while True:\n    time.sleep(0.05)\n"


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """The folder in which the stand-in lives; its hosts share the home there, as on a cluster."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(STAND_IN.format(folder=tmp_path))
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def words(folder, *program, names="a,b", more=()):
    script = ["--devices-per-process", "1"] if program[0].endswith(".py") else []
    where = ["--folder", str(folder), "--python", sys.executable]
    return ["launch", "ssh", "--hosts", names, *where, *script, *more, "--", *map(str, program)]


def script(folder, body):
    (folder / "s.py").write_text(SCRIPT + body)
    return ["s.py", str(folder)]


def start(given):
    program = [sys.executable, "-m", "jaxnets.cli", *given]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_hosts_train_one_run(hosts, capfd):
    (hosts / "c.py").write_text(CONFIG)
    port = f"127.0.0.1:{free_port()}"
    settings = ["--run-dir", "runs/two", "--loop.steps", "20", "--loop.eval_every", "10", "--loop.save_every", "10"]
    given = words(hosts, "train", "c.py", *settings, more=["--coordinator", port, "--env", "JAX_PLATFORMS=cpu"])
    assert cli.main(given) == 0, capfd.readouterr().err
    out = capfd.readouterr().out
    assert re.search(r"^\[0\] test \(", out, re.M) and (hosts / "runs" / "two" / "result.json").is_file()
    calls = (hosts / "calls").read_text()
    assert calls.count("-o BatchMode=yes") == 2
    assert all(f"--coordinator {port} --processes 2 --index {index}" in calls for index in (0, 1))


def test_the_host_that_failed_is_named_and_the_others_are_ended(hosts, capfd, monkeypatch):
    monkeypatch.setattr(processes, "_GRACE", 0.5)
    body = f"if index == 1:\n    print('last words', flush=True)\n    time.sleep(0.3)\n    sys.exit(3)\n{FOREVER}"
    assert cli.main(words(hosts, *script(hosts, body))) == 3
    errors = capfd.readouterr().err
    assert "process 1 of 2 on b ended with exit code 3" in errors and "  last words" in errors
    assert all_gone(pids(hosts, 2))


def test_a_host_that_cannot_be_reached_is_named(hosts, capfd, monkeypatch):
    monkeypatch.setattr(processes, "_GRACE", 0.5)
    assert cli.main(words(hosts, *script(hosts, FOREVER), names="a,down")) == 255
    errors = capfd.readouterr().err
    assert "process 1 of 2 on down could not be reached" in errors and "  ssh: connect to host down" in errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_the_program_of_every_host_and_it_saves(number, code, hosts):
    saving = (
        "def save(number, frame):\n    (folder / f'saved{index}').touch()\n    os._exit(128 + number)\n"
        "signal.signal(signal.SIGTERM, save)\nsignal.signal(signal.SIGINT, save)\n(folder / f'ready{index}').touch()\n"
    )
    with start(words(hosts, *script(hosts, saving + FOREVER))) as process:
        found = pids(hosts, 2)
        while len(list(hosts.glob("ready*"))) < 2:
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code and "failed" not in errors and all_gone(found)
    assert len(list(hosts.glob("saved*"))) == 2


def test_nothing_goes_on_when_the_launcher_is_killed(hosts):
    with start(words(hosts, *script(hosts, FOREVER))) as process:
        found = pids(hosts, 2)
        process.kill()
        process.communicate(timeout=60)
    assert all_gone(found)


def test_words_arrive_as_they_were_typed(hosts, capfd):
    hostile = ["$(touch owned)", "`touch owned`", "a b", "'\"'", "; touch owned", "-x", "é", "\\", "*"]
    (hosts / "my code").mkdir()
    (hosts / "my code" / "s.py").write_text("import os, sys\nprint(ascii([*sys.argv[1:], os.environ['V']]))\n")
    given = words(hosts / "my code", "s.py", *hostile, more=["--env", "V=$(touch owned) 'x"])
    assert cli.main(given) == 0
    expected = ascii([*hostile, "$(touch owned) 'x"])
    assert sorted(capfd.readouterr().out.splitlines()) == [f"[0] {expected}", f"[1] {expected}"]
    assert not list(hosts.rglob("owned"))


@pytest.fixture
def repository(hosts, monkeypatch):
    """A repository of scripts; returns what commits files, given with their content, over those of before."""
    folder = hosts / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def commit(**files):
        for path in folder.glob("*.py"):
            path.unlink()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        for git in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "one"]):
            subprocess.run(["git", *git], check=True, capture_output=True)

    return commit


def test_the_code_of_a_commit_is_copied_and_what_a_run_has_left_stays(hosts, repository, capfd):
    given = [
        "launch",
        "ssh",
        "--hosts",
        "a,b",
        "--name",
        "vit",
        "--python",
        sys.executable,
        "--devices-per-process",
        "1",
    ]
    body = "import sys, os\nfrom pathlib import Path\nPath('runs').mkdir(exist_ok=True)\nprint(sorted(os.listdir()))\n"
    repository(s=body, old="1")
    assert cli.main([*given, "--", "s.py"]) == 0, capfd.readouterr().err
    home = hosts / "home" / "launches" / "vit"
    (home / "runs" / "kept").touch()
    assert "old.py" in capfd.readouterr().out
    repository(s=body, new="2")
    Path("untracked.py").touch()  # is no part of the commit
    assert cli.main([*given, "--", "s.py"]) == 0, capfd.readouterr().err
    files = {path.name for path in home.glob("*")} - {path.name for path in home.glob(".*")}
    assert files == {"s.py", "new.py", "runs"} and (home / "runs" / "kept").exists()
    calls = len((hosts / "calls").read_text())
    assert cli.main([*given, "--", "s.py"]) == 0 and len((hosts / "calls").read_text()) > calls
    Path("s.py").write_text("changed")
    assert "files differ from the last commit" in refused(capfd, cli.main, [*given, "--", "s.py"])


def test_a_host_that_gets_no_code_is_named(hosts, repository, capfd):
    repository(s="")
    given = ["launch", "ssh", "--hosts", "a,down", "--name", "vit", "--devices-per-process", "1", "--", "s.py"]
    given[6:6] = ["--python", sys.executable]
    assert cli.main(given) == 1
    assert "could not be brought to down (exit code 255):\n  ssh: connect" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--hosts", "a,-oProxyCommand=id", "--folder", "f"], "'-oProxyCommand=id' is no host"),
        (["--hosts", "a;id", "--folder", "f"], "'a;id' is no host"),
        (["--hosts", "a:99999", "--folder", "f"], "'a:99999' is no host"),
        (["--hosts", "a,a", "--folder", "f"], "a is there twice"),
        (["--hosts", ",", "--folder", "f"], "there is no host"),
        (["--hosts-file", "none", "--folder", "f"], "--hosts-file none is no file"),
        (["--hosts", "a"], "one of the arguments --name --folder is required"),
        (["--hosts", "a", "--name", "a b"], "small letters"),
        (["--hosts", "a", "--folder", "f", "--commit", "HEAD"], "--commit says nothing"),
        (["--hosts", "a", "--folder", "f", "--coordinator", "b"], "not HOST:PORT"),
        (["--hosts", "a", "--folder", "f", "--python=-c"], "--python '-c'"),
        (["--hosts", "a", "--folder", "f", "--devices-per-process", "0"], "--devices-per-process 0"),
        (["--hosts", "a", "--folder", "f", "--env", "a-b=c"], "NAME=VALUE"),
    ],
)
def test_what_is_not_allowed_is_refused(given, message, capfd):
    assert message in refused(capfd, cli.main, ["launch", "ssh", *given, "--dry-run", "--", "train", "c.py"])


def test_a_script_must_be_told_its_devices():
    with pytest.raises(UsageError, match="give --devices-per-process D"):
        ssh.commands(ssh.Job(("a",), ("s.py",), "f"))


def test_a_dry_run_prints_what_would_run_and_runs_nothing(hosts, capfd):
    (hosts / "nodes").write_text("me@a:2222  # the first\nb\n")
    given = ["launch", "ssh", "--hosts-file", "nodes", "--folder", "code", "--dry-run", "--", "train", "c.py"]
    assert cli.main(given) == 0
    lines = shlex.split(capfd.readouterr().out)
    assert lines.count("ssh") == 2 and "me@a" in lines and lines[lines.index("-p") + 1] == "2222"
    assert not (hosts / "calls").exists()


@pytest.mark.slow
def test_a_real_sshd_with_an_environment_of_its_own(tmp_path, monkeypatch, capfd, repository):
    """The code of a commit is brought to two names of one machine, a virtual environment is made, the script runs."""
    daemon = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    client = shutil.which("ssh", path=os.defpath)
    if daemon is None or client is None:
        pytest.skip("needs openssh-server")
    port = free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    (tmp_path / "sshd").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\n"
        f"PidFile {tmp_path}/sshd.pid\nStrictModes no\nPasswordAuthentication no\nUsePAM no\nPermitRootLogin yes\n"
        f'ForceCommand cd {tmp_path}/home && exec sh -c "$SSH_ORIGINAL_COMMAND"\n'  # not the home of the user
    )
    (tmp_path / "bin" / "ssh").write_text(  # a user has this in ~/.ssh/config
        f"#!/bin/sh\nexec {client} -F none -i {tmp_path}/user -o IdentitiesOnly=yes -o UserKnownHostsFile=/dev/null "
        f'-o StrictHostKeyChecking=no -o LogLevel=ERROR "$@"\n'
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # where Debian's sshd separates privileges
    server = subprocess.Popen([daemon, "-D", "-e", "-f", str(tmp_path / "sshd")], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        repository(s=SCRIPT + "print(index, sys.prefix, flush=True)\n" + FOREVER)
        user = getpass.getuser()
        names = f"{user}@127.0.0.1:{port},{user}@localhost:{port}"
        given = ["--hosts", names, "--name", "vit", "--devices-per-process", "1", "--", "s.py", str(tmp_path)]
        with start(["launch", "ssh", *given]) as process:
            found = pids(tmp_path, 2)
            process.send_signal(signal.SIGTERM)
            out, errors = process.communicate(timeout=60)
        assert process.returncode == 143 and all_gone(found), errors
        assert re.search(rf"^\[1\] 1 {tmp_path}/home/launches/vit/.venv$", out, re.M), out
        with start(["launch", "ssh", *given]) as process:
            found = pids(tmp_path, 2)
            process.kill()
            process.communicate(timeout=60)
        assert all_gone(found)  # the connection is gone, so its programs are
    finally:
        server.terminate()
        server.wait()
