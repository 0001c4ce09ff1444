"""Files that are there whole or not at all, and the hashes that prove that they are still what was written."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from jaxnets.errors import CheckpointError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes aside, syncs and renames: whoever looks finds the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # several threads or machines may write
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """A JSON file, written as `write_atomically` does."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """The content of a JSON file of a run. Raises CheckpointError naming the file if it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged ({error}); restore it from a copy") from error


def sync_folder(folder: Path) -> None:
    """Every file and folder below `folder`, and itself, safely on the disk."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def hash_file(path: Path) -> str:
    """The sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(folder: Path, *, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """`{relative path: sha256}` of every file below, in order of name; files named in `leave_out` are not seen."""
    return {name: hash_file(folder / name) for name in list_files(folder, leave_out=leave_out)}


def list_files(folder: Path, *, leave_out: tuple[str, ...] = ()) -> list[str]:
    """The relative path of every file below, in order of name; files named in `leave_out` are not seen."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in leave_out)
    return [path.relative_to(folder).as_posix() for path in files]


def first_difference(written: dict[str, str], found: dict[str, str]) -> str | None:
    """The first file that is missing, new or changed, or None.

    >>> first_difference({"a": "1", "b": "2"}, {"a": "1", "c": "3"})
    'b'
    """
    return next((name for name in {**written, **found} if written.get(name) != found.get(name)), None)


def fingerprint(files: dict[str, str]) -> str:
    """One sha256 for `{name: sha256}`, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()
