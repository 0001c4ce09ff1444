"""The log of a run, and the sinks that follow it. Only process 0 has any."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxnets import distributed, metrics
from jaxnets.metrics import JsonLines, Opener, Record, Silent

_NAME = "metrics.jsonl"


def open_sinks(run_dir: Path, openers: Iterable[Opener], stack: contextlib.ExitStack) -> list[metrics.Sink]:
    """The sinks beside the log, each with what stands in it already; `stack` closes them."""
    sinks = []
    if not distributed.first():
        return sinks
    for opener in openers:
        sinks.append(opener(metrics.read(run_dir / _NAME)))
        stack.callback(sinks[-1].close)
    return sinks


@contextlib.contextmanager
def opened(run_dir: Path, openers: Iterable[Opener], *, offset: int) -> Iterator[Log]:
    """The log from `offset` bytes on, with its sinks, until all of them are closed."""
    file = JsonLines(run_dir / _NAME, offset=offset) if distributed.first() else Silent()
    with contextlib.closing(file), contextlib.ExitStack() as stack:
        yield Log(file, run_dir, tuple(openers), stack)


class Log:
    """`metrics.jsonl`, and its sinks on `stack`."""

    def __init__(
        self, file: JsonLines | Silent, run_dir: Path, openers: tuple[Opener, ...], stack: contextlib.ExitStack
    ) -> None:
        self._file, self._run_dir, self._openers, self._stack = file, run_dir, openers, stack
        self._sinks = open_sinks(run_dir, openers, stack)

    def write(self, record: Record) -> int:
        """The offset behind the record."""
        self._file.write(record)
        for sink in self._sinks:
            sink.write(record)
        return self._file.offset()

    def cut(self, offset: int) -> None:
        """The sinks follow from the log: where it is cut they are opened anew."""
        self._file.cut(offset)
        self._stack.close()
        self._sinks = open_sinks(self._run_dir, self._openers, self._stack)

    def flush(self) -> None:
        """What is written is safe on the disk."""
        self._file.flush()
