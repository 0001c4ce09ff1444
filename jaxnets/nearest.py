"""What a run on pairs says of files: which text is nearest to an image, and where images and texts lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnets import evaluate
from jaxnets.data import Images, pairs, text_rows
from jaxnets.data.table import reading
from jaxnets.errors import DataError

_SHOWN = 20  # texts, up to which the probability of each is told


class Given(NamedTuple):
    """One file: images (n …), texts, or both of as many pairs."""

    file: str
    images: np.ndarray | None
    texts: list[str] | None


def of_table(file: Path, opened: evaluate.Opened, images: Images | None) -> Given:
    """The pairs of a table that has a column of images, or the texts of one that has none; of .txt its one text.

    images: how pictures are cut, as evaluation cut those of the run; None = they are scaled as a whole

    Raises DataError naming file and row of one that is bad.
    """
    config = evaluate.experiment_of(opened.settings).data
    texts = dataclasses.replace(config.texts, column=opened.schema.feature_names[0])
    images = images or Images(size=max(opened.schema.input_shape[:2]), centre=1.0)
    config = dataclasses.replace(config, texts=texts, images=images)
    if not file.is_file():
        raise DataError(f"{file} is not a file; give pictures, texts, or a table of both")
    is_table = file.suffix.lower() in reading.SUFFIXES and file.suffix.lower() != ".txt"
    if is_table and pairs.column_of(config, reading.header(file)) is not None:
        found = pairs.whole(config, str(file))
        leaf = found.reader.leaves[pairs.IMAGE]
        out = {pairs.IMAGE: np.zeros((len(found.rows), *leaf.shape), leaf.dtype)}
        out["weight"] = np.ones(len(found.rows), np.float32)
        found.reader.fill(found.rows, out, None)
        return Given(str(file), out[pairs.IMAGE], list(found.texts))
    return Given(str(file), None, text_rows.texts_of(config, file))


def rows(run_dir: Path, given: Sequence[Given]) -> Iterator[dict[str, Any]]:
    """Predictions as rows: of the images all texts are asked, of a pair its own one, too.

    Without texts, or without images, they are embeddings.
    """
    texts = list(dict.fromkeys(text for one in given for text in one.texts or ()))
    images = [one.images for one in given if one.images is not None]
    asked = {"image": np.concatenate(images)} if images else {}
    found = evaluate.predict(run_dir, asked | ({"text": texts} if texts else {}))
    if not (images and texts):
        yield from _embedded(given, next(iter(found.values())), texts)
        return
    start = 0
    for one in given:
        for row in range(_count(one)):
            alike, shares = found["similarity"][start + row], found["probabilities"][start + row]
            own = None if one.texts is None else one.texts[row]
            yield {"file": one.file, "row": row, **_told(texts, alike, shares, own)}
        start += _count(one)


def _count(given: Given) -> int:
    return 0 if given.images is None else len(given.images)


def _told(texts: Sequence[str], alike: np.ndarray, shares: np.ndarray, own: str | None) -> Mapping[str, Any]:
    """The nearest text; where an image has one of its own, how near that is, and which in order (1 = the nearest)."""
    best = int(alike.argmax())
    told: dict[str, Any] = {"nearest": texts[best], "similarity": float(alike[best]), "p": float(shares[best])}
    if own is not None:
        mine = float(alike[texts.index(own)])
        told |= {"text": own, "similarity of text": mine, "rank of text": 1 + int((alike > mine).sum())}
    if len(texts) <= _SHOWN:
        told |= {f"p({text})": float(share) for text, share in zip(texts, shares, strict=True)}
    return told


def _embedded(given: Sequence[Given], found: np.ndarray, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Where each image, or each different text, lies."""
    if texts:
        names = [{"text": text} for text in texts]
    else:
        names = [{"file": one.file, "row": row} for one in given for row in range(_count(one))]
    for name, place in zip(names, found, strict=True):
        yield name | {f"e{number}": float(value) for number, value in enumerate(place)}
