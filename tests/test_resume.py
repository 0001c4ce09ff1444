"""A run killed at any moment continues as if it had not been: real processes, real signals, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from small import CONFIG, assert_same_runs, command


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    (folder / "config.py").write_text(CONFIG)
    code, _, errors = command("train", folder / "config.py", "--run-dir", folder / "first")  # leaves its programs
    assert code == 0, errors
    began = time.monotonic()
    code, _, errors = command("train", folder / "config.py", "--run-dir", folder / "whole")
    assert code == 0, errors
    return folder, time.monotonic() - began


def start(folder, run_dir):
    words = [sys.executable, "-m", "jaxnets.cli", "train", folder / "config.py", "--run-dir", run_dir]
    return subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def logged(run_dir):
    """Whether a first line stands in the log: the loop is running (the empty file is there a little earlier)."""
    log = run_dir / "metrics.jsonl"
    return log.exists() and log.stat().st_size > 0


def wait_for_log(process, run_dir):
    """Until this process has opened the log: it cuts what an earlier one wrote after its last checkpoint."""
    log, began = run_dir / "metrics.jsonl", time.time()
    while process.poll() is None and not (log.exists() and log.stat().st_mtime > began):
        time.sleep(0.0005)


def finish(folder, run_dir):
    code, out, errors = command("train", folder / "config.py", "--run-dir", run_dir)
    assert code == 0, out + errors
    return out


def reached(run_dir):
    """How far a killed run had come, for the words of a failure."""
    log = run_dir / "metrics.jsonl"
    lines = log.read_text().count("\n") if log.exists() else 0
    steps = sorted(path.name for path in (run_dir / "checkpoints").glob("0*")) if run_dir.exists() else []
    return f"{lines} log lines, checkpoints {steps}, result {(run_dir / 'result.json').exists()}"


def killed_runs(reference, tmp_path, count, seed):
    """Kills `count` times at random moments, over a few runs; each run must end as the one that was never killed."""
    folder, seconds = reference
    training = json.loads((folder / "whole" / "result.json").read_text())["seconds"]
    draw = random.Random(seed)
    left, number = count, 0
    while left:
        run_dir = tmp_path / f"run{number}"
        for _ in range(min(left, draw.choice([1, 1, 2, 3]))):
            with start(folder, run_dir) as process:
                if draw.random() < 0.5:  # anywhere: imports, compilation, training, the final test
                    time.sleep(draw.uniform(0.2, 1.0) * seconds)
                else:  # within the second or so in which steps, saves and evaluations follow each other
                    wait_for_log(process, run_dir)
                    time.sleep(draw.uniform(0.0, 1.2) * training)
                process.kill()
            left -= process.returncode == -signal.SIGKILL  # one that had ended was not killed
        moment = reached(run_dir)
        finish(folder, run_dir)
        try:
            assert_same_runs(run_dir, folder / "whole")
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, run {number}, killed at: {moment}") from error
        number += 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_100_kills_at_random_moments_change_no_bit(reference, tmp_path):
    killed_runs(reference, tmp_path, 100, seed=0)


def test_a_kill_after_each_kind_of_file_was_written(reference, tmp_path):
    folder, _ = reference
    for number, pattern in enumerate(("checkpoints/.0*", "metrics.jsonl", "weights.safetensors")):
        run_dir = tmp_path / f"run{number}"
        with start(folder, run_dir) as process:
            while process.poll() is None and not list(run_dir.glob(pattern)):
                time.sleep(0.0005)
            process.kill()
        finish(folder, run_dir)
        assert_same_runs(run_dir, folder / "whole")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_ends_within_5_seconds(number, code, reference, tmp_path):
    folder, seconds = reference
    draw = random.Random()
    moments = [draw.uniform(0.05, 0.5) * seconds, "training"]
    for attempt, moment in enumerate(moments):
        run_dir = tmp_path / f"run{attempt}"
        with start(folder, run_dir) as process:
            if moment == "training":
                while process.poll() is None and not logged(run_dir):
                    time.sleep(0.001)
            else:
                time.sleep(moment)
            began = time.monotonic()
            process.send_signal(number)
            out, _ = process.communicate(timeout=60)
        # Before our own handlers stand (Python itself is still importing) the system's default ends the process.
        assert process.returncode in (code, -number), out
        assert time.monotonic() - began < 5
        if moment == "training":
            assert process.returncode == code and "the same command continues" in out
        finish(folder, run_dir)
        assert_same_runs(run_dir, folder / "whole")


def test_a_damaged_newest_step_is_named_and_the_run_still_ends_the_same(reference, tmp_path):
    folder, _ = reference
    run_dir = tmp_path / "run"
    with start(folder, run_dir) as process:
        while process.poll() is None and len(list(run_dir.glob("checkpoints/0*/manifest.json"))) < 2:
            time.sleep(0.001)
        process.kill()
    newest = max(run_dir.glob("checkpoints/0*/manifest.json"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    out = finish(folder, run_dir)
    assert f"checkpoint {int(newest.parent.name)} is damaged" in out
    assert_same_runs(run_dir, folder / "whole")


def test_if_every_step_is_damaged_it_stops_and_never_starts_anew(reference, tmp_path):
    folder, _ = reference
    run_dir = tmp_path / "run"
    with start(folder, run_dir) as process:
        while process.poll() is None and not list(run_dir.glob("checkpoints/0*/manifest.json")):
            time.sleep(0.001)
        process.kill()
    for path in run_dir.glob("checkpoints/0*/manifest.json"):
        path.unlink()
    log = (run_dir / "metrics.jsonl").read_bytes()
    code, _, errors = command("train", folder / "config.py", "--run-dir", run_dir)
    assert code == 4 and "none of the checkpoints" in errors and "Traceback" not in errors
    assert (run_dir / "metrics.jsonl").read_bytes() == log


def test_a_second_process_on_the_same_folder_is_refused(reference, tmp_path):
    folder, _ = reference
    with start(folder, tmp_path / "run") as process:
        while process.poll() is None and not (tmp_path / "run" / "config.json").exists():
            time.sleep(0.01)
        code, _, errors = command("train", folder / "config.py", "--run-dir", tmp_path / "run")
        process.kill()
    assert code == 2 and "in use by another process" in errors


def test_a_disk_that_fills_ends_the_run_with_an_error_and_it_continues_later(reference, tmp_path):
    folder, _ = reference
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        run_dir = disk / "run"
        with start(folder, run_dir) as process:
            while process.poll() is None and not list(run_dir.glob("checkpoints/0*/manifest.json")):
                time.sleep(0.001)
            time.sleep(random.uniform(0.0, 1.0))  # between saves, or while an array is being written
            with open(disk / "filler", "wb", buffering=0) as filler:
                try:
                    while True:
                        filler.write(b"x" * 4096)
                except OSError:
                    pass
            out, _ = process.communicate(timeout=120)
        assert process.returncode in (1, 4) and "Traceback" not in out, out
        assert "space" in out
        os.unlink(disk / "filler")
        finish(folder, run_dir)
        assert_same_runs(run_dir, folder / "whole")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_result_json_holds_what_scripts_rely_on(reference):
    folder, _ = reference
    result = json.loads((folder / "whole" / "result.json").read_text())
    assert result["steps"] == 1000 and 0.9 < result["test"]["accuracy"] <= 1 and result["seconds"] > 0
