"""`images:FOLDER` and `images:TABLE`: picture files, a folder a class or a table of paths, decoded while training.

FOLDER/images/… beside FOLDER/masks/… with the same names are pictures with a class for every pixel (see masks.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxnets.data import masks
from jaxnets.data.images import fitted_moments
from jaxnets.data.listed import classified, listing_rows
from jaxnets.data.listing import Listing, folder, list_files
from jaxnets.data.picture_reader import PictureReader
from jaxnets.data.pictures import SUFFIXES, Images
from jaxnets.data.reader import Bad
from jaxnets.data.schema import Dataset, Split, pixel_schema
from jaxnets.data.table import reading
from jaxnets.errors import DataError
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data


def lists(name: str) -> bool:
    """Whether `images:name` is a folder or a table of paths, and not files that hold the pictures themselves."""
    if any(mark in name for mark in "*?,"):  # patterns of files, with splits of their own
        return False
    suffix = Path(name).suffix.lower()
    return (suffix in reading.SUFFIXES and suffix not in (".parquet", ".pq")) or folder(name) is not None


def read(config: Data, name: str) -> Dataset:
    """The source `images:name`. ConfigError says what is wrong in the config; DataError names the file."""
    bad = Bad(config.on_bad, most=config.most_bad)
    label = None if config.names else config.target
    found = list_files(name, kind="images", suffixes=SUFFIXES, bad=bad, label_column=label)
    if masks.are_pairs(found):
        listing, goal = masks.paired(found), "mask"
        known = masks.classes_of(listing, config.workers)
        reader, classes = masks.PairReader(listing, config.images, bad, known), known.names
    else:
        ways = "data.names as in {label}_{number}.png, or folders images and masks"
        listing, goal = classified(config, found, bad, ways=ways), "class"
        reader, classes = _reader(listing, config.images, bad), listing.classes
    rows = listing_rows(config, listing)
    splits = {split: _split(listing, reader, ids) for split, ids in rows.items()}
    if not splits["train"].length:
        raise DataError(f"{config.source}: the train split is empty; lower data.valid and data.test")
    fitted = fitted_moments(splits["train"]) if config.standardize else ((), ())
    hashes = (found if goal == "mask" else listing).known_by()
    schema = pixel_schema(
        config.source,
        splits,
        shape=(config.images.size, config.images.size, 3),
        classes=classes,
        fitted=fitted,
        fingerprint=fingerprint(hashes),
        files=hashes,
        target_kind=goal,
    )
    return Dataset(schema, splits)


def _reader(listing: Listing, config: Images, bad: Bad) -> PictureReader:
    def encoded(row: int) -> bytes:
        return listing.file(row).read_bytes()

    return PictureReader(encoded, lambda row: str(listing.file(row)), config, bad, rows=len(listing))


def _split(listing: Listing, reader: PictureReader | masks.PairReader, ids: np.ndarray) -> Split:
    arrays = {} if "targets" in reader.leaves else {"targets": _labels(listing)[ids]}
    return Split(arrays, len(ids), rows=ids, origins=_origins(listing.paths), reader=reader)


def _labels(listing: Listing) -> np.ndarray:
    assert listing.labels is not None
    return listing.labels


def _origins(paths: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple((path, row) for row, path in enumerate(paths))
