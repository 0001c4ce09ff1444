"""The sinks of docs/trackers.md: each block of the page is run, stopped in the middle and run again, and what the
tracker then holds is read back and compared with the log.

Those of other libraries need `pip install "jaxnets[test,trackers]"`, and a process each: `pytest -m slow`.
"""

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxnets import metrics

PAGE = (Path(__file__).parents[1] / "docs" / "trackers.md").read_text()
SETUP, CSV, WANDB, MLFLOW, TRACKIO = re.findall(r"```python\n(.*?)```", PAGE, re.S)

# Programs that print [[step, name, value], …] of what a tracker holds.
READ_MLFLOW = """
import json, mlflow
client = mlflow.MlflowClient("sqlite:///mlflow.db")
place = client.get_experiment_by_name("jaxnets").experiment_id
(run,) = client.search_runs([place])
assert run.info.status == "FINISHED" and run.info.run_name == "wine"
points = [point for key in run.data.metrics for point in client.get_metric_history(run.info.run_id, key)]
print(json.dumps([[point.step, point.key, point.value] for point in points]))
"""
READ_TRACKIO = """
import json, sqlite3
base = sqlite3.connect("trackio/jaxnets.db")
assert base.execute("select count(distinct run_id) from metrics").fetchone() == (1,)
rows = base.execute("select step, metrics from metrics where run_name = 'wine'").fetchall()
print(json.dumps([[step, name, value] for step, row in rows for name, value in json.loads(row).items()]))
"""
# A LevelDB log after a header of 7 bytes: blocks of 2^15 bytes, in which a record may be cut in pieces.
READ_WANDB = """
import json, pathlib, struct
from wandb.proto.wandb_internal_pb2 import Record
path = max(pathlib.Path("wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
content, place, body, rows = path.read_bytes(), 7, b"", []
while place + 7 <= len(content):
    if 2**15 - place % 2**15 < 7:
        place += 2**15 - place % 2**15
        continue
    _, length, kind = struct.unpack_from("<IHB", content, place)
    body, place = body + content[place + 7 : place + 7 + length], place + 7 + length
    if kind in (1, 4):
        record, body = Record.FromString(body), b""
        if record.WhichOneof("record_type") == "history":
            items = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            rows += [[items["_step"], name, value] for name, value in items.items() if not name.startswith("_")]
print(json.dumps(rows))
"""


def expected(run_dir):
    rows = [
        (record["step"], *one) for record in metrics.read(run_dir / "metrics.jsonl") for one in metrics.scalars(record)
    ]
    assert {step for step, *_ in rows} == {50, 100} and (50, "loss/valid") in {(step, name) for step, name, _ in rows}
    return sorted(rows)


def forget_the_end(run_dir):
    """As if it had been killed after its first checkpoint, once it had logged the rest."""
    (run_dir / "result.json").unlink()
    shutil.rmtree(max((run_dir / "checkpoints").glob("0*")))


def test_a_file_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def held():
        exec(compile(SETUP + CSV, "docs/trackers.md", "exec"), {})
        with open("wine.csv") as file:
            return sorted((int(row["step"]), row["name"], float(row["value"])) for row in csv.DictReader(file))

    assert held() == expected(tmp_path / "runs" / "csv")
    forget_the_end(tmp_path / "runs" / "csv")
    Path("wine.csv").unlink()
    assert held() == expected(tmp_path / "runs" / "csv")
    Path("wine.csv").unlink()
    assert held() == expected(tmp_path / "runs" / "csv")  # that of a finished run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "block", "read"),
    [("wandb", WANDB, READ_WANDB), ("mlflow", MLFLOW, READ_MLFLOW), ("trackio", TRACKIO, READ_TRACKIO)],
    ids=["wandb", "mlflow", "trackio"],
)
def test_a_tracker_holds_what_the_log_holds(library, block, read, tmp_path):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false", "HF_HUB_OFFLINE": "1"}
    places = {"TRACKIO_DIR": str(tmp_path / "trackio"), "HOME": str(tmp_path)}

    def program(code):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, **quiet, **places},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def held():
        program(SETUP + block)
        return sorted((step, name, value) for step, name, value in json.loads(program(read).splitlines()[-1]))

    assert held() == expected(tmp_path / "runs" / library)
    forget_the_end(tmp_path / "runs" / library)
    assert held() == expected(tmp_path / "runs" / library)
