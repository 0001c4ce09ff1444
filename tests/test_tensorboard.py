"""TensorBoard files: read back record by record, against the log that they follow."""

import json
import shutil
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
from small import assert_same_runs, experiment
from test_nonfinite import marked, spoiled_experiment  # noqa: F401

from jaxnets import cli, metrics
from jaxnets.errors import MissingExtra
from jaxnets.run import run
from jaxnets.tensorboard import tensorboard

pytest.importorskip("tensorboardX")


def crc32c(data):
    """Castagnoli's polynomial bit by bit, then masked as TFRecord wants it."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder):
    """The events of the only file of a folder; every length and content is checked against its sum."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("*")
    content, place, found = path.read_bytes(), 0, []
    while place < len(content):
        header = content[place : place + 8]
        (length,), (sum_of_header,) = struct.unpack("<Q", header), struct.unpack_from("<I", content, place + 8)
        body = content[place + 12 : place + 12 + length]
        (sum_of_body,) = struct.unpack_from("<I", content, place + 12 + length)
        assert sum_of_header == crc32c(header) and sum_of_body == crc32c(body)
        found.append(Event.FromString(body))
        place += length + 16
    return found


def curves(folder):
    """{(step, tag): value}; a step that stands there twice is an error."""
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField("tensor"):
                continue
            assert (event.step, value.tag) not in found
            found[event.step, value.tag] = value.simple_value
    return found


def expected(run_dir):
    """What the log holds, in TensorBoard's float32."""
    found = {}
    for record in metrics.read(run_dir / "metrics.jsonl"):
        for split in ("train", "valid"):
            for name, value in record.get(split, {}).items():
                found[record["step"], f"{name}/{split}"] = float(np.float32(value))
        if "train" in record:
            for name in ("examples_per_second", "mfu"):
                found[record["step"], f"{name}/train"] = float(np.float32(record["time"][name]))
    return found


def test_the_files_hold_what_the_log_holds(tmp_path):
    run(experiment(), tmp_path / "run", sinks=[tensorboard(tmp_path / "run" / "tb")])
    found = curves(tmp_path / "run" / "tb")
    assert found == expected(tmp_path / "run")
    assert {step for step, _ in found} == {10, 20, 30, 40} and (20, "loss/valid") in found
    first, start, *rest = events(tmp_path / "run" / "tb")
    assert first.file_version == "brain.Event:2" and start.session_log.status == start.session_log.START
    times = [event.wall_time for event in rest]
    assert times == sorted(times)


def test_the_config_is_a_text(tmp_path):
    """Of the run's own config, each line kept as it is by the four spaces of Markdown's code."""
    run(experiment(), tmp_path / "run", sinks=[tensorboard(tmp_path / "run" / "tb")])
    (value,) = (v for event in events(tmp_path / "run" / "tb") for v in event.summary.value if v.HasField("tensor"))
    assert value.tag == "config" and value.metadata.plugin_data.plugin_name == "text"
    lines = value.tensor.string_val[0].decode().splitlines()
    assert all(line.startswith("    ") for line in lines)
    assert "\n".join(line[4:] for line in lines) + "\n" == (tmp_path / "run" / "config.json").read_text()


def test_they_change_nothing_of_the_run(tmp_path):
    run(experiment(), tmp_path / "plain")
    run(experiment(), tmp_path / "with", sinks=[tensorboard(tmp_path / "with" / "tb")])
    assert_same_runs(tmp_path / "with", tmp_path / "plain")
    names = [{path.name for path in (tmp_path / name).iterdir()} for name in ("plain", "with")]
    assert names[1] - names[0] == {"tb"} and not names[0] - names[1]


@pytest.mark.parametrize("before", [False, True])
def test_a_run_continued_with_them_holds_each_step_once(tmp_path, before):
    """From its checkpoint in the middle, begun with or without them: the lines after it are written again."""
    run(experiment(), tmp_path / "run", sinks=[tensorboard(tmp_path / "run" / "tb")] if before else [])
    (tmp_path / "run" / "result.json").unlink()
    shutil.rmtree(max((tmp_path / "run" / "checkpoints").glob("0*")))
    run(experiment(), tmp_path / "run", sinks=[tensorboard(tmp_path / "run" / "tb")])
    found = curves(tmp_path / "run" / "tb")
    assert found == expected(tmp_path / "run") and {step for step, _ in found} == {10, 20, 30, 40}


def test_after_a_return_to_a_checkpoint_each_step_is_there_once(tmp_path):
    records = [{"step": step, "train": {"loss": 1.0 * step}, "time": {"seconds": 1.0 * step}} for step in (1, 2, 3)]
    sink = tensorboard(tmp_path)([])
    for record in records:
        sink.write(record)
    sink.close()
    sink = tensorboard(tmp_path)(records[:1])
    sink.write(records[1] | {"train": {"loss": 9.0}})
    sink.flush()
    assert curves(tmp_path) == {(1, "loss/train"): 1.0, (2, "loss/train"): 9.0}
    sink.close()


def test_a_finished_run_may_have_them_afterwards(tmp_path):
    run(experiment(), tmp_path / "run")
    (tmp_path / "run" / "tb").mkdir()
    (tmp_path / "run" / "tb" / "events.out.tfevents.1.old").write_bytes(b"of an earlier start")
    run(experiment(), tmp_path / "run", sinks=[tensorboard(tmp_path / "run" / "tb")])
    assert curves(tmp_path / "run" / "tb") == expected(tmp_path / "run")


def test_without_the_package_the_extra_is_named_before_anything_is_done(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtra, match=r'pip install "jaxnets\[tensorboard\]"'):
        run(experiment(), tmp_path / "run", sinks=[tensorboard(tmp_path / "run" / "tb")])
    assert not (tmp_path / "run").exists()
    code = cli.main(["train", "configs/wine_mlp.py", "--run-dir", str(tmp_path / "run"), "--tensorboard"])
    assert code == 2 and "tensorboardX is needed to write TensorBoard files" in capsys.readouterr().err


def test_it_is_no_part_of_the_config(tmp_path):
    run(experiment(), tmp_path / "run", sinks=[tensorboard(tmp_path / "run" / "tb")])
    assert "tensorboard" not in json.dumps(json.loads((tmp_path / "run" / "config.json").read_text()))


def test_a_run_that_rolls_back_holds_each_step_once(marked, tmp_path):  # noqa: F811
    """Back to the start: the lines up to the bad step are cut, and written again."""
    one = spoiled_experiment(marked[2], "rollback", "bare")
    one = replace(one, loop=replace(one.loop, log_every=1, save_every=20, eval_every=20))
    run(one, tmp_path / "run", sinks=[tensorboard(tmp_path / "run" / "tb")])
    assert curves(tmp_path / "run" / "tb") == expected(tmp_path / "run")
