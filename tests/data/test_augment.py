"""Augmentations against what they say, example by example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.data import (
    AutoContrast,
    ColorJitter,
    Crop,
    CutMix,
    Cutout,
    Equalize,
    Flip,
    Invert,
    Mixup,
    Posterize,
    RandAugment,
    RandomErasing,
    RepeatedAugmentation,
    Sharpness,
    Solarize,
    augment,
)

ALL = [
    Flip(), Crop(padding=2), Cutout(size=3), Mixup(), CutMix(), RandomErasing(), ColorJitter(hue=0.1), Posterize(),
    Solarize(), Invert(), AutoContrast(), Equalize(), Sharpness(), RandAugment(), RepeatedAugmentation(times=4),
]  # fmt: skip


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


@pytest.mark.parametrize("fill, mode", [("mean", "constant"), ("reflect", "reflect")])
def test_crop_is_a_shift_filled_with_the_mean_or_the_image_mirrored(batch, fill, mode):
    found, images = np.asarray(apply(Crop(padding=2, fill=fill), batch)["inputs"]), np.asarray(batch["inputs"])
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode=mode)
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


def rectangle(mask):
    """The height and width of the one rectangle that `mask` (h w) holds."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert mask.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    return len(rows), len(columns)


def test_cutmix_pastes_one_rectangle_and_mixes_labels_by_its_area(batch):
    images, one_hot = np.asarray(batch["inputs"]), np.eye(4)[np.asarray(batch["targets"])]
    shares = []
    cut = jax.jit(lambda key: augment((CutMix(),), key, batch, num_classes=4))
    for seed in range(30):
        found = jax.device_get(cut(jax.random.key(seed)))
        pasted = (found["inputs"] != images).any(axis=(0, 3))
        if not pasted.any():
            assert np.array_equal(found["targets"], one_hot)
            continue
        rectangle(pasted)
        share = pasted.mean()
        changed = np.flatnonzero((found["inputs"] != images).any(axis=(1, 2, 3)))
        place = tuple(np.argwhere(pasted)[0])
        for index in changed[:8]:
            other = int(np.flatnonzero((images[(slice(None), *place)] == found["inputs"][index][place]).all(axis=1))[0])
            expected = np.where(pasted[..., None], images[other], images[index])
            np.testing.assert_array_equal(found["inputs"][index], expected)
            mixed = (1 - share) * one_hot[index] + share * one_hot[other]
            np.testing.assert_allclose(found["targets"][index], mixed, atol=1e-6)
        np.testing.assert_allclose(found["targets"].sum(axis=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(found["weight"].sum(), 63.0, rtol=1e-5)
        shares.append(share)
    assert len({round(float(share), 3) for share in shares}) > 8


def test_random_erasing_fills_a_rectangle_of_the_wanted_area_with_noise(batch):
    images = jnp.zeros((256, 32, 32, 3)) + 7.0
    stage = RandomErasing(probability=0.5, smallest=0.1, largest=0.2, aspect=0.5)
    found = np.asarray(apply(stage, {**batch, "inputs": images})["inputs"])
    holes = (found != 7.0).all(axis=-1)
    erased = np.flatnonzero(holes.any(axis=(1, 2)))
    assert 88 < len(erased) < 168  # 5 standard deviations around 128
    for index in erased:
        height, width = rectangle(holes[index])
        # A side is rounded to a pixel: of 16 at least √(0.1 · 1024 / 2) = 7.
        assert (height - 0.5) * (width - 0.5) < 0.2 * 1024 and (height + 0.5) * (width + 0.5) > 0.1 * 1024
        assert (height + 0.5) / (width - 0.5) > 0.5 and (height - 0.5) / (width + 0.5) < 2
    noise = found[holes]
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02  # some 50 000 values
    wide = apply(RandomErasing(probability=1.0, smallest=1.0, largest=1.0), batch)["inputs"]
    assert (np.asarray(wide) != np.asarray(batch["inputs"])).all(axis=-1).mean() > 0.5


def test_color_jitter_moves_each_colour_as_it_says(batch):
    images = np.asarray(batch["inputs"], np.float64)

    def moved(**how):
        none = dict(brightness=None, contrast=None, saturation=None, hue=None)
        return np.asarray(apply(ColorJitter(**(none | how)), batch)["inputs"], np.float64)

    offset = moved(brightness=0.3) - images
    assert np.ptp(offset, axis=(1, 2, 3)).max() < 1e-5 and 0.25 < np.abs(offset).max() <= 0.3
    for how, axes in (("contrast", (1, 2, 3)), ("saturation", (3,))):
        centre = images.mean(axis=axes, keepdims=True)
        found = moved(**{how: 0.5})
        factor = (found - centre).std(axis=(1, 2, 3)) / (images - centre).std(axis=(1, 2, 3))
        np.testing.assert_allclose(found, centre + factor[:, None, None, None] * (images - centre), atol=1e-4)
        assert 0.5 <= factor.min() < 0.6 and 1.4 < factor.max() <= 1.5
    turned = moved(hue=0.25)
    np.testing.assert_allclose(turned.mean(axis=3), images.mean(axis=3), atol=1e-5)
    grey = images.mean(axis=3, keepdims=True)
    for before, after in zip(images - grey, turned - grey, strict=True):
        np.testing.assert_allclose(np.linalg.norm(after, axis=2), np.linalg.norm(before, axis=2), rtol=1e-4, atol=1e-5)
        cosines = (before * after).sum(axis=2) / np.square(before).sum(axis=2)
        assert np.ptp(cosines) < 1e-3 and cosines.min() > -1e-3  # one angle an image, at most a right one
    with pytest.raises(ValueError, match="three channels"):
        apply(ColorJitter(hue=0.1), {**batch, "inputs": batch["inputs"][..., :1]})


def test_repeated_augmentation_is_followed_by_other_augmentations_of_each_copy(batch):
    found = jax.device_get(apply(RepeatedAugmentation(times=4), batch))
    for name in batch:
        np.testing.assert_array_equal(found[name], np.repeat(np.asarray(batch[name])[:16], 4, axis=0))
    cropped = augment((RepeatedAugmentation(times=4), Crop(padding=2)), jax.random.key(0), batch, num_classes=4)
    copies = np.asarray(cropped["inputs"]).reshape(16, 4, -1)
    assert sum(len(np.unique(four, axis=0)) for four in copies) > 48  # of 64, with 25 shifts
    uneven = augment((RepeatedAugmentation(times=5),), jax.random.key(0), batch, num_classes=4)
    assert uneven["inputs"].shape == batch["inputs"].shape


@pytest.mark.parametrize("stage", ALL, ids=lambda stage: type(stage).__name__)
def test_every_stage_keeps_shape_and_type_and_takes_traced_numbers(stage, batch):
    traced = jax.jit(lambda stage, key: augment((stage,), key, batch, num_classes=4, mean=(0.0,) * 3, std=(0.05,) * 3))
    found, again = traced(stage, jax.random.key(3)), traced(stage, jax.random.key(3))
    assert found["inputs"].shape == batch["inputs"].shape and found["inputs"].dtype == batch["inputs"].dtype
    assert found["weight"].shape == batch["weight"].shape and np.isfinite(found["inputs"]).all()
    np.testing.assert_array_equal(found["inputs"], again["inputs"])
    if not isinstance(stage, RepeatedAugmentation):
        assert not np.array_equal(found["inputs"], traced(stage, jax.random.key(4))["inputs"])


def test_the_same_key_gives_the_same_and_stages_have_keys_of_their_own(batch):
    once, again, other = apply(Crop(), batch), apply(Crop(), batch), apply(Crop(), batch, seed=1)
    np.testing.assert_array_equal(once["inputs"], again["inputs"])
    assert not np.array_equal(once["inputs"], other["inputs"])
    twice = augment((Crop(), Crop()), jax.random.key(0), batch, num_classes=4)
    assert not np.array_equal(once["inputs"], twice["inputs"])
