"""Operations on levels and RandAugment, against Pillow and scipy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageEnhance, ImageOps

from jaxnets.build import check_schema, model_batch
from jaxnets.config import Experiment
from jaxnets.data import (
    AutoContrast,
    Data,
    Equalize,
    Flip,
    Invert,
    Mixup,
    Posterize,
    RandAugment,
    Schema,
    Sharpness,
    Solarize,
    augment,
)
from jaxnets.data.augment import levels as on_levels
from jaxnets.data.augment import randaugment
from jaxnets.errors import ConfigError
from jaxnets.loop import Loop

MEAN, STD = {1: (0.13,), 3: (0.49, 0.48, 0.45)}, {1: (0.31,), 3: (0.25, 0.24, 0.26)}
NAMES = randaugment.COLOURS + randaugment.MOVES


def images(channels, *, side=40):
    """(b side side c) uint8: noise over all levels, over few of them, dark, smooth, and of one level alone."""
    draw = np.random.default_rng(0)
    shape = (side, side + 3, channels)
    ramp = np.add.outer(np.arange(side), np.arange(side + 3))[..., None] * np.arange(1, channels + 1)
    few = draw.choice([3, 90, 200], shape, p=[0.1, 0.2, 0.7])
    return np.stack(
        [draw.integers(0, 256, shape), few, draw.integers(5, 80, shape), ramp % 256, np.full(shape, 77)]
    ).astype(np.uint8)


def pillow(operation, pixels):
    """An operation of Pillow on (h w c)."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return np.asarray(operation(picture), int).reshape(pixels.shape)


def standardised(pixels):
    c = pixels.shape[-1]
    return (pixels.astype(np.float32) / np.float32(255) - np.float32(MEAN[c])) / np.float32(STD[c])


def through(stage, pixels, seed=0):
    """Levels after a stage, which sees standardised images as a step does; they must be whole."""
    c = pixels.shape[-1]
    batch = {"inputs": jnp.asarray(standardised(pixels)), "weight": jnp.ones(len(pixels))}
    run = jax.jit(lambda stage, key: augment((stage,), key, batch, num_classes=0, mean=MEAN[c], std=STD[c])["inputs"])
    found = run(stage, jax.random.key(seed))
    assert found.dtype == jnp.float32
    found = (np.asarray(found, float) * STD[c] + MEAN[c]) * 255
    np.testing.assert_allclose(found, found.round(), atol=1e-3)  # 255 · some roundings of float32
    return found.round().astype(int)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("stage", "operation"),
    [
        *((Posterize(bits=n, probability=1.0), partial(ImageOps.posterize, bits=n)) for n in (1, 4, 8)),
        *((Solarize(threshold=n, probability=1.0), partial(ImageOps.solarize, threshold=n)) for n in (0, 128, 256)),
        (Invert(probability=1.0), ImageOps.invert),
        (Equalize(probability=1.0), ImageOps.equalize),
    ],
)
def test_tables_are_those_of_pillow(stage, operation, channels):
    pixels = images(channels)
    found = through(stage, pixels)
    for before, after in zip(pixels, found, strict=True):
        np.testing.assert_array_equal(after, pillow(operation, before))


@pytest.mark.parametrize("channels", [1, 3])
def test_autocontrast_is_that_of_pillow(channels):
    """Pillow cuts (v - low) · (255 / range) off in float64, and is a level too low where a whole number comes out."""
    pixels = images(channels)
    found = through(AutoContrast(probability=1.0), pixels)
    for before, after in zip(pixels.astype(int), found, strict=True):
        difference = after - pillow(ImageOps.autocontrast, before.astype(np.uint8))
        low, span = before.min(axis=(0, 1)), np.maximum(np.ptp(before, axis=(0, 1)), 1)
        whole = (before - low) * 255 % span == 0
        assert not difference[~whole].any() and set(np.unique(difference[whole])) <= {0, 1}
    assert np.ptp(found[2], axis=(0, 1)).tolist() == [255] * channels


def test_equalize_leaves_images_of_few_pixels():
    pixels = images(1, side=8)
    np.testing.assert_array_equal(through(Equalize(probability=1.0), pixels), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["brightness", "contrast", "color", "sharpness"])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_blends_are_those_of_pillow(name, sign, channels):
    """Pillow cuts fractions off, and this rounds: nothing else may differ, so that it is 0 or 1 level."""
    pixels = images(channels)
    found = operated(pixels, name, sign, 5.0)
    enhance = getattr(ImageEnhance, name.capitalize())
    for before, after in zip(pixels[:-1], found[:-1], strict=True):
        difference = after - pillow(lambda picture: enhance(picture).enhance(1 + sign * 0.45), before)
        assert set(np.unique(difference)) <= {0, 1}
    changes = np.abs(found - pixels).max(axis=(1, 2, 3))
    assert changes[0] > 20 or (name == "color" and channels == 1)


@jax.jit
def operate(levels, chosen, signs, magnitude, fill):
    return randaugment.moved(randaugment.recoloured(levels, chosen, signs, magnitude), chosen, signs, magnitude, fill)


def operated(pixels, name, sign, magnitude):
    """All images through one operation of RandAugment; the last image has chosen identity."""
    chosen = jnp.full(len(pixels), NAMES.index(name)).at[-1].set(0)
    signs, fill = jnp.full(len(pixels), sign), jnp.asarray([10, 20, 30][: pixels.shape[-1]]).reshape(1, 1, 1, -1)
    found = np.asarray(operate(jnp.asarray(pixels, jnp.int32), chosen, signs, magnitude, fill))
    np.testing.assert_array_equal(found[-1], pixels[-1])
    return found


@pytest.mark.parametrize("magnitude", [0.0, 3.0, 10.0])
def test_tables_of_randaugment_are_the_stages_at_that_magnitude(magnitude):
    pixels = images(3)
    same = {
        "posterize": Posterize(bits=round(8 - 0.4 * magnitude), probability=1.0),
        "solarize": Solarize(threshold=256 - 25.6 * magnitude, probability=1.0),
        "autocontrast": AutoContrast(probability=1.0),
        "equalize": Equalize(probability=1.0),
    }
    for name, stage in same.items():
        np.testing.assert_array_equal(operated(pixels, name, 1.0, magnitude)[:-1], through(stage, pixels)[:-1])


# (y, x) reads at centre + matrix · ((y, x) - centre) + shift, at half of the largest magnitude
MOVED = {
    "shear_x": (lambda sign: [[1, 0], [sign * 0.15, 1]], 0, 0),
    "shear_y": (lambda sign: [[1, sign * 0.15], [0, 1]], 0, 0),
    "translate_x": (lambda sign: np.eye(2), 0, 75 / 331),
    "translate_y": (lambda sign: np.eye(2), 75 / 331, 0),
    "rotate": (
        lambda sign: [
            [np.cos(np.pi / 12), -sign * np.sin(np.pi / 12)],
            [sign * np.sin(np.pi / 12), np.cos(np.pi / 12)],
        ],
        0,
        0,
    ),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", MOVED)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_moves_are_those_of_scipy(name, sign, channels):
    pixels = images(channels)
    found = operated(pixels, name, sign, 5.0)
    matrix, down, across = np.asarray(MOVED[name][0](sign)), MOVED[name][1], MOVED[name][2]
    sides = np.asarray(pixels.shape[1:3])
    centre = (sides - 1) / 2
    offset = centre - matrix @ centre + sign * np.asarray([down, across]) * sides
    for before, after in zip(pixels[:-1], found[:-1], strict=True):
        for channel in range(channels):
            expected = scipy.ndimage.affine_transform(
                before[..., channel].astype(float), matrix, offset, order=1, mode="grid-constant",
                cval=10.0 * (channel + 1),
            )  # fmt: skip
            # Places in float32 are good to 40 · 2^-23 pixels: 0.001 level, which may pass a rounding's edge.
            assert np.abs(after[..., channel] - expected).max() < 0.502


def test_a_share_of_the_images_is_drawn_and_the_others_stay_bit_for_bit():
    pixels = np.random.default_rng(1).integers(0, 256, (256, 6, 6, 1)).astype(np.uint8)
    batch = {"inputs": jnp.asarray(standardised(pixels)) + 0.001, "weight": jnp.ones(256)}
    found = augment((Invert(probability=0.25),), jax.random.key(0), batch, num_classes=0, mean=MEAN[1], std=STD[1])
    same = (found["inputs"] == batch["inputs"]).all(axis=(1, 2, 3))
    assert 256 * 0.75 - 35 < int(same.sum()) < 256 * 0.75 + 35  # 5 standard deviations


def test_sharpness_draws_a_factor_for_each_image():
    pixels = np.repeat(images(3, side=9)[2:3], 64, axis=0)
    found = through(Sharpness(change=0.9), pixels)
    assert len(np.unique(found, axis=0)) > 50
    np.testing.assert_array_equal(through(Sharpness(change=0.0), pixels), pixels)


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_randaugment_draws_each_operation_equally_often_on_both_sides(channels):
    """One operation on copies of an image: each result is one of those that the operations have, in equal shares."""
    pixels = np.repeat(images(channels, side=18)[2:3], 700, axis=0)
    found = through(RandAugment(operations=1, magnitude=10.0), pixels)
    pair = np.stack([pixels[0], pixels[0]])
    fill = on_levels.to_levels(jnp.zeros((1, 1, 1, channels)), MEAN[channels], STD[channels])
    seen = {}
    for index, name in enumerate(NAMES):
        both = np.asarray(
            operate(jnp.asarray(pair, jnp.int32), jnp.full(2, index), jnp.asarray([-1.0, 1.0]), 10.0, fill)
        )
        seen[name] = [int((found == one).all(axis=(1, 2, 3)).sum()) for one in both]
    alike = ["identity", "color"] if channels == 1 else ["identity"]  # grey has no colour to change
    for name, counts in seen.items():
        one_sided = counts[0] == counts[1]
        total = counts[0] if one_sided else sum(counts)
        expected = 50 * len(alike) if name in alike else 50
        assert abs(total - expected) < 35 * len(alike), (name, counts)  # 5 standard deviations
        if name in (*MOVED, "brightness", "contrast", "sharpness"):
            assert min(counts) > 5, (name, counts)


def test_without_moves_pixels_of_one_level_stay_together():
    pixels = np.repeat(np.arange(4, dtype=np.uint8)[:, None] * 60, 4, axis=1)[None, ..., None].repeat(64, axis=0)
    stage = RandAugment(operations=1, magnitude=10.0, moves=False)
    rows = through(stage, pixels)
    outer = rows[:, [0, -1]]  # the inner ones may be sharpened
    assert (outer == outer[:, :, :1]).all() and len(np.unique(rows, axis=0)) > 5
    outer = through(RandAugment(operations=1, magnitude=10.0), pixels)[:, [0, -1]]
    assert not (outer == outer[:, :, :1]).all()


def test_more_operations_follow_each_other():
    pixels = images(3, side=18)[:3].repeat(50, axis=0)
    changed = [
        (through(RandAugment(operations=n, magnitude=10.0), pixels) != pixels).any(axis=(1, 2, 3)).mean()
        for n in (1, 2)
    ]
    # Images that keep all of their levels have drawn identity each time, or what changes nothing in this image.
    assert changed[0] < changed[1]
    np.testing.assert_array_equal(
        through(RandAugment(operations=2, magnitude=9.0), pixels, seed=3),
        through(RandAugment(operations=2, magnitude=9.0), pixels, seed=3),
    )


@pytest.mark.parametrize(
    "pair",
    [
        (Posterize(bits=4), Posterize(bits=2, probability=0.9)),
        (Solarize(), Solarize(threshold=10.0)),
        (Sharpness(), Sharpness(change=0.2)),
        (RandAugment(), RandAugment(magnitude=2.0)),
    ],
    ids=lambda pair: type(pair[0]).__name__,
)
def test_other_numbers_compile_nothing(pair):
    traces = []
    batch = {"inputs": jnp.asarray(standardised(images(3)).repeat(8, axis=0)), "weight": jnp.ones(40)}

    @jax.jit
    def run(stage, key):
        traces.append(stage)
        return augment((stage,), key, batch, num_classes=0, mean=MEAN[3], std=STD[3])["inputs"]

    first, second = (run(jax.tree.map(jnp.asarray, stage), jax.random.key(0)) for stage in pair)
    assert len(traces) == 1 and not np.array_equal(first, second)


def test_levels_of_a_step_are_those_of_the_source():
    """Through the schema's own moments, also where nothing is standardised."""
    for mean, std in (((0.2, 0.4, 0.6), (0.3, 0.2, 0.1)), ((), ())):
        schema = Schema(
            source="pictures", fingerprint="", input_kind="image", input_shape=(40, 43, 3), input_dtype="uint8",
            target_kind="class", classes=("a", "b"), input_mean=mean, input_std=std,
        )  # fmt: skip
        experiment = Experiment(data=Data(augment=(Invert(probability=1.0),)), loop=Loop(steps=1))
        batch = {"inputs": images(3), "targets": jnp.zeros(5, int), "weight": jnp.ones(5)}
        found = model_batch(experiment, schema, batch, key=jax.random.key(0))["inputs"]
        expected = (1 - images(3) / 255 - (mean or 0)) / (std or 1)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("stage", [Posterize(), RandAugment()])
def test_images_without_levels_are_refused(stage):
    schema = Schema(
        source="pictures", fingerprint="", input_kind="image", input_shape=(8, 8, 3), input_dtype="float32",
        target_kind="class", classes=("a", "b"),
    )  # fmt: skip
    experiment = Experiment(data=Data(augment=(Flip(), Mixup(), stage)), loop=Loop(steps=1))
    name = type(stage).__name__.lower()
    with pytest.raises(ConfigError, match=rf"data.augment.2 {name} takes images of uint8, .* pictures holds float32"):
        check_schema(experiment, schema)
