"""Encoded rows on the disk: written once into the cache and read row by row: memory does not grow with the data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.data.cache import prepared
from jaxnets.data.schema import Part


class Stored:
    """An array (n …) in a file, of which `array[ids]` reads just those rows; no page of it stays mapped.

    A stored array is closed with the process, as a memory map would be.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str) -> None:
        self.shape, self.dtype, self.ndim = shape, np.dtype(dtype), len(shape)
        self._bytes = self.dtype.itemsize * int(np.prod(shape[1:]))
        self.nbytes = self._bytes * shape[0]
        self._file = os.open(path, os.O_RDONLY)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, ids: Any) -> np.ndarray:
        if isinstance(ids, slice):
            ids = np.arange(*ids.indices(len(self)))
        ids = np.asarray(ids)
        flat = ids.reshape(-1).astype(np.int64)
        out = np.empty((len(flat), *self.shape[1:]), self.dtype)
        flat_out: Any = out.reshape(-1).view(np.uint8)
        view = memoryview(flat_out)
        for place, row in enumerate((flat * self._bytes).tolist()):
            os.preadv(self._file, [view[place * self._bytes : (place + 1) * self._bytes]], row)
        return out.reshape(*ids.shape, *self.shape[1:])

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


def write(
    encoded: Iterator[tuple[int, dict[str, np.ndarray]]],
    parts: Sequence[Part],
    rows: Mapping[str, np.ndarray],
    key: str,
) -> dict[str, dict[str, Stored]]:
    """{split: {part: its rows on the disk}} of chunks (first row, arrays) in order; kept in the cache under `key`."""

    def prepare(folder: Path) -> None:
        files = {(s, p.name): open(folder / f"{s}_{p.name}.bin", "wb") for s in rows for p in parts}  # noqa: SIM115
        try:
            for start, arrays in encoded:
                length = len(next(iter(arrays.values())))
                for split, ids in rows.items():
                    low, high = np.searchsorted(ids, (start, start + length))
                    for part in parts:
                        files[split, part.name].write(arrays[part.name][ids[low:high] - start].tobytes())
        finally:
            for file in files.values():
                file.close()

    folder = prepared(f"table/{key[:24]}-{_rows_key(rows)}", prepare)
    return {
        split: {p.name: Stored(folder / f"{split}_{p.name}.bin", (len(ids), *p.shape), p.dtype) for p in parts}
        for split, ids in rows.items()
    }


def _rows_key(rows: Mapping[str, np.ndarray]) -> str:
    from jaxnets.data.tables import fingerprint_arrays

    return fingerprint_arrays(*rows.values())[:12]
