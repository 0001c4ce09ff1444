"""Sampling against numpy, and cached decoding against the whole forward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.generate import generate, kept_logits, sample_logits
from jaxnets.models import gpt


@pytest.fixture(scope="module")
def decoder():
    model = gpt(13, context=12, width=16, depth=2, heads=4, kv_heads=2)
    prompt = jax.random.randint(jax.random.key(1), (3, 4), 0, 13)
    params, state = model.init(jax.random.key(0), prompt)
    params = jax.tree.map(lambda leaf: leaf * 4.0, params)  # far from uniform, so that a wrong token would show
    return model, params, state, prompt


def numpy_kept(logits, top_k, top_p):
    kept = np.ones(len(logits), bool)
    ranked = np.argsort(-logits, kind="stable")
    if top_k is not None:
        kept[ranked[top_k:]] = False
    if top_p is not None:
        p = np.where(kept, np.exp(logits - logits.max()), 0.0)
        p /= p.sum()
        total = 0.0
        for place in ranked:
            if total >= top_p:
                kept[place] = False
            total += p[place]
    return kept


@pytest.mark.parametrize(("top_k", "top_p"), [(None, None), (3, None), (None, 0.6), (5, 0.5), (1, None), (100, 1.0)])
def test_what_is_kept_is_what_numpy_keeps(top_k, top_p):
    logits = np.random.default_rng(0).normal(size=(20, 9)).astype(np.float32) * 2
    found = np.isfinite(np.asarray(kept_logits(jnp.asarray(logits), top_k=top_k, top_p=top_p)))
    np.testing.assert_array_equal(found, [numpy_kept(row.astype(np.float64), top_k, top_p) for row in logits])


def test_frequencies_follow_the_temperature():
    logits = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    tokens = sample_logits(jax.random.key(0), jnp.tile(logits, (20000, 1)), temperature=2.0)
    expected = np.sqrt([0.5, 0.3, 0.2])
    # 4 standard deviations of a share of 20 000 draws are 0.014
    np.testing.assert_allclose(np.bincount(tokens) / 20000, expected / expected.sum(), atol=0.014)


def test_greedy_decoding_is_the_argmax_of_whole_forward_passes(decoder):
    model, params, state, prompt = decoder
    found = generate(model, params, state, prompt, key=jax.random.key(2), max_tokens=8, temperature=0.0, context=12)
    tokens = prompt
    for _ in range(8):
        logits, _ = model.apply(params, state, tokens)
        tokens = jnp.concatenate([tokens, logits[:, -1:].argmax(axis=-1)], axis=1)
    np.testing.assert_array_equal(found, tokens)


def test_beyond_the_context_the_last_tokens_are_read_anew(decoder):
    model, params, state, prompt = decoder
    found = generate(model, params, state, prompt, key=jax.random.key(2), max_tokens=14, temperature=0.0, context=6)
    tokens = prompt
    for _ in range(14):
        logits, _ = model.apply(params, state, tokens[:, -6:])
        tokens = jnp.concatenate([tokens, logits[:, -1:].argmax(axis=-1)], axis=1)
    np.testing.assert_array_equal(found, tokens)


def test_cache_and_window_draw_the_same(decoder):
    model, params, state, prompt = decoder
    settings = dict(key=jax.random.key(5), max_tokens=8, top_k=5, top_p=0.9, context=12)
    cached = generate(model, params, state, prompt, **settings)
    plain = generate(model._replace(cache=None), params, state, prompt, **settings)
    np.testing.assert_array_equal(cached, plain)


@pytest.mark.parametrize(
    "wrong",
    [{"max_tokens": 0}, {"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}, {"context": 3}],
)
def test_what_cannot_be_sampled_is_refused(decoder, wrong):
    model, params, state, prompt = decoder
    settings = {"max_tokens": 2, "context": 12} | wrong
    with pytest.raises(ValueError, match="give"):
        generate(model, params, state, prompt, key=jax.random.key(0), **settings)
