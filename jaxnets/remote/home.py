"""A run at a URL, and the folder of this host that it works in while it is open."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from jaxnets import distributed
from jaxnets.errors import JaxnetsError
from jaxnets.remote import lease
from jaxnets.remote.mirror import CHECKPOINTS, Mirror
from jaxnets.remote.shelf import RemoteShelf
from jaxnets.remote.store import Store, is_url
from jaxnets.shelf import Folder, Shelf


class Home(NamedTuple):
    """Where a run lies.

    name:   its place, as the user gave it
    folder: what it reads and writes, on this host
    """

    name: str
    folder: Path
    shelf: Shelf


def local(run_dir: Path) -> Home:
    """The home of a run on a file system."""
    return Home(str(run_dir), run_dir, Folder(run_dir / CHECKPOINTS))


@contextlib.contextmanager
def opened(url: str, *, say: Callable[[str], None]) -> Iterator[Home]:
    """The run at a URL, for training: held by this run alone, and what it writes goes up while it is open.

    Of several processes each has a folder of its own, the first holds the run and sends its files.
    Raises UsageError if the place cannot be used, or another run is in it.
    """
    store = Store(url)
    with _scratch(_last(store.url)) as folder, _speaking_of(store.url, folder), contextlib.ExitStack() as stack:
        mirror, held = Mirror(store, folder), lease.Lease(store)
        if distributed.first():
            held.take(say)
            stack.callback(_quietly, held.give_back)
        distributed.gather("run opened")
        mirror.pull(lambda name: distributed.first() or name.endswith(".json"))

        def before() -> None:
            held.check()
            mirror.push()

        if distributed.first():
            stack.enter_context(_beating(held.beat, mirror.push))
        disk = folder.parent / CHECKPOINTS
        disk.mkdir()
        try:
            yield Home(store.url, folder, RemoteShelf(Store(f"{store.url}/{CHECKPOINTS}"), disk, before=before))
        except BaseException:
            if distributed.first():
                _quietly(before)
            raise
        if distributed.first():
            before()


@contextlib.contextmanager
def reading(run_dir: Path | str, *, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Path]:
    """The folder of a run that is read, tested or reported on; what is written to it goes up at the end.

    wanted: which files of a run at a URL are fetched
    """
    if not is_url(run_dir):
        yield Path(run_dir)
        return
    store = Store(str(run_dir))
    with _scratch(_last(store.url)) as folder, _speaking_of(store.url, folder):
        mirror = Mirror(store, folder)
        mirror.pull(wanted)
        yield folder
        mirror.push()


@contextlib.contextmanager
def following(run_dir: Path | str, *, wanted: Callable[[str], bool]) -> Iterator[tuple[Path, Callable[[], None]]]:
    """(the folder of a run that others write, what fetches the news)."""
    if not is_url(run_dir):
        yield Path(run_dir), lambda: None
        return
    store = Store(str(run_dir))
    with _scratch(_last(store.url)) as folder, _speaking_of(store.url, folder):
        mirror, looked = Mirror(store, folder), time.monotonic()
        mirror.pull(wanted)

        def refresh() -> None:
            nonlocal looked
            if time.monotonic() - looked >= lease.BEAT / 2:
                mirror.pull(wanted)
                looked = time.monotonic()

        yield folder, refresh


def _last(url: str) -> str:
    """The last word of a URL, which names the run."""
    return url.rpartition("/")[2] or "run"


def _quietly(call: Callable[[], None]) -> None:
    """For what is done on the way out of an error that is worth more than another."""
    with contextlib.suppress(JaxnetsError, OSError):
        call()


@contextlib.contextmanager
def _beating(*calls: Callable[[], None]) -> Iterator[None]:
    """While this is open a thread makes the calls every few seconds; what fails is tried again at the next beat."""
    closed = threading.Event()

    def run() -> None:
        while not closed.wait(lease.BEAT):
            for call in calls:
                _quietly(call)

    thread = threading.Thread(target=run, name="jaxnets-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join()


@contextlib.contextmanager
def _speaking_of(url: str, folder: Path) -> Iterator[None]:
    """Errors name the place that the user gave, and not the folder that stands for it."""
    try:
        yield
    except JaxnetsError as error:
        error.args = tuple(str(word).replace(str(folder), url) for word in error.args)
        raise


@contextlib.contextmanager
def _scratch(name: str) -> Iterator[Path]:
    """A folder of this host, below TMPDIR, that is gone at the end; those of killed processes are removed first."""
    parent = Path(tempfile.gettempdir()) / f"jaxnets-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    with open(parent / ".guard", "a") as whole:
        fcntl.flock(whole, fcntl.LOCK_EX)
        for mark in parent.glob("*.lock"):
            with open(mark) as file:
                if _is_free(file):
                    shutil.rmtree(mark.with_suffix(""), ignore_errors=True)
                    mark.unlink(missing_ok=True)
        own = Path(tempfile.mkdtemp(dir=parent))
        held = open(own.with_name(f"{own.name}.lock"), "w")  # noqa: SIM115
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        (own / name).mkdir()
        yield own / name
    finally:
        shutil.rmtree(own, ignore_errors=True)
        own.with_name(f"{own.name}.lock").unlink(missing_ok=True)
        held.close()


def _is_free(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
