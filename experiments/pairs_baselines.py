"""What the recipe of drawn scenes can be compared with: retrieval of its test texts without a network.

python experiments/pairs_baselines.py

chance      closed form: a row with R right texts of N finds one first with R / N
words       knows every word of a text, but not their order: among the texts of the same words it guesses
linear      a ridge regression from pixels to the words at each place of the text, and the cosine to each test text
"""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np

from jaxnets import config, data
from jaxnets.tasks.contrastive import wrong_ahead

RECIPE = Path(__file__).parents[1] / "configs" / "shapes_two_tower.py"
_RIDGE = 1e3


def arrays(split: data.Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pixels (n p), tokens (n t), (n 2) what is the same) of a split."""
    ones = np.ones(split.length, np.float32)
    batch = data.fetch(split, data.Wanted(np.arange(split.length, dtype=np.int32), ones))
    pixels = batch["inputs"]["image"].reshape(split.length, -1).astype(np.float32) / 255
    return pixels, batch["inputs"]["text"], batch["targets"]


def chance(same: np.ndarray, k: int) -> float:
    """The share of rows for which the first k of a random order hold a right one."""
    right = (same[:, None] == same[None]).any(axis=-1).sum(axis=1)
    return float(np.mean([1 - comb(len(same) - int(r), k) / comb(len(same), k) for r in right]))


def by_words(tokens: np.ndarray, same: np.ndarray, k: int) -> float:
    """The same, where only the texts of the same words are in question."""
    bags = np.unique(np.sort(tokens, axis=1), axis=0, return_inverse=True)[1].ravel()
    found = []
    for row, bag in enumerate(bags):
        near = np.flatnonzero(bags == bag)
        right = int((same[near] == same[row]).any(axis=-1).sum())
        found.append(1.0 if len(near) <= k else 1 - comb(len(near) - right, k) / comb(len(near), k))
    return float(np.mean(found))


def linear(train: data.Split, test: data.Split, vocabulary: int) -> np.ndarray:
    """How many wrong texts are ahead of the right one for each test image."""
    x, words, _ = arrays(train)
    y = np.eye(vocabulary, dtype=np.float32)[words].reshape(len(x), -1)
    middle, mean = x.mean(axis=0), y.mean(axis=0)
    gram = (x - middle).T @ (x - middle) + _RIDGE * np.eye(x.shape[1], dtype=np.float32)
    weights = np.linalg.solve(gram, (x - middle).T @ (y - mean))
    seen, said, same = arrays(test)
    told = np.eye(vocabulary, dtype=np.float32)[said].reshape(len(seen), -1) - mean
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    return wrong_ahead((seen - middle) @ weights, told, same)


def main() -> None:
    dataset = data.load(config.load(RECIPE).data)
    test = dataset.splits["test"]
    _, tokens, same = arrays(test)
    ahead = linear(dataset.splits["train"], test, dataset.schema.vocabulary_size)
    print("image to text, recall at  1      5")
    for name, figure in (
        ("chance", lambda k: chance(same, k)),
        ("words", lambda k: by_words(tokens, same, k)),
        ("linear", lambda k: float((ahead < k).mean())),
    ):
        print(f"{name:25} {figure(1):.4f} {figure(5):.4f}")


if __name__ == "__main__":
    main()
