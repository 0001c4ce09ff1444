"""Moving digits: the direction is in the motion of a clip and in none of its frames."""

import numpy as np
import pytest

from jaxnets import data
from jaxnets.data import Data, load
from jaxnets.data.moving import DIRECTIONS
from jaxnets.errors import ConfigError
from jaxnets.inspection import check


def shift(one, two):
    """(rows, columns) by which `two` is `one` moved on a torus: where their correlation is highest."""
    product = np.fft.ifft2(np.conj(np.fft.fft2(one)) * np.fft.fft2(two)).real
    place = np.array(np.unravel_index(product.argmax(), product.shape))
    return np.where(place > np.array(one.shape) // 2, place - one.shape, place)


def clips(split, count):
    batch = data.fetch(split, data.Wanted(np.arange(count, dtype=np.int32), np.ones(count, np.float32)))
    return batch["inputs"][..., 0].astype(float), batch["targets"]


def test_a_clip_moves_as_its_class_says():
    dataset = load(Data(source="synthetic:moving_digits/6x16x20/64", batch_size=8))
    check(dataset, batch_size=8)
    assert dataset.schema.input_shape == (6, 16, 20, 1) and dataset.schema.classes == tuple(DIRECTIONS)
    steps, places = np.array(list(DIRECTIONS.values())), []
    for split in dataset.splits.values():
        found, targets = clips(split, 64)
        assert np.bincount(targets).tolist() == [8] * 8
        for clip, target in zip(found, targets, strict=True):
            moved = shift(clip[0], clip[1])
            assert moved.tolist() in [steps[target].tolist(), (2 * steps[target]).tolist()]
            assert shift(clip[0], clip[3]).tolist() == (3 * moved).tolist()
            places.append(clip[0].argmax())
    assert len(set(places)) > 100  # digits begin anywhere


def test_clips_are_drawn_from_their_row_alone():
    dataset, again = (load(Data(source="synthetic:moving_digits/2x8x8/64")) for _ in range(2))
    assert dataset.schema == again.schema
    batches = []
    for one, workers in ((dataset, 0), (again, 2)):
        with data.training_stream(one.splits["train"], seed=0, batch_size=8, workers=workers) as stream:
            batches.append(stream([7])[0])
    np.testing.assert_array_equal(batches[0]["inputs"], batches[1]["inputs"])
    with pytest.raises(ConfigError, match="a digit has 8 × 8 pixels"):
        load(Data(source="synthetic:moving_digits/6x16x7"))
