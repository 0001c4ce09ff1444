"""Augmentations against what they say, example by example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.data import Crop, Cutout, Flip, Mixup, augment


@pytest.fixture(scope="module")
def batch():
    images = jax.random.normal(jax.random.key(0), (64, 6, 6, 3)) + 5.0
    return {"inputs": images, "targets": jnp.arange(64) % 4, "weight": jnp.ones(64).at[0].set(0.0)}


def apply(stage, batch, seed=0):
    return jax.jit(lambda key, batch: augment((stage,), key, batch, num_classes=4))(jax.random.key(seed), batch)


def test_flip_mirrors_about_half(batch):
    found, images = apply(Flip(), batch)["inputs"], batch["inputs"]
    same = (found == images).all(axis=(1, 2, 3))
    mirrored = (found == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all() and 12 < int(mirrored.sum()) < 52  # 5 standard deviations around 32


def test_crop_is_a_shift_filled_with_the_mean(batch):
    found, images = np.asarray(apply(Crop(padding=2), batch)["inputs"]), np.asarray(batch["inputs"])
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    shifts = set()
    for index in range(64):
        fits = [
            (r, c)
            for r in range(5)
            for c in range(5)
            if np.array_equal(padded[index, r : r + 6, c : c + 6], found[index])
        ]
        assert len(fits) == 1
        shifts.add(fits[0])
    assert len(shifts) > 15  # of 25


def test_cutout_sets_one_square_to_the_mean(batch):
    found, images = np.asarray(apply(Cutout(size=3), batch)["inputs"]), np.asarray(batch["inputs"])
    for before, after in zip(images, found, strict=True):
        hole = (after == 0).all(axis=-1)
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert 1 <= len(rows) <= 3 and 1 <= len(columns) <= 3 and hole.sum() == len(rows) * len(columns)
        np.testing.assert_array_equal(after[~hole], before[~hole])


def test_mixup_mixes_inputs_labels_and_weights_alike(batch):
    found = apply(Mixup(alpha=1.0), batch)
    one_hot = np.eye(4)[np.asarray(batch["targets"])]
    targets = np.asarray(found["targets"])
    # The one weight of 0 marks the share: it mixes with a 1, and its partner's with a 0.
    weights = np.asarray(found["weight"])
    share = 1 - weights[0]
    assert 0 < share < 1
    partner = int(np.flatnonzero((weights != 1) & (np.arange(64) != 0))[0])
    np.testing.assert_allclose(weights[partner], share, rtol=1e-6)
    images = np.asarray(batch["inputs"])
    np.testing.assert_allclose(found["inputs"][partner], share * images[partner] + (1 - share) * images[0], rtol=1e-5)
    np.testing.assert_allclose(targets[partner], share * one_hot[partner] + (1 - share) * one_hot[0], rtol=1e-5)
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-6)


def test_the_same_key_gives_the_same_and_stages_have_keys_of_their_own(batch):
    once, again, other = apply(Crop(), batch), apply(Crop(), batch), apply(Crop(), batch, seed=1)
    np.testing.assert_array_equal(once["inputs"], again["inputs"])
    assert not np.array_equal(once["inputs"], other["inputs"])
    twice = augment((Crop(), Crop()), jax.random.key(0), batch, num_classes=4)
    assert not np.array_equal(once["inputs"], twice["inputs"])
