"""The files of a run in a folder of this host and in a store: fetched before, and sent when they have changed.

Files go up in the order in which they were written, and every one whole. So what is up there at any moment is what a
killed run could have left on a disk, and a run continues from it as from there.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from jaxnets.files import list_files, write_atomically
from jaxnets.remote.store import Store

CHECKPOINTS = "checkpoints"  # the folder that is no part of a mirror: steps are too large to lie in both places


class Mirror:
    """`pull()` and `push()` from any thread."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._there: dict[str, str] = {}  # the mark of each file in the store as it was fetched
        self._here: dict[str, tuple[int, int]] = {}  # the mark of each file here as it is in the store
        self._lock = threading.Lock()

    def pull(self, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Fetches what is new or has changed, and removes here what is gone there."""
        with self._lock:
            found = {name: mark for name, mark in self._store.marks().items() if _is_ours(name) and wanted(name)}
            for name in self._here.keys() - found.keys():
                (self._folder / name).unlink(missing_ok=True)
                del self._here[name]
            for name, mark in found.items():
                if self._there.get(name) != mark:
                    self._fetch(name)
            self._there = found

    def push(self) -> None:
        """Returns once the store holds what the folder holds. Raises what the store raises."""
        with self._lock:
            now = self._marks()
            gone = [name for name in self._here if name not in now]
            self._store.remove(gone)
            self._here = {name: mark for name, mark in self._here.items() if name in now}
            for name, mark in sorted(now.items(), key=lambda item: (item[1], item[0])):
                if self._here.get(name) != mark:
                    self._store.write(name, (self._folder / name).read_bytes())
                    self._here[name] = mark

    def _fetch(self, name: str) -> None:
        try:
            content = self._store.read(name)
        except FileNotFoundError:  # removed since it was listed
            return
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
        self._here[name] = _mark(path)

    def _marks(self) -> dict[str, tuple[int, int]]:
        """The time of the last change, in nanoseconds, and the size of each file here."""
        found = {}
        for name in filter(_is_ours, list_files(self._folder)):
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                found[name] = _mark(self._folder / name)
        return found


def _mark(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _is_ours(name: str) -> bool:
    """Whether a file is of the run itself: no checkpoint, no lease, nothing that is being written."""
    parts = name.split("/")
    return parts[0] != CHECKPOINTS and not any(part.startswith(".") for part in parts)
