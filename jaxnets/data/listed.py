"""The files of a listing dealt out to train, valid and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnets.data.listing import Listing
from jaxnets.data.names import with_names
from jaxnets.data.partition import split_rows
from jaxnets.data.reader import Bad
from jaxnets.data.table.splitting import split_by
from jaxnets.errors import ConfigError, DataError, near

if TYPE_CHECKING:
    from jaxnets.data.source import Data


def classified(config: Data, listing: Listing, bad: Bad, *, ways: str) -> Listing:
    """The listing with the columns of its names; DataError without classes, which names `ways` to give them."""
    listing = with_names(listing, config.names, bad, label=config.target)
    if listing.labels is None or len(listing.classes) < 2:
        raise DataError(
            f"{config.source} does not say of what class its files are, or all are of one; give a folder a class, "
            f"a table with a column label, {ways}"
        )
    return listing


def listing_rows(config: Data, listing: Listing) -> dict[str, np.ndarray]:
    """The files of each split: the listing's own, random and stratified ones, folds, or as `data.split_by` says.

    Columns are those of the table or of the names, and `path`.
    """
    columns: Mapping[str, Sequence[str | None]] = {**listing.columns, "path": listing.paths}

    def column(name: str) -> list[Any]:
        if name not in columns:
            raise ConfigError(
                f"data.split_by {config.split_by}: {config.source} has no column {name}; it has "
                f"{', '.join(columns)}{near(name, columns)}"
            )
        return list(columns[name])

    if config.split_by != "random":
        return split_by(config, len(listing), column)
    labels = np.zeros(len(listing), np.int32) if listing.labels is None else listing.labels
    if not listing.splits:
        return split_rows(config, labels, listing.classes, {})
    kinds = np.asarray(listing.splits)
    order = np.argsort(kinds, kind="stable")
    ranges, start = {}, 0
    for kind, count in zip(*np.unique(kinds, return_counts=True), strict=True):
        ranges[str(kind)] = (start, start + int(count))
        start += int(count)
    found = split_rows(config, labels[order], listing.classes, ranges)
    return {split: np.sort(order[ids]) for split, ids in found.items()}
