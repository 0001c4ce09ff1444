"""What is known of a launch on this machine: which place holds it and under which names, kept before it is begun."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets.errors import UsageError, near
from jaxnets.files import read_json, write_json

FOLDER = Path("launches")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?")


class Record(NamedTuple):
    """One launch; `values` is what its place needs to find it again, as JSON."""

    name: str
    place: str
    values: dict[str, Any]


def check_name(name: str, option: str = "--name") -> str:
    """A name that every place takes, as part of a DNS name. Raises UsageError.

    >>> check_name("vit-s16")
    'vit-s16'
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{option} {name!r} is not allowed; give 1 to 50 small letters, digits and hyphens, "
            "the first a letter and the last no hyphen"
        )
    return name


def save(record: Record, folder: Path = FOLDER) -> None:
    """Keeps a launch, over what was known of it before."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{record.name}.json", record._asdict())


def load(name: str, folder: Path = FOLDER) -> Record:
    """The launch of this name. Raises UsageError if there is none."""
    path = folder / f"{check_name(name, 'the name')}.json"
    if not path.exists():
        known = sorted(found.stem for found in folder.glob("*.json")) if folder.is_dir() else []
        raise UsageError(
            f"there is no launch {name} in {folder}; {', '.join(known) or 'none is'} known there{near(name, known)}"
        )
    return Record(**read_json(path))


def forget(name: str, folder: Path = FOLDER) -> None:
    """Once it is over and nothing of it is left."""
    (folder / f"{name}.json").unlink(missing_ok=True)
