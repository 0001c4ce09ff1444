"""`tokens:PATTERN`: text that was made into tokens before, as files of uint16 that are read where they lie.

Two formats, told apart by their first bytes: that of llm.c (256 int32, of which 20240520, version 1 and the number of
tokens are used, then the tokens) and that of nanoGPT (tokens alone). The files of a split are one stream in order of
their names; window i covers tokens i·t to i·t + t, so that an epoch predicts each token once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxnets.data.reader import Bad, Leaf
from jaxnets.data.schema import Dataset, Split
from jaxnets.data.shards import bounds, files_of, known_by
from jaxnets.data.text import check_window, token_schema
from jaxnets.errors import ConfigError, DataError
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_MAGIC, _VERSION, _HEADER = 20240520, 1, 1024  # _HEADER in bytes
_OTHER_MAGICS = {20240801: "tokens of uint32", 20240522: "questions with answers"}  # formats of llm.c that are not read


class TokenReader:
    """Windows of one stream of tokens (see Reader); row = the first token of a window."""

    def __init__(self, paths: list[Path], *, window: int, vocabulary: int, bad: Bad) -> None:
        self.paths, self._tokens = paths, [open_tokens(path) for path in paths]
        self._starts = np.cumsum([0, *map(len, self._tokens)])
        self._window, self._vocabulary, self._bad = window, vocabulary, bad

    @property
    def total(self) -> int:
        """Tokens of all files."""
        return int(self._starts[-1])

    @property
    def origins(self) -> tuple[tuple[str, int], ...]:
        """(file, its first token), in order."""
        return tuple((path.name, int(start)) for path, start in zip(self.paths, self._starts, strict=False))

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        return {"inputs": Leaf((self._window + 1,), "int32")}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        for place, row in enumerate(rows):
            tokens = self._read(int(row))
            if tokens.max() < self._vocabulary:
                out["inputs"][place] = tokens
                continue
            out["weight"][place] = 0  # unless the next line raises
            self._name(int(row) + int(np.argmax(tokens >= self._vocabulary)), int(tokens.max()))

    def _read(self, first: int) -> np.ndarray:
        """(window + 1,) tokens, which may lie in several files."""
        parts, missing = [], self._window + 1
        file = int(np.searchsorted(self._starts, first, side="right")) - 1
        while missing:
            offset = first - int(self._starts[file])
            parts.append(self._tokens[file][offset : offset + missing])
            first, missing, file = first + len(parts[-1]), missing - len(parts[-1]), file + 1
        return np.concatenate(parts)

    def _name(self, place: int, token: int) -> None:
        file = int(np.searchsorted(self._starts, place, side="right")) - 1
        offset = place - int(self._starts[file])
        token = int(self._tokens[file][offset])
        self._bad(f"{self.paths[file]}, token {offset}", f"{token} is outside 0..{self._vocabulary - 1}")


def open_tokens(path: Path) -> np.ndarray:
    """The tokens (n,) uint16 of a file, mapped into memory. DataError if it is neither of the two formats."""
    size = path.stat().st_size
    header = np.fromfile(path, "<i4", count=min(_HEADER, size) // 4)
    magic = int(header[0]) if len(header) else 0
    if magic in _OTHER_MAGICS:
        raise DataError(f"{path} holds {_OTHER_MAGICS[magic]} ({magic}); give files of uint16 tokens ({_MAGIC})")
    begins = _HEADER if magic == _MAGIC else 0
    if begins:
        _check_header(path, header, size)
    if (size - begins) % 2 or size <= begins:
        raise DataError(
            f"{path} holds {size - begins} bytes of tokens from offset {begins}; it must be an even number above 0, "
            "2 a token: it is cut off, or no file of uint16"
        )
    return np.memmap(path, "<u2", mode="r", offset=begins)


def _check_header(path: Path, header: np.ndarray, size: int) -> None:
    if size < _HEADER:
        raise DataError(f"{path} ends within its header, at offset {size} of {_HEADER}; write it again")
    if header[1] != _VERSION:
        raise DataError(f"{path}: version {header[1]} at offset 4 is not known; give files of version {_VERSION}")
    found = (size - _HEADER) // 2
    if header[2] != found or size % 2:
        raise DataError(
            f"{path}: its header says {header[2]} tokens at offset 8, but {size - _HEADER} bytes follow it, of "
            f"{found}; it is cut off or was written twice: write it again"
        )


def read(config: Data, name: str) -> Dataset:
    """Splits by files of their own, or by shares of the train files: test first, then train, then valid.

    Raises ConfigError without data.context or data.vocabulary, DataError for files that cannot be used.
    """
    window, vocabulary = check_window(config), config.vocabulary
    if vocabulary is None:
        raise ConfigError(
            f"data.vocabulary is none, but {config.source} holds numbers alone; say how many tokens there are, "
            "as in 50257 for GPT-2"
        )
    files = files_of("tokens", name)
    bad = Bad(config.on_bad, most=config.most_bad)
    readers = {
        split: TokenReader(paths, window=window, vocabulary=vocabulary, bad=bad) for split, paths in files.items()
    }
    splits = {}
    for split, (first, last) in bounds(config, {split: reader.total for split, reader in readers.items()}).items():
        own = readers.get(split, readers["train"])
        length = max(0, (last - first - 1) // window)
        splits[split] = Split({}, length, window, window, first=first, origins=own.origins, reader=own)
    hashes = known_by([path for paths in files.values() for path in paths])
    schema = token_schema(config, splits, vocabulary=vocabulary, fingerprint=fingerprint(hashes), files=hashes)
    return Dataset(schema, splits)
