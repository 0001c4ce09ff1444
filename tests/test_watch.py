"""`jaxnets watch`: a log that grows, is cut and grows again, and a run that ends while it is followed."""

import contextlib
import json
import os
import pty
import subprocess
import sys

import pytest
from small import experiment

from jaxnets import cli, watch
from jaxnets.files import write_atomically
from jaxnets.run import run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(experiment(), tmp_path_factory.mktemp("watch") / "wine").run_dir


def main(capsys, *words):
    code = cli.main([str(word) for word in words])
    out, errors = capsys.readouterr()
    return code, out, errors


def record(step, split="train", **figures):
    clock = {"seconds": step / 10}
    return {"step": step, split: figures, "time": clock | ({"examples_per_second": 100.0} if split == "train" else {})}


def written(path, *records):
    with open(path, "a") as file:
        file.writelines(json.dumps(one) + "\n" for one in records)


def test_a_tail_gives_each_record_once_and_reads_again_what_was_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tail = watch.Tail(path)
    assert tail.new() == []
    first = [record(step, loss=1.0 / step) for step in (1, 2, 3)]
    written(path, *first)
    assert tail.new() == first and tail.new() == []
    with open(path, "a") as file:
        file.write('{"step": 4')  # a line that is still being written
    assert tail.new() == []
    length = sum(len(json.dumps(one)) + 1 for one in first[:2])
    with open(path, "r+") as file:
        file.truncate(length)  # back to a checkpoint
    other = [record(step, loss=7.0) for step in (3, 4, 5)]
    written(path, *other)
    assert tail.new() == other and tail.records == first[:2] + other


def test_a_frame_says_where_the_run_stands():
    records = [record(10, loss=2.0, accuracy=0.5), record(10, "valid", loss=2.5), record(20, loss=1.0, accuracy=0.75)]
    text = watch.frame(watch.Plan("wine", 40, 16), records)
    head, _, loss, accuracy = text.splitlines()
    assert head == "wine  step 20/40 (50%)  100 examples/s  3 s of training left"  # 20 steps × 16 examples / 100
    assert loss.split() == ["loss", "1", "2.5", "█▁"] and accuracy.split() == ["accuracy", "0.75", "▁█"]
    assert watch.frame(watch.Plan("wine", 40, 16), []) == "wine  step 0/40"


def test_a_finished_run_is_shown_and_ends(finished, capsys):
    code, out, _ = main(capsys, "watch", finished)
    figures = json.loads((finished / "result.json").read_text())["test"]
    assert code == 0 and "step 40/40 (100%)" in out and f"accuracy {figures['accuracy']:.4f}" in out


def underway(finished, folder):
    """The run as it was after its first line, and what was written later: lines of its log, then its result."""
    for name in ("config.json", "schema.json"):
        (folder / name).write_bytes((finished / name).read_bytes())
    lines = (finished / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_bytes(lines[0])
    return lines[1:], (finished / "result.json").read_bytes()


def append(folder, content):
    with open(folder / "metrics.jsonl", "ab") as file:
        file.write(content)


def test_a_run_is_followed_until_its_result_is_there(finished, tmp_path, capsys, monkeypatch):
    lines, result = underway(finished, tmp_path)
    parts = [part for line in lines for part in (line[:9], line[9:])]  # a line may be seen half-written

    def train(seconds):
        if parts:
            append(tmp_path, parts.pop(0))
        else:
            write_atomically(tmp_path / "result.json", result)

    monkeypatch.setattr("jaxnets.watch.time.sleep", train)
    code, out, _ = main(capsys, "watch", tmp_path)
    steps = [json.loads(line)["step"] for line in lines]
    assert code == 0 and [int(s.split("/")[0][5:]) for s in out.splitlines() if s.startswith("step ")] == steps
    assert out.splitlines()[-1].startswith("finished  test (36 examples): ")


def test_once_ends_though_the_run_does_not(finished, tmp_path, capsys):
    for name in ("config.json", "schema.json"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    code, out, _ = main(capsys, "watch", tmp_path, "--once")
    assert code == 0 and out.strip().endswith("step 0/40")
    code, _, errors = main(capsys, "watch", tmp_path / "nowhere")
    assert code == 2 and "is not a run folder" in errors
    (tmp_path / "config.json").write_text("{")
    code, _, errors = main(capsys, "watch", tmp_path)
    assert code == 4 and "config.json is missing or damaged" in errors


def test_watching_touches_no_device(finished):
    code = (
        "import sys\nfrom jaxnets import cli\n"
        f"assert cli.main(['watch', {str(finished)!r}]) == 0\n"
        "from jax._src import xla_bridge\nassert not xla_bridge._backends"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_terminal_is_drawn_on_and_left_with_the_last_state(finished, tmp_path):
    lines, result = underway(finished, tmp_path)
    ours, theirs = pty.openpty()
    watching = subprocess.Popen([sys.executable, "-m", "jaxnets.cli", "watch", tmp_path], stdout=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed when it ends
        while part := os.read(ours, 4096):
            shown += part
            if lines and b"step 10/40 (25%)" in shown:
                append(tmp_path, b"".join(lines))
                lines = []
            if not lines and b"step 40/40 (100%)" in shown and not (tmp_path / "result.json").exists():
                write_atomically(tmp_path / "result.json", result)  # as a run does: whole or not at all
    os.close(ours)
    assert watching.wait(60) == 0
    assert shown.decode().splitlines()[-1].startswith("finished  test") and b"\x1b[" in shown and b"loss" in shown
