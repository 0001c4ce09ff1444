"""What lies below a URL: read, written, listed and removed through fsspec, each call tried again when it fails."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from jaxnets.errors import CheckpointError, JaxnetsError, MissingExtra, UsageError

_Found = TypeVar("_Found")

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds between the tries of one call; gcsfs and s3fs try again by themselves too
_AT_ONCE = 16  # files that are carried side by side
_EXTRAS = {"gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3")}
_LASTING = (PermissionError, IsADirectoryError, NotADirectoryError)  # trying again would not help
_FORBIDDEN = (401, 403)  # HTTP


def is_url(place: object) -> bool:
    """Whether this names a place that is no path of this host.

    >>> is_url("gs://bucket/runs/x"), is_url("runs/x"), is_url(Path("runs/x"))
    (True, False, False)
    """
    return isinstance(place, str) and re.match(r"[a-z][a-z0-9+.-]*(::|://)", place) is not None


class Store:
    """The files below a URL, by their paths relative to it.

    failure: what is raised when a call has been tried as often as WAITS says, or cannot succeed; the message names the
             file and says what to do

    Raises UsageError for a scheme that is not known, MissingExtra where its driver is not installed.

    >>> store = Store("memory://doctest")
    >>> store.write("a/b.txt", b"text"); store.read("a/b.txt"); list(store.marks())
    b'text'
    ['a/b.txt']
    """

    def __init__(self, url: str, *, failure: type[JaxnetsError] = CheckpointError) -> None:
        self.url, self._failure = url.rstrip("/"), failure
        self._files, self._root = _filesystem(self.url)
        self._rename = "file" in _protocols(self._files)  # a local put may be seen half done

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError if it is not there."""
        return self._again("read", name, lambda: self._files.cat_file(self._path(name)))

    def write(self, name: str, content: bytes) -> None:
        """Whoever looks finds the old content or the new one, never a part."""
        self._put(name, lambda path: self._files.pipe_file(path, content))

    def create(self, name: str, content: bytes) -> bool:
        """Writes a file that is not there yet; False if it is. Of several who try at once one succeeds."""

        def call() -> None:
            if self._rename:
                with self._files.open(self._path(name), "xb") as file:
                    file.write(content)
            else:
                self._files.pipe_file(self._path(name), content, mode="create")

        try:
            self._again("written", name, call)
        except FileExistsError:
            return self.read(name) == content  # an earlier try may have been made without an answer
        except FileNotFoundError as error:
            raise self._missing(name) from error
        return True

    def marks(self, folder: str = "") -> dict[str, str]:
        """{path: what changes when the file does} of all files below a folder, in order; {} if there is none."""

        def call() -> dict[str, Any]:
            self._files.invalidate_cache()
            return self._files.find(self._path(folder), detail=True)

        try:
            found: dict[str, Any] = self._again("listed", folder, call)
        except FileNotFoundError:
            return {}
        start = len(self._root.rstrip("/")) + 1
        marks = {path[start:]: hashlib.sha256(str(info).encode()).hexdigest() for path, info in found.items()}
        return dict(sorted(marks.items()))

    def matches(self, pattern: str) -> list[str]:
        """The URLs of files here that a pattern with *, ? or [] fits, in order."""

        def call() -> list[str]:
            self._files.invalidate_cache()
            return [str(self._files.unstrip_protocol(path)) for path in self._files.glob(self._path(pattern))]

        return sorted(self._again("listed", pattern, call))

    def remove(self, names: Iterable[str]) -> None:
        """Removes files; one that is not there is as good."""

        def call(name: str) -> None:
            try:
                self._again("removed", name, lambda: self._files.rm_file(self._path(name)))
            except FileNotFoundError:
                return

        self._side_by_side(call, names)

    def upload(self, folder: Path, to: str, names: Iterable[str]) -> None:
        """Copies files of a folder of this host below `to`."""

        def call(name: str) -> None:
            self._put(_joined(to, name), lambda path: self._files.put_file(str(folder / name), path))

        self._side_by_side(call, names)

    def download(self, origin: str, folder: Path, names: Iterable[str]) -> None:
        """Copies files from below `origin` to a folder of this host. Raises FileNotFoundError if one is not there."""

        def call(name: str) -> None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            there = _joined(origin, name)
            self._again("read", there, lambda: self._files.get_file(self._path(there), str(folder / name)))

        self._side_by_side(call, names)

    def _path(self, name: str) -> str:
        return _joined(self._root.rstrip("/"), name) if name else self._root

    def _put(self, name: str, put: Callable[[str], Any]) -> None:
        path = self._path(name)

        def call() -> None:
            if not self._rename:
                put(path)
                return
            parent, _, last = path.rpartition("/")
            aside = f"{parent}/.{last}.{os.getpid()}.{threading.get_ident()}"
            put(aside)
            self._files.mv(aside, path)

        try:
            self._again("written", name, call)
        except FileNotFoundError as error:
            raise self._missing(name) from error

    def _again(self, done: str, name: str, call: Callable[[], _Found]) -> _Found:
        for wait in (*WAITS, None):
            try:
                return call()
            except (FileNotFoundError, FileExistsError):
                raise
            except Exception as error:
                if wait is None or _lasts(error):
                    raise self._failure(f"{self.url}/{name} cannot be {done}: {_why(error)}") from error
                time.sleep(wait)
        raise AssertionError("the last wait is none")

    def _missing(self, name: str) -> JaxnetsError:
        return UsageError(f"{self.url}/{name} cannot be written: there is no such bucket or folder; make it first")

    def _side_by_side(self, call: Callable[[str], None], names: Iterable[str]) -> None:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="jaxnets-remote") as pool:
            futures = [pool.submit(call, name) for name in names]
        for future in futures:
            future.result()


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _filesystem(url: str) -> tuple[Any, str]:
    """(file system, path in it) of a URL."""
    import fsspec

    scheme = url.partition(":")[0]
    options = {"auto_mkdir": True} if scheme in ("file", "local") else {}
    try:
        return fsspec.url_to_fs(url, **options)
    except ImportError as error:
        if scheme in _EXTRAS:
            package, extra = _EXTRAS[scheme]
            raise MissingExtra(package, extra=extra, purpose=f"for {url}") from error
        raise UsageError(f"{url}: the driver of {scheme}:// is not installed ({error}); install it") from error
    except ValueError as error:
        raise UsageError(
            f"{url}: {scheme}:// is no place that is known ({error}); give a path, gs://, s3:// or another of fsspec"
        ) from error
    except Exception as error:
        raise UsageError(f"{url} cannot be opened: {_why(error)}") from error


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def _forbidden(error: Exception) -> bool:
    code = getattr(error, "code", None)
    return isinstance(error, PermissionError) or "Forbidden" in str(error) or str(code) in map(str, _FORBIDDEN)


def _lasts(error: Exception) -> bool:
    return isinstance(error, _LASTING) or _forbidden(error) or getattr(error, "errno", None) == errno.ENOSPC


def _why(error: Exception) -> str:
    words = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if _forbidden(error):
        return f"{words}; give the account of this machine the right to read and write there"
    if _lasts(error):
        return words
    return f"{words}, after {len(WAITS) + 1} tries; look whether the place can be reached, then give the same again"
