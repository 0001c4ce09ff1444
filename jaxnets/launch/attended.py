"""A launch on TPU VMs with somebody before it: Ctrl-C asks whether to delete what costs money."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxnets.errors import JaxnetsError
from jaxnets.launch import record, tpu_vm
from jaxnets.launch.lease import say
from jaxnets.launch.tpu_vm import Job


class _Told(KeyboardInterrupt):
    """A signal; nothing but this file takes it for an error."""

    def __init__(self, number: int, frame: Any) -> None:
        super().__init__(number)
        self.number = number


def launch(job: Job, folder: Path, root: Path) -> int:
    """Runs a job and deletes its node at the end, whatever the end; the exit code, 128 + signal if one came.

    folder: where launches are kept
    root:   in the repository of the code
    """
    id = tpu_vm.claim(job, folder)
    with _signals():
        try:
            code = _to_its_end(job, id, folder, root)
            _finish(job, code, folder)
            return code
        except _Told as told:
            return _leave(job, folder, told.number)


def _to_its_end(job: Job, id: str, folder: Path, root: Path) -> int:
    try:
        return tpu_vm.launch(job, id, root)
    except JaxnetsError as error:
        say(f"{error}")
        _finish(job, None, folder)
        raise


def _finish(job: Job, code: int | None, folder: Path) -> None:
    try:
        tpu_vm.finish(job, code, folder)
    except JaxnetsError as error:
        raise JaxnetsError(f"{job.node.name} could not be deleted: {error}\n{_advice(job, folder)}") from error


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """While this is open, SIGINT and SIGTERM raise _Told."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def tell(number: int, frame: Any) -> None:
        raise _Told(number, frame)

    numbers = (signal.SIGINT, signal.SIGTERM)
    old = [signal.signal(number, tell) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)


def _leave(job: Job, folder: Path, number: int) -> int:
    name = job.node.name
    try:
        if number == signal.SIGINT and _asked(f"\n{name} ({job.node.accelerator}) costs money. Delete it? [y/n] "):
            tpu_vm.stop(record.load(name, folder))
            return 128 + number
    except _Told:
        say("interrupted again")
    say(_advice(job, folder))
    return 128 + number


def _asked(question: str) -> bool:
    """Whether somebody who sits there says yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    while True:
        print(question, end="", file=sys.stderr, flush=True)
        said = sys.stdin.readline().strip().lower()
        if said in ("y", "yes", "n", "no", ""):
            return said.startswith("y")


def _advice(job: Job, folder: Path) -> str:
    where = "" if folder == record.FOLDER else f" --launch-dir {folder}"
    return (
        f"{job.node.name} may still be there and cost money; jaxnets launch stop {job.node.name}{where} deletes it, "
        f"jaxnets launch logs {job.node.name}{where} follows it, and the same command takes it over"
    )
