"""Optuna's journal in a file that survives its writers: the same lines, read by Optuna's own classes as well.

What differs from Optuna's backend:
- a writer that was killed leaves a part of a line, which the next writer cuts off, and a lock, which the others break
  at once if its owner was of this machine, and else after `GRACE` seconds in which it did not change;
- many operations are one write (`batch`): their lines are kept until the end, while the lock is held and what is read
  includes them. A process killed before the end has written nothing, and its memory of it is gone as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from jaxnets.errors import CheckpointError
from jaxnets.sweep.workers import is_dead, this_process

GRACE = 30.0  # seconds


class Journal(BaseJournalBackend):
    """The lines of one file. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock(Path(f"{path}.lock"))
        self._read = (0, 0)  # lines, bytes
        self._kept: list[str] | None = None  # the lines of a batch that are not written yet
        self._kept_from: int | None = None  # the number of the first of them
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666))

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The operations from the given number on; a part of a line at the end is none yet."""
        if self._kept is None:
            yield from self._read_file(log_number_from)
            return
        if self._kept_from is None:  # nobody else writes now: once is enough
            number = log_number_from
            for log in self._read_file(log_number_from):
                number += 1
                yield log
            self._kept_from = number
        for line in self._kept[max(0, log_number_from - self._kept_from) :]:
            yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Writes the operations, or keeps them until the batch ends. Raises CheckpointError if the disk is full."""
        lines = [json.dumps(log, separators=(",", ":")) for log in logs]
        if self._kept is not None:
            self._kept += lines
            return
        with self._lock:
            self._write(lines)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """All operations within are written as one at the end, and no other process writes meanwhile."""
        with self._lock:
            self._kept, self._kept_from = [], None
            try:
                yield
            finally:
                lines, self._kept = self._kept, None
                if lines:
                    self._write(lines)

    def _read_file(self, start: int) -> Iterator[dict[str, Any]]:
        number, offset = self._read if self._read[0] <= start else (0, 0)
        with open(self._path, "rb") as file:
            file.seek(offset)
            whole = file.read().split(b"\n")[:-1]
        for line in whole:
            number, offset = number + 1, offset + len(line) + 1
            self._read = (number, offset)
            if number > start:
                yield self._operation(line, number)

    def _operation(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            found = json.loads(line)
            if not (isinstance(found, dict) and isinstance(found.get("op_code"), int)):
                raise ValueError("it is no operation of a study")
            return found
        except ValueError as error:
            raise CheckpointError(
                f"line {number} of {self._path} is damaged ({error}); restore the file from a copy, or cut it off "
                "before that line: trials behind it are lost"
            ) from error

    def _write(self, lines: list[str]) -> None:
        self._lock.confirm()
        content = "".join(line + "\n" for line in lines).encode()
        file = os.open(self._path, os.O_RDWR | os.O_APPEND)
        try:
            end = _cut_torn_line(file)
            try:
                while content:
                    content = content[os.write(file, content) :]
                os.fsync(file)
            except OSError as error:
                os.ftruncate(file, end)
                raise CheckpointError(
                    f"{self._path} cannot be written ({error.strerror}); make room and give the same command again: "
                    "what it holds is kept"
                ) from error
        finally:
            os.close(file)


class Lock:
    """A file that is there while somebody writes, with the name of its owner inside.

    A new file made exclusively is a lock on network file systems as well. Optuna's own locks and this heed one another.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = b""
        self._token = 0

    def __enter__(self) -> None:
        self._token += 1
        self._content = json.dumps({**this_process(), "token": f"{id(self)}-{self._token}"}).encode()
        seen, since, pause = None, time.monotonic(), 0.0005
        while not self._take():
            now = self._holder()
            if now != seen:
                seen, since = now, time.monotonic()
            if now is not None and (_owner_is_dead(now[1]) or time.monotonic() - since > GRACE):
                self._break(now)
                continue
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

    def __exit__(self, *_: object) -> None:
        if self._is_mine():
            self._path.unlink(missing_ok=True)

    def confirm(self) -> None:
        """Raises CheckpointError if the lock was broken by others, as after this process was stopped for long."""
        if not self._is_mine():
            raise CheckpointError(
                f"{self._path} was taken over by another process while this one stood still for {GRACE:.0f} s; "
                "give the same command again: what others wrote is kept"
            )

    def _take(self) -> bool:
        try:
            file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        try:
            os.write(file, self._content)
        finally:
            os.close(file)
        return True

    def _is_mine(self) -> bool:
        holder = self._holder()
        return holder is not None and holder[1] == self._content

    def _holder(self) -> tuple[tuple[int, int], bytes] | None:
        """(which file, content) of the lock; of Optuna's own the content is that of the journal. None: it is free."""
        try:
            status = os.lstat(self._path)
            with open(self._path, "rb") as file:
                return (status.st_ino, status.st_mtime_ns), file.read(4096)
        except OSError:
            return None

    def _break(self, seen: tuple[tuple[int, int], bytes]) -> None:
        """Removes the lock if it is still the one that was seen; of this machine's processes one at a time."""
        with contextlib.suppress(OSError), open(self._path.with_suffix(""), "rb") as journal:
            with contextlib.suppress(OSError):  # not every file system has it
                fcntl.flock(journal, fcntl.LOCK_EX)
            if self._holder() == seen:
                self._path.unlink(missing_ok=True)


def _owner_is_dead(content: bytes) -> bool:
    with contextlib.suppress(ValueError):
        owner = json.loads(content)
        return isinstance(owner, dict) and isinstance(owner.get("pid"), int) and is_dead(owner)
    return False


def _cut_torn_line(file: int, step: int = 4096) -> int:
    """The length of the file, after a last line without an end was cut off."""
    end = length = os.lseek(file, 0, os.SEEK_END)
    while end:
        start = max(0, end - step)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < length:
        os.ftruncate(file, end)
    return end
