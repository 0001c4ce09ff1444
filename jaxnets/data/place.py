"""Where the user's files lie: as given, in the place that JAXNETS_DATA names, or at a URL and then fetched once."""

from __future__ import annotations

import glob
import hashlib
import os
from pathlib import Path

from jaxnets.data.cache import prepared
from jaxnets.errors import DataError
from jaxnets.remote import Store, is_url


def locate(name: str) -> Path | None:
    """The file `name`, from here, from JAXNETS_DATA or from a URL; None if it is in none of them."""
    for place in places(name):
        found = fetched(place) if is_url(place) else Path(place)
        if found is not None and found.is_file():
            return found
    return None


def locate_all(pattern: str) -> list[Path]:
    """The files that a pattern fits, in order of name, from the first of its places that has any; none if none has."""
    for place in places(pattern):
        if found := matches(place) if is_url(place) else _local(place):
            return found
    return []


def places(name: str) -> list[str]:
    """Where a name is looked for, in order; JAXNETS_DATA may be a URL too."""
    root = os.environ.get("JAXNETS_DATA", "")
    if is_url(name) or not root or Path(name).is_absolute():
        return [name]
    return [name, f"{root.rstrip('/')}/{name}"]


def fetched(url: str) -> Path | None:
    """The file at a URL as it is now, in the cache of this host; None if there is none.

    It is fetched once, and again when it has changed. Raises DataError if the place cannot be reached.
    """
    parent, _, name = url.rpartition("/")
    store = Store(parent, failure=DataError)
    mark = store.marks(name).get(name)
    if mark is None:
        return None
    return prepared(_key(url, mark), lambda aside: store.download("", aside, [name])) / name


def fetched_folder(url: str) -> Path:
    """The folder at a URL as it is now, in the cache of this host. DataError if there is none."""
    store = Store(url, failure=DataError)
    marks = store.marks()
    if not marks:
        raise DataError(f"{url} holds no files; give a folder that is there")
    name = store.url.rpartition("/")[2]
    folder = prepared(_key(url, *marks, *marks.values()), lambda aside: store.download("", aside / name, marks))
    return folder / name


def matches(pattern: str) -> list[Path]:
    """The files at URLs that a pattern fits, in order of their URLs, in the cache of this host."""
    start = min((pattern.find(mark) for mark in "*?[" if mark in pattern), default=len(pattern))
    parent = pattern[:start].rpartition("/")[0]
    urls = Store(parent, failure=DataError).matches(pattern[len(parent) + 1 :])
    return [found for url in urls if (found := fetched(url)) is not None]


def _local(pattern: str) -> list[Path]:
    """As a pattern, unless a file has that very name."""
    if Path(pattern).is_file():
        return [Path(pattern)]
    return sorted(path for path in map(Path, glob.glob(pattern)) if path.is_file())


def _key(*words: str) -> str:
    return f"remote/{hashlib.sha256(' '.join(words).encode()).hexdigest()[:16]}"
