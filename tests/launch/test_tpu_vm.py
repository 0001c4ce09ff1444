"""Cloud TPU VMs through a stand-in for gcloud that keeps state: what is created, lost, created again and deleted."""

import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gcloud_standin import Cloud, processes
from small import CONFIG, assert_same_runs, command

from jaxnets import cli
from jaxnets.launch import gcloud

ROOT = Path(__file__).parents[2]
WORDS = ("launch", "tpu-vm", "--name", "vit", "--zone", "us-west4-a", "--accelerator", "v5litepod-16", "--poll", "0.1")
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
here, what = Path(sys.argv[1]), sys.argv[2:]
lives = here / f"lives{os.environ['JAXNETS_TEST_WORKER']}"
lives.write_text(lives.read_text() + "x" if lives.exists() else "x")
life = len(lives.read_text())
print("life", life, "of", Path.cwd().name, *map(ascii, what))
"""
WAITS = "(here / 'begun').touch()\nwhile not (here / 'go').exists():\n    time.sleep(0.02)\n"


@pytest.fixture
def launch(tmp_path, monkeypatch, capfd):
    """Commits a script and launches it: (exit code, stdout, stderr)."""
    code = tmp_path / "code"
    code.mkdir()
    monkeypatch.chdir(code)

    def prepare(body="", **plan):
        cloud = Cloud(tmp_path / "cloud", **plan)
        monkeypatch.setenv("PATH", f"{cloud.folder}:{os.environ['PATH']}")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        commit(code, "script.py", SCRIPT + body)

        def run(*options, program=None):
            program = program or ("script.py", str(tmp_path), "a b", "gs://x")
            try:
                status = cli.main([*WORDS, *options, "--", *program])
            finally:
                said = capfd.readouterr()
            return status, said.out, said.err

        run.cloud, run.folder = cloud, tmp_path
        return run

    yield prepare
    for process in processes(tmp_path / "cloud" / "homes"):
        os.kill(process, signal.SIGKILL)


def commit(folder, name, text):
    (folder / name).write_text(text)
    own = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder)]
    for words in (["init", "-q"], ["add", name], ["commit", "-qm", "code"]):
        subprocess.run([*own, *words], check=True)


def verb(name, *more):
    return cli.main(["launch", name, "vit", *more])


def until(path, seconds=90.0):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.02)


@pytest.mark.parametrize("queued", [(), ("--queued",)])
def test_the_commands_of_a_dry_run_are_those_that_run(queued, launch):
    run = launch(workers=4)
    options = ("--spot", "--labels", "team=vision,stage=dev", "--commit", "HEAD", *queued)
    _, planned, _ = run(*options, "--dry-run")
    assert run.cloud.calls == []
    code, out, errors = run(*options)
    assert code == 0, errors
    assert sorted(out.splitlines()) == [f"[{i}] life 1 of jaxnets-code 'a b' 'gs://x'" for i in range(4)]
    ran = [call for call in run.cloud.calls if "describe" not in call]
    assert ran == [words for words in map(shlex.split, planned.splitlines()) if "describe" not in words]
    assert run.cloud.left == {} and not Path("launches/vit.json").exists()
    assert "nothing of it is left" in errors


def test_nothing_that_a_user_types_is_run_by_a_shell(launch):
    run = launch()
    words = ["gs://x", "$(touch ../bad)", "; touch bad", "`touch bad`", "a\nb", "--command=x", "'\"", "*", "~", "é"]
    code, out, errors = run("--install", "x; touch bad", program=["script.py", str(run.folder), *words])
    assert code == 0, errors
    assert " ".join(map(ascii, words)) in out
    ssh = [call for call in run.cloud.calls if "ssh" in call]
    assert shlex.split(ssh[-1][-1].partition("=")[2])[-len(words) :] == words
    assert "x; touch bad" in shlex.split(ssh[0][-1]) and not list(run.folder.rglob("bad"))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--name", "-x"), "--name '-x'"),
        (("--name", "a;b"), "small letters"),
        (("--zone", "us-west4-a --quiet"), "as us-central1-a"),
        (("--project", "$(id)"), "id of a project"),
        (("--labels", "a=b,--spot"), "KEY=VALUE"),
        (("--labels", "a=b\n"), "KEY=VALUE"),
        (("--runtime-version", "a b"), "versions list"),
        (("--network", "/etc"), "a network"),
        (("--service-account", "me"), "an address"),
        (("--accelerator", "v5e-16"), "perhaps you meant v5litepod"),
        (("--accelerator", "v5litepod-12"), "1, 4, 8, 16"),
        (("--accelerator", "v5p-12"), "multiples of 8"),
        (("--accelerator", "tpu7x-8"), "jaxnets launch gke"),
        (("--accelerator", "v7x-8"), "last chip is v6e"),
        (("--install", "-r"), "no package"),
        (("--retries", "-1"), "--retries -1"),
        (("--commit", "nowhere"), "no commit"),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_is_asked_for(option, words, launch):
    run, (name, value) = launch(), option
    code, _, errors = run(f"{name}={value}")
    assert code == 2 and words in errors and run.cloud.calls == []


@pytest.mark.parametrize(
    ("program", "fine"),
    [
        (("train", "c.py"), False),
        (("train", "c.py", "--run-dir", "runs/x"), False),
        (("train", "c.py", "--run-dir=gs://b/x"), True),
        (("train", "c.py", "--run-dir", "gs://b/x"), True),
        (("train", "gs://c.py"), False),
        (("s.py", "runs/x"), False),
        (("s.py", "--to=gs://b"), True),
        (("sweep", "c.py", "--trials", "9"), False),
        (("sweep", "c.py", "--trials", "9", "--storage", "sqlite:///s.db"), False),
        (("sweep", "c.py", "--trials", "9", "--storage=grpc://host:13000"), True),
    ],
)
def test_a_run_that_would_be_deleted_with_its_disk_is_refused(program, fine, launch):
    run, words = launch(), "--storage postgresql://" if program[0] == "sweep" else "--run-dir gs://"
    code, _, errors = run("--dry-run", program=program)
    assert code == (0 if fine else 2) and (fine or words in errors)
    assert run("--dry-run", "--allow-local-runs", program=program)[0] == 0


def test_gcloud_that_is_not_there_is_named(launch, monkeypatch):
    run = launch()
    alone = run.folder / "git"  # this machine may have a gcloud of its own, which no test may reach
    alone.mkdir()
    (alone / "git").symlink_to(shutil.which("git"))
    monkeypatch.setenv("PATH", str(alone))
    code, _, errors = run()
    assert code == 2 and "gcloud is not on PATH" in errors and not Path("launches/vit.json").exists()


@pytest.mark.parametrize(
    ("plan", "options", "words"),
    [
        ({"refuse": ["RESOURCE_EXHAUSTED: Quota limit 'V5e' exceeded"]}, (), "Quota limit 'V5e' exceeded"),
        ({"looks": 10**6}, ("--ready-within", "0.5"), "still CREATING after 0.5 s"),
    ],
)
def test_what_cannot_be_had_is_said_and_nothing_is_left(plan, options, words, launch):
    run = launch(**plan)
    code, _, errors = run(*options)
    assert code == 1 and words in errors
    assert run.cloud.left == {} and run.cloud.count("create") == 1 and not Path("launches/vit.json").exists()


@pytest.mark.parametrize(("left", "queued"), [("PREEMPTED", ()), ("PREEMPTED", ("--queued",)), (None, ("--queued",))])
def test_a_preempted_node_is_created_again_and_the_program_runs_again(left, queued, launch):
    body = "if life == 1:\n    (here / 'cloud' / 'now').touch()\n    time.sleep(60)\n"
    run = launch(body, preempt=["now"], left=left)
    code, out, errors = run("--spot", *queued)
    assert code == 0, errors
    assert "[0] life 2" in out and (run.folder / "lives0").read_text() == "xx"
    assert run.cloud.count("create") == 2 and run.cloud.left == {} and "trial 1 of 3" in errors


def test_a_program_that_is_told_before_its_node_goes_is_not_taken_for_one_that_failed(launch):
    body = (
        "signal.signal(signal.SIGTERM, lambda number, frame: os._exit(143))\n"
        "if life == 1:\n    (here / 'cloud' / 'now').touch()\n    time.sleep(60)\n"
    )
    run = launch(body, preempt=["now"], told=True)
    code, _, errors = run("--spot")
    assert code == 0 and run.cloud.count("create") == 2, errors


def test_a_node_that_is_preempted_while_it_installs_is_created_again(launch):
    run = launch(preempt=["installing"])
    (run.cloud.folder / "slow").touch()
    # What waits in the installation goes with its node; the second one is to find nothing to wait for.
    waiting = subprocess.Popen(["sh", "-c", f"sleep 2; rm {run.cloud.folder / 'slow'}"])
    code, out, errors = run("--spot")
    waiting.wait()
    assert code == 0 and "life 1" in out and run.cloud.count("create") == 2, errors


def test_the_retries_end_and_nothing_is_left(launch):
    run = launch("(here / 'cloud' / 'now').touch()\ntime.sleep(60)\n", preempt=["now"] * 9)
    code, _, errors = run("--spot", "--retries", "2")
    assert code == 1 and "was lost 3 times" in errors and run.cloud.count("create") == 3 and run.cloud.left == {}


def test_a_creation_that_is_refused_after_a_preemption_counts_as_a_trial(launch):
    body = "if life == 1:\n    (here / 'cloud' / 'now').touch()\n    time.sleep(60)\n"
    run = launch(body, preempt=["now"], refuse=[None, "no more capacity in the zone", None])
    code, _, errors = run("--spot")
    assert code == 0 and run.cloud.count("create") == 3 and "no more capacity" in errors


def test_a_run_that_was_on_a_lost_node_alone_does_not_start_anew_by_itself(launch):
    run = launch("(here / 'cloud' / 'now').touch()\ntime.sleep(60)\n", preempt=["now"])
    code, _, errors = run("--allow-local-runs", program=["script.py", str(run.folder)])
    assert code == 1 and "gone with it" in errors and run.cloud.count("create") == 1 and run.cloud.left == {}


def test_a_failing_program_is_not_repeated_and_its_code_is_given_back(launch):
    body = "time.sleep(0.5)\nsys.exit(7 if os.environ['JAXNETS_TEST_WORKER'] == '1' else 6)\n"
    run = launch(body, workers=2)
    code, out, errors = run("--spot")
    assert code == 7 and out.count("life 1") == 2 and "exit code 7 on worker 1" in errors
    assert run.cloud.count("create") == 1 and run.cloud.left == {}


def test_what_cannot_be_installed_is_said_and_not_repeated(launch):
    run = launch()
    (run.cloud.folder / "uninstallable").touch()
    code, out, errors = run("--spot")
    assert code == 1 and "no matching distribution" in out and "could not be installed" in errors
    assert run.cloud.count("create") == 1 and run.cloud.left == {}


def test_a_broken_connection_is_taken_up_again_and_the_program_has_not_noticed(launch):
    body = "if life == 1:\n    (here / 'cloud' / 'now').touch()\n    time.sleep(1)\nprint('done')\n"
    run = launch(body, **{"break": ["now"]})
    code, out, errors = run()
    assert code == 0 and "done" in out and "following the program again" in errors
    assert (run.folder / "lives0").read_text() == "x" and run.cloud.count("create") == 1


def start(run, *options, terminal=None):
    words = [sys.executable, "-m", "jaxnets.cli", *WORDS, *options, "--", "script.py", str(run.folder), "gs://x"]
    own = {} if terminal is None else {"stdin": terminal, "stderr": terminal}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, **({"stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | own)
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_without_a_terminal_a_signal_says_what_still_runs(number, code, launch):
    run = launch(WAITS)
    with start(run) as process:
        until(run.folder / "begun")
        process.send_signal(number)
        errors = process.communicate(timeout=30)[1].decode()
    assert process.returncode == code and "jaxnets launch stop vit" in errors
    assert run.cloud.left["node"] == "READY" and run.cloud.processes()
    assert verb("stop") == 0 and run.cloud.left == {} and not run.cloud.processes()


@pytest.mark.parametrize(("answer", "left"), [("y", False), ("n", True)])
def test_ctrl_c_asks_whether_to_delete_what_costs_money(answer, left, launch):
    saves = "def save(*_):\n    (here / 'saved').touch()\n    os._exit(143)\nsignal.signal(signal.SIGTERM, save)\n"
    run = launch(saves + WAITS)
    ours, theirs = pty.openpty()
    with start(run, terminal=theirs) as process:
        os.close(theirs)
        until(run.folder / "begun")
        process.send_signal(signal.SIGINT)
        said = b""
        while b"Delete it? [y/n]" not in said:
            said += os.read(ours, 1000)
        os.write(ours, f"{answer}\n".encode())
        process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 130 and b"v5litepod-16" in said
    assert bool(run.cloud.left) is left and (run.folder / "saved").exists() is not left
    assert Path("launches/vit.json").exists() is left


def test_a_launch_whose_launcher_was_killed_is_seen_and_taken_over(launch, capfd):
    run = launch(WAITS + "sys.exit(3)\n")
    program = ("script.py", str(run.folder), "gs://x")
    with start(run) as process:
        until(run.folder / "begun")
        process.kill()
    assert verb("status") == 0
    out = capfd.readouterr().out
    assert "vit (v5litepod-16 in us-west4-a) is READY" in out and "[0] running" in out
    assert run("--spot", program=program)[0] == 2  # another launch under its name
    assert run(program=("script.py", "gs://y"))[0] == 2
    (run.folder / "go").touch()
    assert verb("logs") == 0 and "[0] life 1" in capfd.readouterr().out
    code, out, _ = run(program=program)
    assert code == 3 and "[0] life 1" in out and (run.folder / "lives0").read_text() == "x"
    assert run.cloud.count("scp") == 1 and run.cloud.left == {}
    assert verb("status") == 2


def test_a_node_that_is_kept_runs_the_next_program_and_leaves_its_files(launch, capfd):
    run = launch("Path('runs').mkdir(exist_ok=True)\nprint(sorted(str(path) for path in Path().glob('*')))\n")
    assert run("--keep")[0] == 0 and run.cloud.left["node"] == "READY"
    commit(Path(), "other.py", SCRIPT)
    Path("script.py").rename("renamed.py")
    commit(Path(), "renamed.py", Path("renamed.py").read_text())
    subprocess.run(["git", "rm", "-q", "--cached", "script.py"], check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "less"], check=True)
    code, out, errors = run("--keep", program=("renamed.py", str(run.folder), "gs://x"))
    assert code == 0 and "['other.py', 'renamed.py', 'runs']" in out, errors
    assert run.cloud.count("create") == 1 and "is kept and costs money" in errors
    assert verb("stop") == 0 and run.cloud.left == {}


def test_a_node_of_somebody_else_is_left_alone(launch):
    run = launch()
    run.cloud.change(node="READY")
    code, _, errors = run()
    assert code == 2 and "knows nothing of it" in errors and run.cloud.left == {"node": "READY"}


def test_what_cannot_be_deleted_is_said(launch, monkeypatch):
    run = launch("sys.exit(7)\n")
    source = run.cloud.folder / "gcloud.py"
    source.write_text(source.read_text().replace("def delete(kind", "def _delete(kind").replace(
        "def scp(", "def delete(*_):\n    return fail('PERMISSION_DENIED')\n\n\ndef scp("
    ))  # fmt: skip
    code, _, errors = run()
    assert code == 1 and "PERMISSION_DENIED" in errors and "jaxnets launch stop vit" in errors
    assert Path("launches/vit.json").exists()


def test_every_chip_has_its_software(launch):
    for chip, size in (("v4", 8), ("v5litepod", 4), ("v5p", 8), ("v6e", 8)):
        words = gcloud.create(gcloud.Node("a", "us-west4-a", f"{chip}-{size}"))
        assert f"--version={gcloud.CHIPS[chip].runtime}" in words


@pytest.mark.slow
def test_a_run_that_is_preempted_ends_bit_for_bit_as_one_that_is_not(launch, tmp_path):
    run = launch(preempt=["../run/checkpoints/0*/manifest.json"])  # once its first checkpoint is there
    commit(Path(), "config.py", CONFIG)
    program = ("train", "config.py", "--run-dir", str(tmp_path / "run"))
    code, out, errors = run("--spot", "--allow-local-runs", program=program)
    assert code == 0 and run.cloud.count("create") == 2 and re.search(r"continues \S+ at step [1-9]", out), errors
    assert command("train", "config.py", "--run-dir", tmp_path / "whole")[0] == 0
    assert_same_runs(tmp_path / "run", tmp_path / "whole")
