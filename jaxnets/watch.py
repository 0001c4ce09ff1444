"""A run seen from another terminal: its log is followed until its result is there. No device is touched."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets import evaluate, remote
from jaxnets.build import total_steps
from jaxnets.columns import columns, sparkline
from jaxnets.metrics import Record
from jaxnets.progress import short

_FILES = ("config.json", "schema.json", "series.json", "metrics.jsonl", "result.json")
_LOOK_SECONDS = 1.0
_QUIET_SECONDS = 60.0  # without a line, after which a plain watch says so


class Tail:
    """The records of a `metrics.jsonl` that grows; where it was cut, as a continued run does, they are read again."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._last = path, 0, b""
        self.records: list[Record] = []

    def new(self) -> list[Record]:
        """Reads on; returns what was not there before."""
        before = self.records
        if not self._is_as_it_was():
            self._offset, self._last, self.records = 0, b"", []
        lines = self._lines()
        self.records = self.records + [json.loads(line) for line in lines]
        same = 0
        while same < min(len(before), len(self.records)) and before[same] == self.records[same]:
            same += 1
        return self.records[same:]

    def age(self) -> float:
        """Seconds since the file was last written."""
        return time.time() - self._path.stat().st_mtime

    def _is_as_it_was(self) -> bool:
        """Whether the last line that was read still stands where it stood."""
        if not self._last or not self._path.exists():
            return not self._last
        with open(self._path, "rb") as file:
            file.seek(self._offset - len(self._last))
            return file.read(len(self._last)) == self._last

    def _lines(self) -> list[bytes]:
        if not self._path.exists():
            return []
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            lines = [line for line in file if line.endswith(b"\n")]
        self._offset += sum(map(len, lines))
        self._last = lines[-1] if lines else self._last
        return lines


class Plan(NamedTuple):
    """What a run is going to do."""

    name: str
    total: int  # steps
    examples: int  # a step


def watch(run_dir: Path | str, *, once: bool) -> None:
    """Shows the state of a run until it ends, or `once`. Raises UsageError if the folder is no run."""
    with remote.following(run_dir, wanted=_FILES.__contains__) as (folder, refresh):
        _watch(folder, refresh, once=once)


def _watch(run_dir: Path, refresh: Callable[[], None], *, once: bool) -> None:
    settings, schema = evaluate.read_run(run_dir)
    experiment = evaluate.experiment_of(settings)
    plan = Plan(run_dir.resolve().name, total_steps(experiment, schema), experiment.data.batch_size)
    tail, result = Tail(run_dir / "metrics.jsonl"), run_dir / "result.json"
    tail.new()
    if not once and not result.exists():
        follow = _follow_live if sys.stdout.isatty() else _follow_plain
        follow(plan, tail, result, refresh)
    print(frame(plan, tail.records))
    if result.exists():
        print(_end(json.loads(result.read_text())))


def _follow_live(plan: Plan, tail: Tail, result: Path, refresh: Callable[[], None]) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(transient=True) as live:
        while not result.exists():
            tail.new()
            live.update(Text(f"{frame(plan, tail.records)}\n{_age(tail)}"))
            time.sleep(_LOOK_SECONDS)
            refresh()
    tail.new()


def _follow_plain(plan: Plan, tail: Tail, result: Path, refresh: Callable[[], None]) -> None:
    print(frame(plan, tail.records), flush=True)
    seen = time.monotonic()
    while not result.exists():
        for record in tail.new():
            print(line(record, plan.total), flush=True)
            seen = time.monotonic()
        if time.monotonic() - seen > _QUIET_SECONDS:
            print(_age(tail), flush=True)
            seen = time.monotonic()
        time.sleep(_LOOK_SECONDS)
        refresh()
    for record in tail.new():
        print(line(record, plan.total), flush=True)


def _age(tail: Tail) -> str:
    if not tail.records:
        return "no line yet: the run compiles, or was stopped"
    seconds = tail.age()
    more = "; if it was stopped, jaxnets train continues it" if seconds > _QUIET_SECONDS else ""
    return f"last line {seconds:.0f} s ago{more}"


def frame(plan: Plan, records: list[Record]) -> str:
    """The state of a run: where it stands, and each figure with its course."""
    if not records:
        return f"{plan.name}  step 0/{plan.total}"
    train = [record["train"] for record in records if "train" in record]
    valid = [record["valid"] for record in records if "valid" in record]
    step = records[-1]["step"]
    words = [plan.name, f"step {step}/{plan.total} ({step / plan.total:.0%})"]
    rates = [r["time"]["examples_per_second"] for r in records if "examples_per_second" in r["time"]]
    if rates:
        left = (plan.total - step) * plan.examples / rates[-1]
        words += [f"{rates[-1]:,.0f} examples/s", f"{left:.0f} s of training left"]
    names = dict.fromkeys(figure for part in (valid[-1:], train[-1:]) for found in part for figure in found)
    rows = [("", "train", "valid", "course"), *(_row(figure, train, valid) for figure in names)]
    return f"{'  '.join(words)}\n{columns(rows, right=(1, 2))}"


def _row(figure: str, train: list[dict[str, float]], valid: list[dict[str, float]]) -> tuple[str, ...]:
    courses = [[found[figure] for found in part if figure in found] for part in (train, valid)]
    last = [short(course[-1]) if course else "" for course in courses]
    return (figure.replace("_", " "), *last, sparkline(courses[0] or courses[1]))


def line(record: Record, total: int) -> str:
    """A record in one line."""
    split = "train" if "train" in record else "valid"
    figures = "  ".join(f"{name} {short(value)}" for name, value in record[split].items())
    rate = record["time"].get("examples_per_second")
    more = f"  {rate:,.0f} examples/s" if rate else ""
    return f"step {record['step']}/{total}  {split}  {figures}{more}"


def _end(result: dict[str, Any]) -> str:
    figures = "  ".join(f"{name} {value:.4f}" for name, value in result["test"].items())
    return f"finished  test ({result['test_examples']} examples): {figures}"
