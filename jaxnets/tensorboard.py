"""A run's records as TensorBoard event files, in its folder `tb/`.

The files follow from `metrics.jsonl`, which is what counts: at each start, and after each return to a checkpoint, they
are written anew from it. So no step stands there twice, and a run may be continued with them or without. Records are
written by the caller's thread: a full disk ends the run with a sentence, as it does for the log. The run's config
stands among the texts.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jaxnets.errors import MissingExtra
from jaxnets.metrics import Opener, Record, Sink, scalars

_FLUSH_SECONDS = 5.0  # between what a reader sees; a flush waits for the disk


def tensorboard(folder: Path) -> Opener:
    """An opener of a sink to an event file of `folder`; older files of the folder are removed.

    Raises MissingExtra, before anything is opened, if the files cannot be written here.
    """
    try:
        importlib.import_module("tensorboardX")
    except ImportError as error:
        raise MissingExtra("tensorboardX", extra="tensorboard", purpose="to write TensorBoard files") from error
    return partial(_open, folder)


def _open(folder: Path, records: list[Record]) -> Sink:
    files, events, summaries = (_module(name) for name in ("event_file_writer", "proto.event_pb2", "proto.summary_pb2"))
    folder.mkdir(exist_ok=True)
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    writer = files.EventsWriter(str(folder / "events"))
    clock = _Clock(records)
    flushed = time.monotonic()

    def put(record: Record) -> None:
        values = [summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(record)]
        summary = summaries.Summary(value=values)
        writer.write_event(events.Event(wall_time=clock(record), step=record["step"], summary=summary))

    def write(record: Record) -> None:
        nonlocal flushed
        put(record)
        if time.monotonic() - flushed >= _FLUSH_SECONDS:
            writer.flush()
            flushed = time.monotonic()

    # A TensorBoard that is open forgets what it read from the files before.
    start = events.SessionLog(status=events.SessionLog.START)
    writer.write_event(events.Event(wall_time=time.time(), step=0, session_log=start))
    stored = folder.parent / "config.json"
    if stored.is_file():
        writer.write_event(events.Event(wall_time=clock.zero, step=0, summary=_text("config", stored.read_text())))
    for record in records:
        put(record)
    writer.flush()
    return Sink(write, writer.flush, writer.close)


def _module(name: str) -> Any:
    """A part of tensorboardX; its protocol buffers are made while it is imported, unseen by type checkers."""
    return importlib.import_module(f"tensorboardX.{name}")


def _text(tag: str, content: str) -> Any:
    """A summary of the text plugin: Markdown, in which four spaces keep a line as it is."""
    summaries, tensors = _module("proto.summary_pb2"), _module("proto.tensor_pb2")
    plugin = summaries.SummaryMetadata.PluginData(plugin_name="text")
    code = "".join(f"    {line}\n" for line in content.splitlines())
    tensor = tensors.TensorProto(dtype="DT_STRING", string_val=[code.encode()])
    metadata = summaries.SummaryMetadata(plugin_data=plugin)
    return summaries.Summary(value=[summaries.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)])


class _Clock:
    """The wall time of a record, as if its run had never paused: TensorBoard's relative time is then training time."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._seconds = max((_seconds(record) for record in records), default=0.0)
        self.zero = time.time() - self._seconds
        self._seconds = 0.0

    def __call__(self, record: Record) -> float:
        self._seconds = max(self._seconds, _seconds(record))
        return self.zero + self._seconds


def _seconds(record: Record) -> float:
    time_of: dict[str, Any] = record["time"]
    return time_of["seconds"] if "train" in record else 0.0
