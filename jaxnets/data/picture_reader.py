"""Encoded pictures read one by one: wherever they lie, they are cut to one square and a broken one is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from jaxnets.data.pictures import BadPicture, Images, cut
from jaxnets.data.reader import Bad, Leaf


class PictureReader:
    """Encoded pictures by their number (see Reader).

    encoded: number -> bytes; where: number -> where it is, for a message; leaf: the name that they have in a batch
    """

    def __init__(
        self,
        encoded: Callable[[int], bytes],
        where: Callable[[int], str],
        config: Images,
        bad: Bad,
        *,
        leaf: str = "inputs",
    ) -> None:
        self._encoded, self._where, self._config, self._bad, self._leaf = encoded, where, config, bad, leaf

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        return {self._leaf: Leaf((self._config.size, self._config.size, 3), "uint8")}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        for place, row in enumerate(rows):
            draw = None if draws is None else np.random.Generator(np.random.Philox(key=draws[place]))
            try:
                out[self._leaf][place], _ = cut(self._encoded(int(row)), self._config, draw)
            except (BadPicture, OSError) as error:
                out["weight"][place] = 0  # unless the next line raises
                self._bad(self._where(int(row)), f"not a readable image ({error})")
