"""What a page reads of a run folder: a run that is still under way has no result yet."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnets import metrics
from jaxnets.data import Schema
from jaxnets.errors import CheckpointError, UsageError
from jaxnets.files import read_json
from jaxnets.folders import refuse_series


class Folder(NamedTuple):
    """A run folder, read.

    settings, environment, result: config.json, env.json, result.json; the last two are {} where they are not there
    records: of metrics.jsonl; table: of evaluation.npz, the rows of the test split
    """

    path: Path
    settings: dict[str, Any]
    schema: Schema
    environment: dict[str, Any]
    result: dict[str, Any]
    records: list[metrics.Record]
    table: dict[str, np.ndarray]

    def steps(self) -> int:
        """Optimizer steps: of the whole run, or up to the last line of its log."""
        return self.result.get("steps", self.records[-1]["step"] if self.records else 0)

    def seconds(self) -> float:
        """Wall time of the training loop, over all starts: of the whole run, or up to its last line of training."""
        logged = [record["time"]["seconds"] for record in self.records if "train" in record]
        return float(self.result.get("seconds", logged[-1] if logged else 0.0))


def read(run_dir: Path) -> Folder:
    """Raises UsageError if the folder is not a run, CheckpointError naming a file of it that is damaged."""
    run_dir = Path(run_dir)
    refuse_series(run_dir)
    for name in ("config.json", "schema.json"):
        if not (run_dir / name).is_file():
            raise UsageError(f"{run_dir} is not a run folder: it has no {name}; give the folder that train named")
    return Folder(
        path=run_dir,
        settings=_object(run_dir / "config.json", "data", "model", "task"),
        schema=Schema.from_json(read_json(run_dir / "schema.json")),
        environment=_object(run_dir / "env.json"),
        result=_object(run_dir / "result.json", "test", "test_examples", "steps", "seconds"),
        records=_records(run_dir / "metrics.jsonl"),
        table=_table(run_dir / "evaluation.npz"),
    )


def _object(path: Path, *needed: str) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found = read_json(path)
    lacking = [name for name in needed if not isinstance(found, dict) or name not in found]
    if lacking or not isinstance(found, dict):
        raise _damaged(path, f"it holds no {', '.join(lacking)}" if lacking else "it holds no object")
    return found


def _records(path: Path) -> list[metrics.Record]:
    try:
        records = metrics.read(path)
    except ValueError as error:
        raise _damaged(path, error) from error
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict) or not {"step", "time"} <= record.keys():
            raise _damaged(path, f"line {number} is no record")
    return records


def _table(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, why: object) -> CheckpointError:
    return CheckpointError(f"{path} is damaged ({why}); restore it from a copy")
