"""`pairs:TABLE`: images and what texts say of them, a row a pair: paths of files, or parquet files with the images.

TABLE.csv           a column of paths (relative to the table's folder) and one of texts; others as they are, `split`
                    among them. An image may stand in several rows: all of them are in one split.
PATTERN.parquet     encoded images in place of paths, read while training as those of `images:` are; with
                    `,valid=PATTERN` and `,test=PATTERN` for splits of their own. Each row is an image of its own.

Images are decoded and cut while training; texts are tokens in memory, as those of `texts:`. Targets (2,) say which
image and which text a pair holds, so that pairs which share one are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxnets.data import texts as text_inputs
from jaxnets.data import tokenizer
from jaxnets.data.images import RowGroups, columns_of, fitted_moments, near_rows
from jaxnets.data.listed import listing_rows
from jaxnets.data.listing import PATHS, Listing, folder, list_files
from jaxnets.data.order import Groups
from jaxnets.data.picture_reader import PictureReader
from jaxnets.data.pictures import SUFFIXES
from jaxnets.data.place import locate
from jaxnets.data.reader import Bad, Reader
from jaxnets.data.schema import Dataset, Part, Schema, Split
from jaxnets.data.shards import bounds, files_of, known_by
from jaxnets.data.table import reading
from jaxnets.errors import ConfigError, DataError, near
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data

IMAGE = "inputs.image"  # what a reader of pairs gives
COLUMNS = ("image", *PATHS)  # what the column of images is called, if not said
_BINARY = (".parquet", ".pq")


class Pairs(NamedTuple):
    """The pairs of one split.

    texts, images: of each pair its text, and a number that is equal where the image is
    rows, origins, groups: as in a Split; where: row -> its place, for a message
    """

    texts: Sequence[str]
    images: np.ndarray
    rows: np.ndarray
    reader: Reader
    origins: tuple[tuple[str, int], ...]
    where: Any
    groups: Groups | None = None

    def take(self, kept: np.ndarray) -> Pairs:
        """Those of these places alone; images that are read together stay so."""
        texts = [self.texts[place] for place in kept]
        return self._replace(texts=texts, images=self.images[kept], rows=self.rows[kept], groups=None)


def read(config: Data, name: str) -> Dataset:
    """The source `pairs:name`. ConfigError says what is wrong in the config; DataError names file and row."""
    text_inputs.window(config)
    bad = Bad(config.on_bad, most=config.most_bad)
    if folder(name) is not None:
        raise DataError(f"pairs:{name} is a folder; give a table with a column of paths and a column of texts")
    column = _column(config, name)
    encoded = _holds_images(config, name, column)
    found, hashes = (_of_files if encoded else _of_paths)(config, name, column, bad)
    return dataset(config, found, hashes, bad)


def dataset(config: Data, found: Mapping[str, Pairs], hashes: Mapping[str, str], bad: Bad) -> Dataset:
    """The data set of these pairs: texts become tokens, in the words of the train split."""
    if not len(found["train"].rows):
        raise DataError(f"{config.source}: the train split is empty; lower data.valid and data.test")
    context, crop = text_inputs.window(config), config.texts.crop
    coder = tokenizer.made(config.texts, found["train"].texts)
    encode, splits = tokenizer.opened(coder).encode, {}
    for split, pairs in found.items():
        tokens = encode(pairs.texts)
        if crop == "never":
            fits = np.array([_fits(pairs, place, len(own), context, bad) for place, own in enumerate(tokens)], bool)
            pairs, tokens = pairs.take(np.flatnonzero(fits)), [tokens[place] for place in np.flatnonzero(fits)]
        targets = np.stack([pairs.images, _numbered(pairs.texts)], axis=1).astype(np.int32)
        arrays = {"inputs": {"text": text_inputs.padded(tokens, context, crop=crop)}, "targets": targets}
        splits[split] = Split(
            arrays, len(pairs.rows), rows=pairs.rows, origins=pairs.origins, reader=pairs.reader, groups=pairs.groups
        )
    mean, std = fitted_moments(splits["train"], leaf=IMAGE) if config.standardize else ((), ())
    image = found["train"].reader.leaves[IMAGE]
    schema = Schema(
        source=config.source,
        fingerprint=fingerprint({**hashes, "text": config.texts.column, "tokenizer": coder}),
        input_kind="pair",
        input_shape=image.shape,
        input_dtype=image.dtype,
        target_kind="pair",
        feature_names=(config.texts.column,),
        input_mean=mean,
        input_std=std,
        vocabulary_size=tokenizer.opened(coder).size + 1,
        counts=tuple((split, part.length) for split, part in splits.items()),
        files=tuple(hashes.items()),
        parts=(Part("image", image.shape, image.dtype), Part("text", (context,), "int32")),
        tokenizer=coder,
        crop=crop,
    )
    return Dataset(schema, splits)


def _fits(pairs: Pairs, place: int, length: int, context: int, bad: Bad) -> bool:
    if length > context:
        bad(pairs.where(int(pairs.rows[place])), f"its text has {length} tokens, more than data.context {context}")
    return length <= context


def _numbered(values: Sequence[str]) -> np.ndarray:
    """(n,) numbers that are equal where the values are."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], np.int64)


def _column(config: Data, name: str) -> str:
    """The column of images of the first file, which must have the column of texts as well."""
    path = locate(name) if "," not in name and "*" not in name else files_of("pairs", name)["train"][0]
    if path is None or path.suffix.lower() not in reading.SUFFIXES:
        allowed = ", ".join(reading.SUFFIXES)
        raise DataError(f"pairs:{name}: no such table is here or in JAXNETS_DATA; give one that ends in {allowed}")
    names = reading.header(path)
    for key, wanted in (("data.texts.column", config.texts.column), ("data.images.column", config.images.column)):
        if wanted is not None and wanted not in names:
            raise ConfigError(
                f"{key} {wanted!r} is no column of {path}, which has {', '.join(names[:8])}{near(wanted, names)}; "
                f"give one of them with --{key}"
            )
    column = column_of(config, names)
    if column is None:
        raise DataError(
            f"{path} has no column {', '.join(COLUMNS)}; say which of {', '.join(names[:8])} holds the paths, or the "
            "encoded images, with --data.images.column"
        )
    return column


def column_of(config: Data, names: Sequence[str]) -> str | None:
    """Which of these columns holds images: the one that is named, or the first usual one."""
    wanted = (config.images.column,) if config.images.column is not None else COLUMNS
    return next((name for name in wanted if name in names), None)


def _holds_images(config: Data, name: str, column: str) -> bool:
    """Whether the column holds encoded images, and not paths."""
    if not name.partition(",")[0].lower().endswith(_BINARY):
        return False
    import pyarrow
    from pyarrow import parquet

    kind = parquet.ParquetFile(files_of("pairs", name)["train"][0]).schema_arrow.field(column).type
    return not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def whole(config: Data, name: str) -> Pairs:
    """All pairs of a table, whatever its splits, in order. Raises DataError at the first bad row."""
    bad, column = Bad("stop", most=0), _column(config, name)
    if not _holds_images(config, name, column):
        return _listed(config, _listing(config, name, column, bad), bad)
    paths = files_of("pairs", name)["train"]
    texts = _texts(paths, column, config.texts.column, bad)
    groups = RowGroups(paths, column, pool=config.images.pool)
    reader = _reader(config, groups, len(texts), len(texts), bad)
    return _streamed(config, groups, reader, texts, np.arange(len(texts)))


def _listing(config: Data, name: str, column: str, bad: Bad) -> Listing:
    text = config.texts.column
    return list_files(name, kind="pairs", suffixes=SUFFIXES, bad=bad, path_column=column, text_column=text)


def _listed(config: Data, listing: Listing, bad: Bad) -> Pairs:
    """The pairs of files and of what their table says of them."""

    def encoded(row: int) -> bytes:
        return listing.file(row).read_bytes()

    def where(row: int) -> str:
        return str(listing.file(row))

    texts = [str(one) for one in listing.columns[config.texts.column]]
    reader = PictureReader(encoded, where, config.images, bad, rows=len(listing), leaf=IMAGE)
    origins = tuple((path, row) for row, path in enumerate(listing.paths))
    return Pairs(texts, _numbered(listing.paths), np.arange(len(listing)), reader, origins, where)


def _of_paths(config: Data, name: str, column: str, bad: Bad) -> tuple[dict[str, Pairs], dict[str, str]]:
    """Files that a table names; drawn splits are of images, so that none is in two of them."""
    listing = _listing(config, name, column, bad)
    pairs = _listed(config, listing, bad)
    splits = _splits(config, listing, pairs.images)
    return {split: pairs.take(rows) for split, rows in splits.items()}, _known_by(listing, pairs.texts)


def _splits(config: Data, listing: Listing, images: np.ndarray) -> dict[str, np.ndarray]:
    if config.split_by != "random" or listing.splits:
        return listing_rows(config, listing)
    _, firsts = np.unique(images, return_index=True)
    drawn = listing_rows(config, listing.take(firsts.tolist()))
    return {split: np.flatnonzero(np.isin(images, ids)) for split, ids in drawn.items()}


def _known_by(listing: Listing, texts: Sequence[str]) -> dict[str, str]:
    return {**listing.known_by(), "what its texts say": fingerprint({str(row): text for row, text in enumerate(texts)})}


def _of_files(config: Data, name: str, column: str, bad: Bad) -> tuple[dict[str, Pairs], dict[str, str]]:
    """Parquet files; splits without files of their own are shares of the rows of the train files, as of `images:`."""
    if config.folds is not None:
        raise ConfigError(f"data.folds {config.folds}: {config.source} is read in the order of its files; leave it out")
    text, files = config.texts.column, files_of("pairs", name)
    texts = {split: _texts(paths, column, text, bad) for split, paths in files.items()}
    groups = {split: RowGroups(paths, column, pool=config.images.pool) for split, paths in files.items()}
    total, found = sum(map(len, texts.values())), {}
    readers = {split: _reader(config, groups[split], len(own), total, bad) for split, own in texts.items()}
    for split, (first, last) in bounds(config, {split: len(own) for split, own in texts.items()}).items():
        own = split if split in files else "train"
        found[split] = _streamed(config, groups[own], readers[own], texts[own], np.arange(first, last))
    return found, known_by([path for paths in files.values() for path in paths])


def _reader(config: Data, groups: RowGroups, rows: int, total: int, bad: Bad) -> PictureReader:
    how = {"rows": rows, "share": rows / total, "leaf": IMAGE}
    return PictureReader(groups.encoded, groups.where, config.images, bad, **how)


def _streamed(
    config: Data, groups: RowGroups, reader: PictureReader, texts: Sequence[str | None], rows: np.ndarray
) -> Pairs:
    """The pairs of those of these rows that have a text."""
    rows = np.array([row for row in rows if texts[row] is not None], np.int64)
    near = near_rows(groups, rows, pool=config.images.pool)
    return Pairs([str(texts[row]) for row in rows], rows, rows, reader, groups.origins, groups.where, near)


def _texts(paths: list[Path], column: str, text: str, bad: Bad) -> list[str | None]:
    """The text of each row; None where there is none, which is a bad row."""
    found = []
    for path in paths:
        for row, said in enumerate(columns_of(path, (column, text), (text,))[text]):
            there = isinstance(said, str) and said.strip() != ""
            if not there:
                bad(f"{path}, row {row}", f"its text is {'missing' if said is None else repr(said)}; it must be text")
            found.append(said if there else None)
    return found
