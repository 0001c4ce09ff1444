"""Conclusions about folders of pictures and of sounds, pictures with masks, and tables of pictures and texts."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.config import Experiment
from jaxnets.data import Audio, Data, Dataset, Images, Texts, load
from jaxnets.data import pairs as data_pairs
from jaxnets.data.audio.decoding import BadSound, heard
from jaxnets.data.pictures import BadPicture, opened
from jaxnets.draft import choice
from jaxnets.draft.outline import Outline, answered
from jaxnets.draft.place import Found, pair_columns
from jaxnets.errors import DataError
from jaxnets.inspection import cheap
from jaxnets.tasks import Classification, Contrastive, Segmentation

_LOOKED_AT = 200  # files whose size is asked for, evenly among them
_SIZES = (32, 64, 128, 224)  # pixels a side that pictures are brought to
_SHARES: dict[str, Any] = {"valid": 0.1, "test": 0.2}
_CLASSES = Classification(label_smoothing=0.05)
_MOST_SECONDS = 10.0


def pictures(found: Found) -> Outline:
    """A classifier of picture files, or of each of their pixels. DataError naming a file that cannot be read."""
    side = side_of(_sizes(found.files))
    reasons = {"data.images": "cut and scaled to one square while training"}
    data = Data(source=found.source, images=Images(size=side, area=0.35), **_SHARES)
    dataset = load(data)
    if dataset.schema.target_kind == "mask":
        chosen = choice.for_masks(_trained(dataset), side=side)
        return _concluded(found, data, dataset, chosen, Segmentation(), reasons, "the class of each pixel of a picture")
    chosen = choice.for_pictures(_trained(dataset), side=side, channels=3)
    return _concluded(found, data, dataset, chosen, _CLASSES, reasons, "the class of a picture")


def sounds(found: Found) -> Outline:
    """A classifier of sound files. DataError naming a file that cannot be read."""
    audio = _audio(found.files)
    data = Data(source=found.source, audio=audio, **_SHARES)
    dataset = load(data)
    chosen = choice.for_sounds(_trained(dataset))
    why = f"as most of the files: {audio.rate} samples a second, {audio.seconds:g} seconds"
    return _concluded(found, data, dataset, chosen, _CLASSES, {"data.audio": why}, "the class of a sound")


def pairs(found: Found) -> Outline:
    """Two towers for pictures and what is said of them. DataError naming a file that cannot be read."""
    (file,) = found.files
    columns = pair_columns(file)
    assert columns is not None
    column, text = columns
    data = Data(source=found.source, context=1, texts=Texts(column=text, tokenizer="plain", lower=True))
    whole = data_pairs.whole(data, found.source.partition(":")[2])
    side = side_of(_sizes(tuple(file.parent / path for path, _ in whole.origins)))
    longest = float(np.quantile([len(said.split()) for said in whole.texts], 0.98))
    train = max(2, len(whole.rows) * 7 // 10)
    chosen = choice.for_pairs(train, side=side)
    data = replace(
        data, batch_size=chosen.batch_size, context=4 * math.ceil(max(1.0, longest) / 4), **_SHARES,
        images=Images(size=side, area=0.6),
    )  # fmt: skip
    dataset = load(data)
    findings = cheap(dataset, data)
    reasons = {
        "data.context": "words that are seen of a text; all of almost every one",
        "data.images": "cut and scaled to one square while training",
        "data.texts": f"{text} holds them; what stands between blanks is a token; words, of the extra text, is finer",
        "data.valid": "share that chooses the best weights",
        "data.test": "share that is tested on; of images, so that none is in two splits",
    }
    experiment = Experiment(data=data, model=chosen.model, task=Contrastive(), optim=chosen.optim, loop=chosen.loop)
    count = len(set(whole.images.tolist()))
    title = f"{found.name}: which of {len(whole.rows):,} texts goes with which of {count:,} pictures ({column})."
    lines = [f"then jaxnets predict runs/{found.name} PICTURE --text 'ONE TEXT' --text 'ANOTHER'"]
    return Outline(experiment, title, lines, chosen.reasons | reasons, tuple(findings))


def side_of(sizes: list[tuple[int, int]]) -> int:
    """The square nearest to the shorter side of the middle one of (width, height).

    >>> side_of([(30, 40), (33, 28), (500, 400)])
    32
    """
    middle = sorted(map(min, sizes))[len(sizes) // 2]
    return min(_SIZES, key=lambda size: abs(size - middle))


def _concluded(
    found: Found,
    data: Data,
    dataset: Dataset,
    chosen: choice.Choice,
    task: Classification | Segmentation,
    reasons: dict[str, str],
    what: str,
) -> Outline:
    schema, train = dataset.schema, _trained(dataset)
    data = dataclasses.replace(data, batch_size=min(chosen.batch_size, max(1, train // 2)), augment=chosen.augment)
    findings = cheap(dataset, data)
    data, more = answered(data, findings)
    experiment = Experiment(data=data, model=chosen.model, task=task, optim=chosen.optim, loop=chosen.loop)
    classes = ", ".join(schema.classes[:8]) + (", …" if len(schema.classes) > 8 else "")
    shares = {"data.valid": "share that chooses the best weights", "data.test": "share that is tested on"}
    return Outline(
        experiment,
        f"{found.name}: {what}, from {train:,} files.",
        [f"classes {len(schema.classes)}: {classes}"],
        chosen.reasons | shares | reasons | more,
        tuple(findings),
    )


def _trained(dataset: Dataset) -> int:
    """How many files are trained on."""
    return dict(dataset.schema.counts)["train"]


def _looked_at(files: tuple[Path, ...]) -> list[Path]:
    places = np.unique(np.linspace(0, len(files) - 1, min(len(files), _LOOKED_AT)).astype(int))
    return [files[place] for place in places]


def _sizes(files: tuple[Path, ...]) -> list[tuple[int, int]]:
    sizes = []
    for path in _looked_at(files):
        try:
            sizes.append(opened(path.read_bytes(), "RGB").size)
        except (BadPicture, OSError) as error:
            raise DataError(f"{path}: not a readable image ({error}); mend or remove it") from error
    return sizes


def _audio(files: tuple[Path, ...]) -> Audio:
    """The rate of the middle one, at most 16 000; a length that nine of ten fit into, in tenths of a second."""
    rates, lengths = [], []
    for path in _looked_at(files):
        try:
            rate, seconds = heard(path)
        except (BadSound, OSError) as error:
            raise DataError(f"{path}: {error}; mend or remove it") from error
        rates.append(rate)
        lengths.append(seconds)
    seconds = math.ceil(10 * float(np.quantile(lengths, 0.9)) - 1e-6) / 10
    rate = min(16000, sorted(rates)[len(rates) // 2])
    mels = 64 if rate > 8000 else 40
    seconds = min(_MOST_SECONDS, max(0.1, seconds))
    return Audio(rate=rate, seconds=seconds, mels=mels, frame_seconds=0.032, hop_seconds=0.02, range_db=60.0)
