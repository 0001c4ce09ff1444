"""Checkpoints in a store: the files of a step first, its manifest last; a step without a manifest does not count.

Each process writes its own files to a folder of its own host and sends them. What several wrote alike is sent by the
first of them. To read, every process fetches the whole step, verifies it, and takes what it needs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxnets import distributed
from jaxnets.errors import CheckpointError, JaxnetsError
from jaxnets.files import first_difference, hash_folder
from jaxnets.remote.store import Store
from jaxnets.shelf import MANIFEST, ONCE, Fetched, newest, next_name

_DAMAGED = "manifest.damaged"  # the name of a manifest whose step is set aside


class RemoteShelf:
    """A shelf that is a store.

    disk:   the folder of this host that steps are written to and fetched to; nothing is kept there
    before: called before a step counts: it sends what must be there by then, and raises if the run has been taken over
    """

    shared = False

    def __init__(self, store: Store, disk: Path, *, before: Callable[[], None] = lambda: None) -> None:
        self._store, self.disk, self._before = store, disk, before

    def __str__(self) -> str:
        return self._store.url

    def clean(self) -> None:
        names = list(self._store.marks())
        whole = {name.split("/")[0] for name in names if name.split("/")[1:] in ([MANIFEST], [_DAMAGED])}
        self._store.remove([name for name in names if "/" in name and name.split("/")[0] not in whole])

    def began(self) -> bool:
        return ONCE in self._store.marks()

    def steps(self) -> dict[int, str]:
        names = (name.split("/") for name in self._store.marks())
        return newest(parts[0] for parts in names if parts[1:] == [MANIFEST])

    def manifest(self, name: str) -> bytes:
        return self._store.read(f"{name}/{MANIFEST}")

    def aside(self, step: int) -> Path:
        return self.disk / f"{step:08d}.written"

    def store(self, step: int, aside: Path) -> dict[str, str]:
        own = hash_folder(aside)
        parts = distributed.gather("hashes written", own)
        sender = {name: process for process in reversed(range(len(parts))) for name in parts[process]}
        mine = [name for name in own if sender[name] == distributed.index()]
        target = distributed.of_first("target", self._target(step))
        _together(lambda: self._store.upload(aside, target, mine))
        self.drop(aside)
        return {name: parts[process][name] for name, process in sorted(sender.items())}

    def commit(self, step: int, aside: Path, manifest: bytes) -> None:
        old, target = self.steps().get(step), self._target(step)
        self._before()
        self._store.write(f"{target}/{MANIFEST}", manifest)
        if not self.began():
            self._store.write(ONCE, b"")
        if old is not None:
            self.remove(old)

    def drop(self, aside: Path) -> None:
        shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def fetched(self, name: str, files: dict[str, str]) -> Iterator[Fetched]:
        folder = self.disk / f"{name}.fetched"
        try:
            yield Fetched(folder, self._fetch(name, files, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def remove(self, name: str) -> None:
        self._store.remove([f"{name}/{MANIFEST}"])
        self._store.remove(self._store.marks(name))

    def set_aside(self, name: str) -> None:
        self._store.write(f"{name}/{_DAMAGED}", self.manifest(name))
        self._store.remove([f"{name}/{MANIFEST}"])

    def _target(self, step: int) -> str:
        return next_name(step, self.steps().get(step))

    def _fetch(self, name: str, files: dict[str, str], folder: Path) -> str | None:
        """What is wrong with what was fetched, or None."""
        try:
            self._store.download(name, folder, files)
        except FileNotFoundError as error:
            return f"{name}: a file is not there ({error})"
        bad = first_difference(files, hash_folder(folder))
        return None if bad is None else f"{name}/{bad} is not what was written"


def _together(call: Callable[[], None]) -> None:
    """What fails in one process fails in all of them."""
    failure: JaxnetsError | None = None
    try:
        call()
    except JaxnetsError as error:
        failure = error
    words = distributed.gather("sent", None if failure is None else str(failure))
    if failure is not None:
        raise failure
    if any(words):
        raise CheckpointError(next(filter(None, words)))
