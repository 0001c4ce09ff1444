"""`video:FOLDER` and `video:TABLE`: files of video, a folder a class or a table of paths; see `data.listing`.

Which part of a file a training example shows follows from the seed and its place in the stream of examples alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxnets.data.draws import Draw
from jaxnets.data.listed import classified, listing_rows
from jaxnets.data.listing import Listing, list_files
from jaxnets.data.reader import Bad, Leaf
from jaxnets.data.schema import Dataset, Split, moments, pixel_schema
from jaxnets.data.video.clips import SUFFIXES, Video, read_clip
from jaxnets.data.video.decoding import BadClip
from jaxnets.errors import ConfigError, DataError
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_FITTED = 64  # train clips that mean and deviation are fitted on, evenly spread


class VideoReader:
    """The clips of a listing, each read when it is wanted (see Reader)."""

    def __init__(self, listing: Listing, config: Video, bad: Bad) -> None:
        self._listing, self._config, self._bad = listing, config, bad

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        return {"inputs": Leaf((self._config.frames, self._config.size, self._config.size, 3), "uint8")}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        for place, row in enumerate(rows):
            draw = None if draws is None else Draw(draws[place])
            path = self._listing.file(int(row))
            try:
                out["inputs"][place] = read_clip(path, self._config, draw)
            except (BadClip, OSError) as error:
                out["weight"][place] = 0  # unless the next line raises
                self._bad(str(path), error)


def read(config: Data, name: str) -> Dataset:
    """The source `video:name`. ConfigError says what is wrong in the config; DataError names the file."""
    _check(config.video)
    bad = Bad(config.on_bad, most=config.most_bad)
    label = None if config.names else config.target
    listing = list_files(name, kind="video", suffixes=SUFFIXES, bad=bad, label_column=label)
    listing = classified(config, listing, bad, ways="or data.names as in {label}_{number}.mp4")
    reader = VideoReader(listing, config.video, bad)
    splits = {split: _split(listing, reader, ids) for split, ids in listing_rows(config, listing).items()}
    if not splits["train"].length:
        raise DataError(f"{config.source}: the train split is empty; lower data.valid and data.test")
    fitted = _moments(reader, splits["train"]) if config.standardize else ((), ())
    hashes = listing.known_by()
    schema = pixel_schema(
        config.source,
        splits,
        shape=reader.leaves["inputs"].shape,
        classes=listing.classes,
        fitted=fitted,
        fingerprint=fingerprint(hashes),
        files=hashes,
    )
    return Dataset(schema, splits)


def _check(config: Video) -> None:
    for name in ("frames", "step", "size"):
        if getattr(config, name) < 1:
            raise ConfigError(f"data.video.{name} {getattr(config, name)}: give at least 1")
    for name in ("area", "centre"):
        if not 0 < getattr(config, name) <= 1:
            raise ConfigError(f"data.video.{name} {getattr(config, name)}: give a share above 0, at most 1")


def _split(listing: Listing, reader: VideoReader, ids: np.ndarray) -> Split:
    assert listing.labels is not None
    origins = tuple((path, row) for row, path in enumerate(listing.paths))
    return Split({"targets": listing.labels[ids]}, len(ids), rows=ids, origins=origins, reader=reader)


def _moments(reader: VideoReader, train: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    ids = np.unique(np.linspace(0, train.length - 1, min(train.length, _FITTED)).astype(int))
    out = {
        "inputs": np.zeros((len(ids), *reader.leaves["inputs"].shape), np.uint8),
        "weight": np.ones(len(ids), np.float32),
    }
    reader.fill(train.row(ids), out, None)
    return moments(out["inputs"][out["weight"] > 0])
