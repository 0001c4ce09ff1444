"""Encoded pictures by their number, cut for a batch: from files, row groups, data sets (see Reader)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from jaxnets.data.draws import Draw
from jaxnets.data.kept import Kept
from jaxnets.data.pictures import BadPicture, Decoded, Images, cut_out, decoded
from jaxnets.data.reader import Bad, Leaf


class PictureReader:
    """Reads one picture after the other (see Reader); those of a small source are decoded once.

    encoded: number -> bytes; where: number -> where it is, for a message
    rows:    how many pictures there are
    share:   of what may be kept of the source
    leaf:    the name that they have in a batch
    """

    def __init__(
        self,
        encoded: Callable[[int], bytes],
        where: Callable[[int], str],
        config: Images,
        bad: Bad,
        *,
        rows: int,
        share: float = 1.0,
        leaf: str = "inputs",
    ) -> None:
        self._encoded, self._where, self._config, self._bad, self._leaf = encoded, where, config, bad, leaf
        self._kept = Kept(rows, most=int(share * config.keep_gib * 2**30))

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        return {self._leaf: Leaf((self._config.size, self._config.size, 3), "uint8")}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        for place, row in enumerate(rows.tolist()):
            draw = None if draws is None else Draw(draws[place])
            try:
                out[self._leaf][place], _ = cut_out(self._kept(row, self._decoded), self._config, draw)
            except (BadPicture, OSError) as error:
                out["weight"][place] = 0  # unless the next line raises
                self._bad(self._where(row), f"not a readable image ({error})")

    def _decoded(self, row: int) -> Decoded:
        return decoded(self._encoded(row))
