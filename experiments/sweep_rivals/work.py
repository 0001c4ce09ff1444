"""What every contender does: so many trials of one MLP on the digits, and what each is told at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxnets import Data
from jaxnets import data as sources


@dataclass(frozen=True)
class Work:
    """One sweep: `trials` of an MLP of two hidden layers of `width`, each of `steps` batches, then valid and test."""

    width: int = 64
    trials: int = 256
    steps: int = 300
    batch_size: int = 32
    seed: int = 0  # of the searcher

    @property
    def data(self) -> Data:
        return Data(source="digits", batch_size=self.batch_size)


class Settings(NamedTuple):
    """One trial's point of the space: the ranges are `LR`, `WEIGHT_DECAY`, `LABEL_SMOOTHING` and `SEED`."""

    lr: float
    weight_decay: float
    label_smoothing: float
    seed: int


LR = WEIGHT_DECAY = (1e-4, 1e-1)  # logarithmic
LABEL_SMOOTHING = (0.0, 0.2)
SEED = (0, 9999)


class Outcome(NamedTuple):
    """What a trial ends with; nll without smoothing, so that trials can be compared. NaN if it diverged."""

    valid_nll: float
    valid_accuracy: float
    test_nll: float
    test_accuracy: float


class Arrays(NamedTuple):
    """Inputs (n features), standardised, and classes (n) of each split."""

    train: tuple[np.ndarray, np.ndarray]
    valid: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def arrays(work: Work) -> Arrays:
    """The splits as the models of jaxnets see them, flat."""
    dataset = sources.load(work.data)

    def split(name: str) -> tuple[np.ndarray, np.ndarray]:
        held = dataset.splits[name].arrays
        inputs = np.asarray(sources.preprocess(dataset.schema, held["inputs"]), np.float32)
        return inputs.reshape(len(inputs), -1), np.asarray(held["targets"], np.int32)

    return Arrays(split("train"), split("valid"), split("test"))


def rows(seed: int, length: int, steps: int, batch_size: int) -> np.ndarray:
    """(steps, batch_size) example numbers: a trial's own order, one permutation after the other."""
    draw = np.random.default_rng(seed)
    epochs = math.ceil(steps * batch_size / length)
    order = np.concatenate([draw.permutation(length) for _ in range(epochs)]).astype(np.int32)
    return order[: steps * batch_size].reshape(steps, batch_size)


def drawn(work: Work) -> list[Settings]:
    """As many points as there are trials, drawn at once with NumPy, as one does without a searcher."""
    draw = np.random.default_rng(work.seed)
    count = work.trials
    columns = (
        np.exp(draw.uniform(*np.log(LR), count)),
        np.exp(draw.uniform(*np.log(WEIGHT_DECAY), count)),
        draw.uniform(*LABEL_SMOOTHING, count),
        draw.integers(SEED[0], SEED[1] + 1, count),
    )
    return [Settings(*(one.item() for one in point)) for point in zip(*columns, strict=True)]
