"""A lease: one file that says whose a run is, since object stores have no locks.

It is created only if it is not there, and its holder writes it again every few seconds. Whoever finds one watches it:
where it changes its holder lives, where it does not its holder is gone, and is followed. So no clocks are compared, and
a run that was lost goes on by itself. A holder that was taken for gone finds another's name in the lease before its
next checkpoint counts, and ends.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from jaxnets.errors import CheckpointError, UsageError
from jaxnets.remote.store import Store

FILE = ".lease"
BEAT = 15.0  # seconds between two signs of life
PATIENCE = 60.0  # seconds without one, after which the holder is gone
_SETTLE = 1.0  # seconds in which another who takes over at the same moment would show


class Lease:
    """`take()` before anything is written, `beat()` every BEAT seconds, `check()` before what must not be two's."""

    def __init__(self, store: Store) -> None:
        self._store, self._beats = store, 0
        self._own = {
            "token": secrets.token_hex(8),
            "holder": f"process {os.getpid()} on {socket.gethostname()}",
            "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        }

    def take(self, say: Callable[[str], None]) -> None:
        """Waits for a holder that may be gone. Raises UsageError if it is not."""
        found = self._read()  # before all else, for stores that cannot create exclusively
        if found is None and self._create():
            return
        found = found or self._read()
        if found is not None:
            say(f"{self._store.url} is held by {_words(found)}; waits {PATIENCE:g} s for a sign of life")
            self._outwait(found)
            say("there was none: that run is gone, and this one continues it")
        self._store.remove([FILE])
        taken = self._create()
        time.sleep(min(_SETTLE, PATIENCE))
        if not taken or not self._holds():
            raise UsageError(f"{self._store.url} was taken over by another run just now; give another --run-dir")

    def beat(self) -> None:
        """A sign of life."""
        if self._holds():
            self._beats += 1
            self._store.write(FILE, self._content())

    def check(self) -> None:
        """Raises CheckpointError if this run does not hold the lease any more."""
        found = self._read()
        if found is None or found["token"] != self._own["token"]:
            by = "removed" if found is None else f"taken over by {_words(found)}"
            raise CheckpointError(
                f"the lease of {self._store.url} was {by}, so this run ends; what it wrote before is intact"
            )

    def give_back(self) -> None:
        if self._holds():
            self._store.remove([FILE])

    def _outwait(self, found: dict[str, Any]) -> None:
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            time.sleep(min(BEAT, PATIENCE) / 5)
            now = self._read()
            if now is None:
                return
            if now != found:
                raise UsageError(
                    f"{self._store.url} is in use by {_words(now)}; wait for it, end it, or give another --run-dir "
                    f"(a run that is gone is followed after {PATIENCE:g} s, or at once if {FILE} is removed there)"
                )

    def _create(self) -> bool:
        return self._store.create(FILE, self._content())

    def _holds(self) -> bool:
        found = self._read()
        return found is not None and found["token"] == self._own["token"]

    def _read(self) -> dict[str, Any] | None:
        try:
            return json.loads(self._store.read(FILE))
        except FileNotFoundError:
            return None
        except ValueError:  # cut short
            return {"token": "", "holder": "a run whose lease is damaged", "since": "an unknown time"}

    def _content(self) -> bytes:
        return (json.dumps(self._own | {"beats": self._beats}) + "\n").encode()


def _words(found: dict[str, Any]) -> str:
    return f"{found['holder']}, since {found['since']}"
