"""Noise in the shape of real data: always the same, of any size without the memory, refused if it says nothing."""

import time

import numpy as np
import pytest

from jaxnets import data
from jaxnets.data import Data, load
from jaxnets.errors import ConfigError
from jaxnets.inspection import check


@pytest.mark.parametrize(
    "source, context, shape, most",
    [("synthetic:image/12x8x3/7", None, (12, 8, 3), 255), ("synthetic:tokens/50257", 16, (17,), 50256)],
)
def test_splits_shapes_and_values(source, context, shape, most):
    dataset = load(Data(source=source, context=context))
    check(dataset, batch_size=1024)
    assert dict(dataset.schema.counts) == {"train": 65536, "valid": 1024, "test": 1024}
    found = []
    for split in dataset.splits.values():
        wanted = data.Wanted(np.arange(1024, dtype=np.int32), np.ones(1024, np.float32))
        batch = data.fetch(split, wanted)
        assert batch["inputs"].shape == (1024, *shape)
        assert batch["inputs"].min() >= 0 and 0.9 * most < batch["inputs"].max() <= most
        found += [row.tobytes() for row in batch["inputs"]]
        if context is None:
            assert np.bincount(batch["targets"]).tolist() == [147] * 2 + [146] * 5
    assert len(set(found)) == 3 * 1024  # of all splits
    again = load(Data(source=source, context=context))
    assert again.schema == dataset.schema
    with data.training_stream(again.splits["train"], seed=0, batch_size=8, workers=0) as stream:
        one = stream([5])[0]
    with data.training_stream(dataset.splits["train"], seed=0, batch_size=8, workers=2) as stream:
        np.testing.assert_array_equal(stream([5])[0]["inputs"], one["inputs"])


def test_a_number_of_examples_costs_no_memory_and_no_time():
    began = time.monotonic()
    dataset = load(Data(source="synthetic:image/224x224x3/1000/1281167"))  # 190 GB if it were there
    assert dict(dataset.schema.counts) == {"train": 1281167, "valid": 1024, "test": 1024}
    assert dict(load(Data(source="synthetic:image/4x4x1/2/10")).schema.counts) == {"train": 10, "valid": 10, "test": 10}
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "words",
    ["image/4x4/2", "image/4x4x3", "tokens/0", "tokens", "sound/8", "image/4x4x3/2/x", "tokens/5/6/7", "image/4xax3/2"],
)  # fmt: skip
def test_words_that_describe_nothing(words):
    with pytest.raises(ConfigError, match="give synthetic:image/HEIGHTxWIDTHxCHANNELS/CLASSES or synthetic:tokens"):
        load(Data(source=f"synthetic:{words}", context=4))
