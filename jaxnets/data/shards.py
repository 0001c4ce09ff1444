"""Sources of many files: which belong to which split, and what they are known by.

`PATTERN[,valid=PATTERN][,test=PATTERN]`: files of the first pattern are trained on, and a split without files of its
own is held out of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnets.data.place import locate_all
from jaxnets.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_BLOCKS, _BLOCK = 16, 1 << 16  # how much of a large file is hashed


def files_of(kind: str, name: str) -> dict[str, list[Path]]:
    """{split: its files in order of name}, train first, from the words behind `KIND:` of a source.

    Raises ConfigError for words that name no split, DataError if a pattern fits no file or two files share a name.
    """
    pattern, *more = name.split(",")
    patterns = {"train": pattern}
    for words in more:
        split, _, pattern = words.partition("=")
        if split not in ("valid", "test") or not pattern or split in patterns:
            raise ConfigError(
                f"data.source {kind}:{name}: {words!r} is not allowed; give valid=PATTERN or test=PATTERN, once each"
            )
        patterns[split] = pattern
    found = {split: locate_all(pattern) for split, pattern in patterns.items()}
    for split, paths in found.items():
        if not paths:
            raise DataError(
                f"{kind}:{patterns[split]}: there is no such file here or in JAXNETS_DATA; give a path, "
                f"with * where several differ, as in {kind}:folder/train_*"
            )
    _check_names(kind, [path for paths in found.values() for path in paths])
    return found


def _check_names(kind: str, paths: list[Path]) -> None:
    """A file is known by its name in schema.json, and must be in one split alone."""
    seen: dict[str, Path] = {}
    for path in paths:
        if path.name in seen:
            raise DataError(
                f"{kind}: {path} and {seen[path.name]} have one name; rename one, or narrow the patterns if a file "
                "is in two splits"
            )
        seen[path.name] = path


def bounds(config: Data, totals: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """{split: (first, last)} of the rows, or tokens, of the files that it is read from.

    totals: how many the files of each split hold that has files of its own. What has none is held out of the train
    files: test first, then train, then valid.
    """
    pool = totals["train"]
    begin = 0 if "test" in totals else round(config.test * pool)
    end = pool if "valid" in totals else pool - round(config.valid * pool)
    held_out = {"train": (begin, end), "valid": (end, pool), "test": (0, begin)}
    return held_out | {split: (0, total) for split, total in totals.items() if split != "train"}


def known_by(paths: list[Path]) -> dict[str, str]:
    """{name: sha256} of each file: of all of it up to 1 MiB, else of its size and 16 blocks spread evenly over it.

    Hashing all of a large set would take longer than starting to train; a change between the blocks is not seen.
    """
    return {path.name: _sampled(path) for path in paths}


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if size <= _BLOCKS * _BLOCK:
            digest.update(file.read())
            return digest.hexdigest()
        digest.update(f"{size}".encode())
        for number in range(_BLOCKS):
            file.seek(number * (size - _BLOCK) // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()
