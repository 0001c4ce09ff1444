"""A run's folder holds one run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import Iterator
from pathlib import Path

from jaxnets import distributed
from jaxnets.errors import UsageError


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Makes the folder and keeps other runs out of it. Raises UsageError if one is in it, or if not all of the run's
    processes see it.
    """
    with contextlib.ExitStack() as stack:
        token = ""
        if distributed.first():
            run_dir.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(run_dir / ".lock", "a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"{run_dir} is in use by another process; wait for it or give another --run-dir"
                ) from error
            token = secrets.token_hex(8)
            file.truncate(0)
            file.write(token)
            file.flush()
        if distributed.of_first("locked", token) != _read_lock(run_dir):
            raise UsageError(
                f"--run-dir {run_dir} of process {distributed.index()} is not the folder of process 0; "
                "give one on a file system that all processes share"
            )
        yield


def _read_lock(run_dir: Path) -> str | None:
    path = run_dir / ".lock"
    return path.read_text() if path.exists() else None
