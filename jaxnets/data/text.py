"""`text:FILE`: a text file as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxnets.data.place import locate
from jaxnets.data.schema import Schema, Split
from jaxnets.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jaxnets.data.source import Data


def read(name: str) -> tuple[np.ndarray, dict[str, str], str]:
    """(tokens uint8, files, fingerprint) of a file here or in JAXNETS_DATA. DataError if it is in neither."""
    path = locate(name)
    if path is None:
        raise DataError(f"text:{name}: there is no such file here or in JAXNETS_DATA; give a path")
    content = path.read_bytes()
    if not content:
        raise DataError(f"{path} is empty; give a text")
    digest = hashlib.sha256(content).hexdigest()
    return np.frombuffer(content, np.uint8), {path.name: digest}, digest


def check_window(config: Data) -> int:
    """The tokens of a window. ConfigError if there is none, or if text is to be folded."""
    if config.folds is not None:
        raise ConfigError(
            f"data.folds {config.folds}: {config.source} is one text, whose splits follow each other; leave data.folds "
            "out (other seeds, as by train --seeds, tell how much a figure varies)"
        )
    if config.context is None:
        raise ConfigError(f"data.context is none, but {config.source} is text; give the tokens of a window, as in 64")
    return config.context


def token_schema(
    config: Data,
    splits: Mapping[str, Split],
    *,
    vocabulary: int,
    fingerprint: str,
    files: Mapping[str, str] | None = None,
) -> Schema:
    """The schema of windows of tokens: whatever they are read from, each predicts its next token."""
    return Schema(
        source=config.source,
        fingerprint=fingerprint,
        input_kind="token",
        input_shape=(check_window(config),),
        input_dtype="int32",
        target_kind="token",
        vocabulary_size=vocabulary,
        counts=tuple((name, split.length) for name, split in splits.items()),
        files=tuple((files or {}).items()),
    )
