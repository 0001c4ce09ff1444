"""A folder for what was prepared once: written aside and renamed, so that it is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from jaxnets.errors import DataError
from jaxnets.files import first_difference, hash_folder

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
            (aside / _HASHES).write_text(json.dumps(hash_folder(aside), indent=1))
            try:
                os.rename(aside, folder)
            except OSError:
                if not folder.exists():
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    _verify(folder)
    return folder


def prepared_by_content(name: str, write: Callable[[Path], str]) -> Path:
    """The folder `name-KEY` of the cache, where only `write(folder)`, having written the content, can tell its KEY."""
    parent = (cache_dir() / name).parent
    parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{Path(name).name}.", dir=parent))

    def move(inside: Path) -> None:
        for entry in aside.iterdir():
            os.replace(entry, inside / entry.name)

    try:
        key = write(aside)
        return prepared(f"{name}-{key[:16]}", move)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _verify(folder: Path) -> None:
    try:
        written = json.loads((folder / _HASHES).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / _HASHES} is damaged ({error}); delete the folder {folder}") from error
    bad = first_difference(written, hash_folder(folder, leave_out=(_HASHES,)))
    if bad is not None:
        raise DataError(f"{folder / bad} is damaged; delete the folder {folder}, it will be prepared again")
