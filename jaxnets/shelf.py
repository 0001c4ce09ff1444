"""Where the steps of a run lie: a shelf holds each as a folder, which is there whole or does not count.

The shelf of this file is a folder that all processes see: a step is written aside and renamed. Another, for places that
know no renaming, is `jaxnets.remote.shelf`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from jaxnets import distributed
from jaxnets.files import first_difference, hash_file, list_files, sync_folder

MANIFEST = "manifest.json"  # of a step: the last of its files
ONCE = "saved"  # an empty file: a step was once here, so that none at all means a loss, not a beginning


class Fetched(NamedTuple):
    """A step on this host, and the first of its files that is not what was written, as words, or None."""

    folder: Path
    bad: str | None


@runtime_checkable
class Shelf(Protocol):
    """Steps by the names of their folders; `str(shelf)` is its place for a message.

    All processes call `aside`, `store`, `fetched` and `drop` together; what else changes a shelf is process 0's.
    """

    @property
    def shared(self) -> bool:
        """Whether all processes see what one has written aside."""
        ...

    @property
    def disk(self) -> Path:
        """The folder of this host that steps are written to first."""
        ...

    def clean(self) -> None:
        """Makes the shelf, and removes what killed runs have left on it."""
        ...

    def began(self) -> bool:
        """Whether a step was ever placed."""
        ...

    def steps(self) -> dict[int, str]:
        """The folder's name of each step that is whole."""
        ...

    def manifest(self, name: str) -> bytes:
        """Raises OSError if there is none."""
        ...

    def aside(self, step: int) -> Path:
        """The folder of this host to write a step to."""
        ...

    def store(self, step: int, aside: Path) -> dict[str, str]:
        """Makes what all processes have written aside safe; returns `{relative path: sha256}` of all of it."""
        ...

    def commit(self, step: int, aside: Path, manifest: bytes) -> None:
        """From now on the step counts, and one that was saved under its number before does not."""
        ...

    def drop(self, aside: Path) -> None:
        """Forgets a step that could not be written."""
        ...

    def fetched(self, name: str, files: dict[str, str]) -> AbstractContextManager[Fetched]:
        """A step's files on this host while it is open; `files` are their hashes as its manifest has them."""
        ...

    def remove(self, name: str) -> None: ...

    def set_aside(self, name: str) -> None:
        """Keeps a step that is damaged, but does not count it any more."""
        ...


class Folder:
    """A shelf that is a folder of a file system."""

    shared = True

    def __init__(self, directory: Path) -> None:
        self.disk = directory.resolve()

    def __str__(self) -> str:
        return str(self.disk)

    def clean(self) -> None:
        self.disk.mkdir(parents=True, exist_ok=True)
        for leftover in self.disk.glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def began(self) -> bool:
        return (self.disk / ONCE).exists()

    def steps(self) -> dict[int, str]:
        return newest(path.name for path in self.disk.iterdir() if path.is_dir())

    def manifest(self, name: str) -> bytes:
        return (self.disk / name / MANIFEST).read_bytes()

    def aside(self, step: int) -> Path:
        return self.disk / f".{step:08d}"

    def store(self, step: int, aside: Path) -> dict[str, str]:
        sync_folder(aside)
        return _hashed(aside, "written")

    def commit(self, step: int, aside: Path, manifest: bytes) -> None:
        """Renames to the step's folder; where one is there already, beside it, and then removes the old one."""
        (aside / MANIFEST).write_bytes(manifest)
        sync_folder(aside)
        old = self.steps().get(step)
        os.rename(aside, self.disk / next_name(step, old))
        _sync(self.disk)
        if old is not None:
            self.remove(old)
        (self.disk / ONCE).touch()

    def drop(self, aside: Path) -> None:
        if distributed.first():
            shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def fetched(self, name: str, files: dict[str, str]) -> Iterator[Fetched]:
        try:
            bad = first_difference(files, _hashed(self.disk / name, "read", leave_out=(MANIFEST,)))
            words = None if bad is None else f"{name}/{bad} is not what was written"
        except OSError as error:  # this process does not see it
            words = f"{name}: {error}"
        yield Fetched(self.disk / name, words)

    def remove(self, name: str) -> None:
        hidden = self.disk / f".old-{name}"
        os.rename(self.disk / name, hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def set_aside(self, name: str) -> None:
        target = self.disk / f"damaged-{name}"
        shutil.rmtree(target, ignore_errors=True)
        os.rename(self.disk / name, target)


def newest(names: Iterable[str]) -> dict[int, str]:
    """The folder of each step; of a step saved twice the later one. Other names are not seen.

    >>> newest(["00000020", "00000020.1", "saved", "00000040"])
    {20: '00000020.1', 40: '00000040'}
    """
    found: dict[int, tuple[int, str]] = {}
    for name in names:
        step, _, again = name.partition(".")
        if step.isdigit() and (not again or again.isdigit()):
            found[int(step)] = max(found.get(int(step), (-1, name)), (int(again or 0), name))
    return {step: name for step, (_, name) in found.items()}


def next_name(step: int, old: str | None) -> str:
    """The folder for a step that is saved now, where `old` holds it already.

    >>> next_name(20, None), next_name(20, "00000020"), next_name(20, "00000020.1")
    ('00000020', '00000020.1', '00000020.2')
    """
    return f"{step:08d}" if old is None else f"{step:08d}.{int(old.partition('.')[2] or 0) + 1}"


def _hashed(folder: Path, when: str, *, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """`{relative path: sha256}` of the files that process 0 sees; each process hashes its share of them."""
    names = distributed.of_first(f"files {when}", list_files(folder, leave_out=leave_out))
    own = {name: hash_file(folder / name) for name in names[distributed.index() :: distributed.count()]}
    parts = distributed.gather(f"hashes {when}", own)
    merged = {name: digest for part in parts for name, digest in part.items()}
    return {name: merged[name] for name in names}


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
