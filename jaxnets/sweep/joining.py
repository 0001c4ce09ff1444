"""Several processes of one run as workers of one sweep: process 0 makes the study, then the others open it."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from jaxnets import distributed
from jaxnets.errors import UsageError
from jaxnets.sweep.opening import Begun

_JOIN_SECONDS = 1800.0  # in which a process must have read its data
_SEEN_SECONDS = 3.0  # until a file that one process has made is there for the others
_Open = Callable[[int | str, tuple[str, ...]], Begun]


def together(open: _Open, trials: int | str, allow: Iterable[str], *, storage: str | Path) -> Begun:
    """What `open(trials, allow)` gives, alone or in each of several processes: in process 0 first, which asks for the
    trials and allows changes; the others open what is there then.

    Raises what `open` raises and UsageError if the processes do not see the same storage, both by
    `distributed.all_or_none`; ProcessLost if one does not come.
    """
    if distributed.count() == 1:
        return open(trials, tuple(allow))
    home = None if "://" in str(storage) else Path(storage).parent
    begun = distributed.all_or_none(
        lambda: open(trials, tuple(allow)) if distributed.first() else None, seconds=_JOIN_SECONDS
    )
    with contextlib.ExitStack() as stack:
        own = begun and {"trials": begun.study.wanted, "token": stack.enter_context(_token(home))}
        told = distributed.of_first("sweep", own)
        return distributed.all_or_none(lambda: begun or _joined(open, told, home), seconds=_JOIN_SECONDS)


@contextlib.contextmanager
def _token(home: Path | None) -> Iterator[str]:
    """A file that whoever sees this folder sees; its name is new, so that no file system remembers it as absent."""
    name = f".processes-{secrets.token_hex(8)}"
    if home is None:
        yield name
        return
    (home / name).touch()
    try:
        yield name
    finally:
        (home / name).unlink(missing_ok=True)


def _joined(open: _Open, told: dict[str, Any], home: Path | None) -> Begun:
    if home is not None and not _is_seen(home / told["token"]):
        raise UsageError(
            f"{home} is not the folder of process 0; give --sweep-dir on a file system that all processes share, or a "
            "database that all of them reach: --storage postgresql://… or grpc://HOST:PORT"
        )
    return open(told["trials"], ())


def _is_seen(path: Path) -> bool:
    end = time.monotonic() + _SEEN_SECONDS
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
