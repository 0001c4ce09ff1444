"""Small pictures are decoded once: they stay in memory after the first epoch, where all of a source's fit.

To decode a picture of 32 × 32 costs four times what it costs to cut it, and most of that is spent in Python, where
threads wait for each other (experiments/LOG.md). What a batch holds does not depend on what is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from jaxnets.data.at_hand import bytes_at_hand
from jaxnets.data.pictures import Decoded

_JUDGED = 256  # pictures after which the size of all is foretold, and again after as many
_OBJECT = 1280  # bytes that a picture takes beside its pixels, about


class Kept:
    """`kept(row, decode) -> what decode(row) gives`, from memory if it was asked for before. Safe to call from threads.

    rows: how many there are
    most: bytes that all of them may take together; where they would take more, or more than half of the memory that is
          at hand, none is kept

    >>> from PIL import Image
    >>> kept = Kept(1000, most=1 << 30)
    >>> picture = kept(3, lambda row: Decoded(Image.new("RGB", (8, 8))))
    >>> kept(3, lambda row: Decoded(None)) is picture
    True
    """

    def __init__(self, rows: int, *, most: int) -> None:
        self._rows, self._most = rows, most
        self._held: dict[int, Decoded] | None = {} if most > 0 else None
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, row: int, decode: Callable[[int], Decoded]) -> Decoded:
        held = self._held
        if held is None:
            return decode(row)
        return held.get(row) or self._keep(row, decode(row))

    def _keep(self, row: int, decoded: Decoded) -> Decoded:
        own = Decoded(*(picture and picture.copy() for picture in decoded))  # without what its file's reader holds
        with self._lock:
            if self._held is not None and row not in self._held:
                self._held[row] = own
                self._bytes += sum(map(_size, own))
                if not self._fits(len(self._held)):
                    self._held = None
        return own

    def _fits(self, count: int) -> bool:
        if self._bytes > self._most:
            return False
        if count % _JUDGED:
            return True
        foretold = self._bytes * self._rows / count
        return foretold <= self._most and 2 * (foretold - self._bytes) <= bytes_at_hand()


def _size(picture: Any) -> int:
    return 0 if picture is None else _OBJECT + picture.width * picture.height * (4 if picture.mode == "RGB" else 1)
