"""A folder for what was prepared once: written aside and renamed, so that it is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from jaxnets.errors import DataError

_HASHES = "hashes.json"


def cache_dir() -> Path:
    """Where prepared data lies: JAXNETS_CACHE, or ~/.cache/jaxnets."""
    return Path(os.environ.get("JAXNETS_CACHE") or Path.home() / ".cache" / "jaxnets")


def prepared(name: str, prepare: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, made by `prepare(folder)` if it is not there; its files are verified.

    Two processes may prepare at once: each writes aside, the first to rename wins, the other's work is dropped.
    Raises DataError naming the file if one is damaged.
    """
    folder = cache_dir() / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            prepare(aside)
            (aside / _HASHES).write_text(json.dumps(dict(hashes(aside)), indent=1))
            try:
                os.rename(aside, folder)
            except OSError:
                if not folder.exists():
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    _verify(folder)
    return folder


def _verify(folder: Path) -> None:
    try:
        written = json.loads((folder / _HASHES).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / _HASHES} is damaged ({error}); delete the folder {folder}") from error
    found = dict(hashes(folder))
    for name in {**written, **found}:
        if written.get(name) != found.get(name):
            raise DataError(f"{folder / name} is damaged; delete the folder {folder}, it will be prepared again")


def hashes(folder: Path) -> list[tuple[str, str]]:
    """(relative path, sha256) of every file below, in order of name, the hashes themselves left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _HASHES)
    return [(path.relative_to(folder).as_posix(), hash_file(path)) for path in files]


def hash_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(files: list[tuple[str, str]]) -> str:
    """One sha256 for (name, sha256) pairs."""
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()
