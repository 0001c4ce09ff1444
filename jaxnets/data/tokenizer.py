"""Texts to numbers and back: their bytes, what stands between blanks (plain), or a tokenizer of the `tokenizers`
library, read from a file or trained here.

A tokenizer is its JSON, as that library writes it, or {"plain": words}; none stands for bytes. So a schema holds it,
and a run's folder encodes new texts as the run's own were.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np

from jaxnets.data.place import locate
from jaxnets.errors import ConfigError, DataError, MissingExtra, near
from jaxnets.types import experiment_dataclass

KINDS = ("bytes", "plain", "words", "wordpiece", "bpe")
_UNKNOWN = "[UNK]"
_PLAIN = '{"plain":'  # how the JSON of a plain tokenizer begins
_WORD = r"\w+(?:['’]\w+)*|[^\w\s]"  # letters and digits, an apostrophe among them; each other sign alone


@experiment_dataclass
class Texts:
    """How the texts of `texts:`, `pairs:` and `documents:` are read and become tokens."""

    column: str = "text"  # of a table, that holds the texts; the label is data.target
    header: bool = True  # the first line of a CSV or TSV file names its columns; without one they are 0, 1, …
    tokenizer: str = "bytes"  # plain, words, wordpiece, bpe: trained on the train split; or a tokenizer.json
    size: int = 8192  # tokens of a tokenizer that is trained, at most
    least: int = 2  # times that a word, or a pair, must occur in the train split to become a token
    lower: bool = False  # capital letters as small ones, in a tokenizer that is trained
    crop: Literal["first", "last", "never"] = "first"  # tokens kept of a text longer than data.context; never = bad row


class Tokenizer:
    """Encodes and decodes; `size` is one more than the largest token.

    >>> coder = Tokenizer("")
    >>> coder.encode(["hé"])[0].tolist(), coder.decode([104, 195, 169]), coder.size
    ([104, 195, 169], 'hé', 256)
    """

    def __init__(self, text: str) -> None:
        self._inner = _opened(text) if text else None
        self.size = 256 if self._inner is None else max(self._inner.get_vocab(True).values(), default=-1) + 1

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens (t,) int32 of each text, and nothing beside; a text alone gives what it gives among others."""
        if self._inner is None:
            return [np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int32) for text in texts]
        found = self._inner.encode_batch(list(texts), add_special_tokens=False)
        return [np.asarray(one.ids, np.int32) for one in found]

    def decode(self, tokens: Any) -> str:
        """The text of tokens (t,), as near as they tell; bytes that are no UTF-8 become the replacement character."""
        ids = [int(token) for token in tokens if 0 <= token < self.size]
        if self._inner is None:
            return bytes(ids).decode("utf-8", "replace")
        return self._inner.decode(ids, skip_special_tokens=False)


@functools.lru_cache(maxsize=4)
def opened(text: str) -> Tokenizer:
    """The tokenizer of a schema. Raises MissingExtra without the `tokenizers` library, unless it is bytes or plain."""
    return Tokenizer(text)


def made(config: Texts, texts: Sequence[str]) -> str:
    """The tokenizer that a config asks for: read, or trained on `texts`, those of the train split alone.

    Raises ConfigError for a word that is no tokenizer, DataError for a file that cannot be used.
    """
    match config.tokenizer:
        case "bytes":
            return ""
        case "plain":
            return _plain(config, texts)
        case "words" | "wordpiece" | "bpe":
            return _trained(config, texts)
    if not config.tokenizer.endswith(".json"):
        raise ConfigError(
            f"data.texts.tokenizer {config.tokenizer!r} is not allowed; use one of {', '.join(KINDS)}, or a file that "
            f"ends in .json{near(config.tokenizer, KINDS)}"
        )
    path = locate(config.tokenizer)
    if path is None:
        raise DataError(f"{config.tokenizer}: there is no such tokenizer here or in JAXNETS_DATA; give a path")
    try:
        text = path.read_text(encoding="utf-8")
        opened(text)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a file of the tokenizers library: {error}; give its tokenizer.json") from error
    return text


def _library() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.normalizers
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise MissingExtra("tokenizers", extra="text", purpose="for other tokens than bytes") from error
    return tokenizers


class _Plain:
    """What stands between blanks, as the library would give it; what is not known is the first word."""

    def __init__(self, words: Sequence[str], *, lower: bool) -> None:
        self._words, self._lower = words, lower
        self._ids = {word: place for place, word in enumerate(words)}

    def get_vocab(self, with_added_tokens: bool) -> dict[str, int]:
        return self._ids

    def encode_batch(self, texts: Sequence[str], add_special_tokens: bool) -> list[SimpleNamespace]:
        split = ((text.lower() if self._lower else text).split() for text in texts)
        return [SimpleNamespace(ids=[self._ids.get(word, 0) for word in words]) for words in split]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        return " ".join(self._words[place] for place in ids)


def _plain(config: Texts, texts: Sequence[str]) -> str:
    """The commonest words of some texts, those as common in the order of the alphabet."""
    counts = Counter(word for text in texts for word in (text.lower() if config.lower else text).split())
    common = sorted((word for word, count in counts.items() if count >= config.least), key=lambda w: (-counts[w], w))
    words = [_UNKNOWN, *(word for word in common if word != _UNKNOWN)][: config.size]
    return json.dumps({"plain": words, "lower": config.lower}, separators=(",", ":"))


def _opened(text: str) -> Any:
    if text.startswith(_PLAIN):
        found = json.loads(text)
        return _Plain(found["plain"], lower=found["lower"])
    library = _library()
    try:
        found = library.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more special
        raise ValueError(str(error)) from error
    found.no_padding()
    found.no_truncation()
    return found


def _trained(config: Texts, texts: Sequence[str]) -> str:
    library = _library()
    found, how = _untrained(library, config)
    if config.lower:
        normal = library.normalizers
        found.normalizer = normal.Sequence([normal.NFC(), normal.Lowercase()])
    kinds = {"words": "WordLevelTrainer", "wordpiece": "WordPieceTrainer", "bpe": "BpeTrainer"}
    trainer = getattr(library.trainers, kinds[config.tokenizer])(
        vocab_size=config.size, min_frequency=config.least, show_progress=False, **how
    )
    found.train_from_iterator(texts, trainer)
    return json.dumps(json.loads(found.to_str()), ensure_ascii=True, separators=(",", ":"))


def _untrained(library: Any, config: Texts) -> tuple[Any, dict[str, Any]]:
    """(the tokenizer, what its trainer must know beside the size)."""
    models, before = library.models, library.pre_tokenizers
    words = before.Split(library.Regex(_WORD), behavior="removed", invert=True)
    match config.tokenizer:
        case "bpe":  # of bytes, so that nothing is unknown (Radford et al., 2019)
            found = library.Tokenizer(models.BPE())
            found.pre_tokenizer = before.ByteLevel(add_prefix_space=False)
            found.decoder = library.decoders.ByteLevel()
            return found, {"initial_alphabet": before.ByteLevel.alphabet()}
        case "wordpiece":
            found = library.Tokenizer(models.WordPiece(unk_token=_UNKNOWN))
            found.decoder = library.decoders.WordPiece()
        case _:
            found = library.Tokenizer(models.WordLevel(unk_token=_UNKNOWN))
    found.pre_tokenizer = words
    return found, {"special_tokens": [_UNKNOWN]}
