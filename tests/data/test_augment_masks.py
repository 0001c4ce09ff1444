"""Masks go where their pictures go: in pictures that say of each pixel where it was, and so do their masks."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.admission import admit_data
from jaxnets.build import model_batch
from jaxnets.config import Experiment
from jaxnets.data import (
    ColorJitter,
    Crop,
    CutMix,
    Cutout,
    Data,
    Flip,
    Mixup,
    Posterize,
    RandAugment,
    RandomErasing,
    RepeatedAugmentation,
    Schema,
    augment,
)
from jaxnets.data.augment import randaugment
from jaxnets.errors import ConfigError
from jaxnets.loop import Loop
from jaxnets.models import UNet
from jaxnets.tasks import Segmentation

SIDE, COUNT, OUTSIDE = 12, 32, -1
STAGES = [Flip(), Crop(padding=3), Crop(padding=3, fill="reflect"), CutMix(), RepeatedAugmentation(times=2)]


@pytest.fixture(scope="module")
def batch():
    """The pixel (y, x) of image i has the levels (y, x, i) + 1, 0 is what came in; its class says all three."""
    y, x = np.mgrid[:SIDE, :SIDE]
    images = np.stack([np.stack([y, x, np.full_like(y, i)], axis=-1) + 1.0 for i in range(COUNT)])
    masks = np.stack([i * SIDE * SIDE + y * SIDE + x for i in range(COUNT)])
    return {"inputs": jnp.asarray(images), "targets": jnp.asarray(masks, jnp.int32), "weight": jnp.ones(COUNT)}


def place_of(masks):
    """(b h w 3) what the pictures of these masks must show; 0 where nothing came in."""
    y, x, i = masks % SIDE**2 // SIDE, masks % SIDE, masks // SIDE**2
    return np.where((masks == OUTSIDE)[..., None], 0, np.stack([y, x, i], axis=-1) + 1)


def through(stages, batch, seed=0, outside=OUTSIDE):
    return jax.device_get(augment(stages, jax.random.key(seed), batch, num_classes=9, outside=outside))


@pytest.mark.parametrize(
    "chain", [*((stage,) for stage in STAGES), *itertools.permutations(STAGES[:4], 3)],
    ids=lambda chain: "-".join(type(stage).__name__ for stage in chain),
)  # fmt: skip
def test_after_any_chain_a_mask_says_what_its_picture_shows(chain, batch):
    found = through(chain, batch)
    np.testing.assert_array_equal(found["inputs"], place_of(found["targets"]))
    assert found["targets"].dtype == np.int32
    assert not np.array_equal(found["targets"], batch["targets"])
    cropped = any(isinstance(stage, Crop) and stage.fill == "mean" for stage in chain)
    assert (found["targets"] == OUTSIDE).any() == cropped


@pytest.mark.parametrize("name", randaugment.MOVES)
def test_moved_masks_are_those_of_the_nearest_pixel(name, batch):
    """Between pixels a picture of places is exact, so that a mask is at most half a pixel off, along both axes."""
    chosen = jnp.full(COUNT, len(randaugment.COLOURS) + randaugment.MOVES.index(name))
    signs = jnp.where(jnp.arange(COUNT) % 2, 1.0, -1.0)
    levels = jnp.round(20 * batch["inputs"]).astype(jnp.int32)
    moved = np.asarray(randaugment.moved(levels, chosen, signs, 5.0, jnp.zeros((1, 1, 1, 3), jnp.int32))) / 20
    stage = RandAugment(operations=1, magnitude=5.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(randaugment, "_draws", lambda *_: [(chosen, signs)])
        masks = np.asarray(randaugment.moved_masks(jax.random.key(0), batch["targets"], stage, outside=OUTSIDE))
    whole = moved[..., 2] == np.arange(COUNT)[:, None, None] + 1  # not mixed with what came in
    assert 0.5 < whole.mean() < 1 and not (masks[whole] == OUTSIDE).any()
    assert np.abs(moved - place_of(masks))[whole].max() <= 0.5 + 0.03  # a level is rounded to 1/40 pixel
    assert (masks[moved[..., 2] == 0] == OUTSIDE).all() and not np.array_equal(masks, batch["targets"])


@pytest.mark.slow
def test_randaugment_moves_a_mask_by_what_its_picture_drew():
    """Dark and bright halves: after any two operations, one level divides the pixels as the mask does."""
    y, x = np.mgrid[:24, :24]
    masks = np.repeat((y + x // 2 > 17)[None].astype(np.int32), 64, axis=0)
    images = np.where(masks[..., None] > 0, 0.9, 0.2).astype(np.float32).repeat(3, axis=-1)
    batch = {"inputs": jnp.asarray(images), "targets": jnp.asarray(masks), "weight": jnp.ones(64)}
    found = through((RandAugment(operations=2, magnitude=9.0),), batch)
    agreed, moves = [], 0
    for picture, mask in zip(found["inputs"].mean(axis=-1), found["targets"], strict=True):
        low, high = (np.median(picture[mask == one]) for one in (0, 1))
        bright = picture > (low + high) / 2 if high > low else picture < (low + high) / 2
        agreed.append((bright == mask)[mask != OUTSIDE].mean())
        moves += bool((mask != masks[0]).any())
    assert min(agreed) > 0.93 and np.median(agreed) == 1 and 20 < moves < 60  # edges are blended, two moves twice
    still = randaugment.moved_masks(jax.random.key(0), batch["targets"], RandAugment(moves=False), outside=OUTSIDE)
    np.testing.assert_array_equal(still, masks)


@pytest.mark.parametrize("stage", [Cutout(size=4), RandomErasing(probability=1.0), ColorJitter(), Posterize()])
def test_colours_and_what_hides_leave_masks(stage, batch):
    found = through((stage,), batch)
    np.testing.assert_array_equal(found["targets"], batch["targets"])
    assert not np.array_equal(found["inputs"], batch["inputs"])


def test_cutmix_pastes_nothing_of_rows_that_do_not_count(batch):
    absent = {**batch, "weight": batch["weight"].at[COUNT - 1].set(0.0)}
    found = through((CutMix(),), absent, seed=3)
    assert (found["targets"][0] == batch["targets"][0]).all() and (found["targets"][1] != batch["targets"][1]).any()
    np.testing.assert_array_equal(found["weight"], absent["weight"])


@pytest.mark.parametrize("ignored, expected", [(255, 255), (7, 7), (None, 0)])
def test_what_comes_in_is_of_the_class_that_does_not_count(ignored, expected):
    schema = Schema(
        source="pictures", fingerprint="", input_kind="image", input_shape=(8, 8, 3), input_dtype="uint8",
        target_kind="mask", classes=("a", "b"),
    )  # fmt: skip
    experiment = Experiment(
        data=Data(augment=(Crop(padding=4),)), model=UNet(), task=Segmentation(ignore_index=ignored), loop=Loop(steps=1)
    )
    pictures = {"inputs": np.ones((6, 8, 8, 3), np.uint8), "targets": jnp.ones((6, 8, 8), int), "weight": jnp.ones(6)}
    masks = np.asarray(model_batch(experiment, schema, pictures, key=jax.random.key(0))["targets"])
    assert set(np.unique(masks)) == {1, expected}


def test_mixup_of_masks_is_refused():
    experiment = Experiment(
        data=Data(source="synthetic:masks/8x8x3/3/24", batch_size=8, augment=(Flip(), Mixup())),
        model=UNet(), task=Segmentation(), loop=Loop(steps=1),
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"data.augment.1 mixup blends pictures, but in the masks .* use cutmix"):
        admit_data(experiment)
