"""The text encoder: what is behind a text changes nothing; without layers it is a mean of vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.models import text_encoder
from jaxnets.models.text_encoder import hashed


@pytest.mark.parametrize(
    "how", [{"depth": 0, "ngrams": 3}, {"depth": 2, "pool": "mean"}, {"depth": 2, "pool": "cls"}], ids=str
)
def test_padding_changes_nothing_and_order_does_with_layers_or_ngrams(how):
    model = text_encoder(3, vocabulary_size=20, width=8, heads=2, buckets=32, **how)
    tokens = jax.random.randint(jax.random.key(0), (4, 6), 1, 20)
    params, state = model.init(jax.random.key(1), tokens)
    params = jax.tree.map(lambda leaf: leaf * 4.0, params)  # far from 0, so that what is seen shows
    apply = jax.jit(lambda tokens: model.apply(params, state, tokens)[0])
    expected = apply(tokens)
    np.testing.assert_allclose(apply(jnp.pad(tokens, ((0, 0), (0, 5)))), expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(apply(tokens[:, ::-1]), expected, atol=1e-3)
    assert np.isfinite(apply(jnp.zeros((1, 6), jnp.int32))).all()


def test_a_bag_of_words_is_a_mean_of_vectors():
    model = text_encoder(2, vocabulary_size=9, width=4, ngrams=2, buckets=16)
    tokens = np.array([[3, 4, 5, 0, 0], [7, 0, 0, 0, 0]])
    params, state = model.init(jax.random.key(0), jnp.asarray(tokens))
    words, pairs, head = (params[name] for name in ("embed", "grams2", "head"))
    codes, there = (np.asarray(one) for one in hashed(jnp.asarray(tokens), 2, 16))
    assert there.sum(axis=1).tolist() == [2, 0] and codes.min() >= 0 and codes.max() < 16
    vectors = [words["embedding"][row[row > 0]] for row in tokens]
    vectors[0] = np.concatenate([vectors[0], pairs["embedding"][codes[0, :2]]])
    pooled = np.stack([np.asarray(one).mean(axis=0) for one in vectors])
    found, _ = model.apply(params, state, jnp.asarray(tokens))
    np.testing.assert_allclose(
        found, pooled @ np.asarray(head["kernel"]) + np.asarray(head["bias"]), rtol=1e-5, atol=1e-6
    )


def test_hashes_fill_their_buckets_evenly():
    """Of all pairs of 64 tokens: a chi-squared of 255 degrees of freedom stays within 5 standard deviations."""
    first, second = np.meshgrid(np.arange(1, 65), np.arange(1, 65))
    codes, _ = hashed(jnp.asarray(np.stack([first.ravel(), second.ravel()], axis=1)), 2, 256)
    counts = np.bincount(np.asarray(codes)[:, 0], minlength=256)
    assert ((counts - 16) ** 2 / 16).sum() < 255 + 5 * (2 * 255) ** 0.5


@pytest.mark.parametrize(
    ("how", "words"), [({"width": 10, "depth": 1}, "multiple of 2"), ({"pool": "cls"}, "depth of at least 1")]
)
def test_sizes_that_make_no_sense_are_refused(how, words):
    with pytest.raises(ValueError, match=words):
        text_encoder(2, vocabulary_size=9, **how)
