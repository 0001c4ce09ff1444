"""Sampling from a decoder, token by token: temperature, top-k, top-p; a key-value cache where the model has one."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnets.types import Model, PyTree


def sample_logits(
    key: Any,
    logits: Float[Array, "b v"],
    *,
    temperature: Any = 1.0,
    top_k: int | None = None,
    top_p: Any = None,
) -> Int[Array, " b"]:
    """One token each from softmax(logits / temperature); temperature 0 takes the likeliest.

    top_k: only the k likeliest tokens
    top_p: only the likeliest tokens that together reach the probability p (Holtzman et al., 2019), after top_k

    >>> logits = jnp.log(jnp.array([[0.1, 0.7, 0.2]]))
    >>> int(sample_logits(jax.random.key(0), logits, top_k=1)[0])
    1
    """
    if isinstance(temperature, int | float) and temperature == 0:
        return logits.argmax(axis=-1)
    return jax.random.categorical(key, kept_logits(logits / temperature, top_k=top_k, top_p=top_p), axis=-1)


def kept_logits(logits: Float[Array, "b v"], *, top_k: int | None = None, top_p: Any = None) -> Float[Array, "b v"]:
    """`logits` with -inf where top-k or top-p leave a token out. Ties with the last kept token are kept."""
    if top_k is not None:
        least = jax.lax.top_k(logits, min(top_k, logits.shape[-1]))[0][:, -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if top_p is not None:
        falling = -jnp.sort(-logits, axis=-1)
        probability = jax.nn.softmax(falling, axis=-1)
        before = jnp.cumsum(probability, axis=-1) - probability
        least = jnp.where(before < top_p, falling, jnp.inf).min(axis=-1, keepdims=True)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return logits


def generate(
    model: Model,
    params: PyTree,
    state: PyTree,
    prompt: Int[Array, "b t"],
    *,
    key: Any,
    max_tokens: int,
    context: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Int[Array, "b t2"]:
    """The prompt and `max_tokens` tokens after it.

    Up to `context` tokens the key-value cache serves every step; beyond, the last `context` tokens are read anew for
    each, as a model with a limited context needs. Raises ValueError for what cannot be sampled from.

    >>> from jaxnets.models import gpt
    >>> model = gpt(11, context=8, width=8, depth=1, heads=2)
    >>> prompt = jnp.zeros((2, 3), jnp.int32)
    >>> params, state = model.init(jax.random.key(0), prompt)
    >>> generate(model, params, state, prompt, key=jax.random.key(1), max_tokens=7, context=8).shape
    (2, 10)
    """
    if not 1 <= prompt.shape[1] <= context:
        raise ValueError(
            f"a prompt of {prompt.shape[1]} tokens does not fit a context of {context}; give 1 to {context}"
        )
    if max_tokens < 1 or temperature < 0 or (top_k is not None and top_k < 1):
        raise ValueError(f"max_tokens {max_tokens}, temperature {temperature}, top_k {top_k}: give at least 1, 0 and 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p {top_p} is not allowed; give a number above 0 and up to 1")
    sample = partial(sample_logits, temperature=temperature, top_k=top_k, top_p=top_p)
    cached = min(max_tokens, context - prompt.shape[1]) if model.cache is not None else 0
    keys = jax.random.split(key, max_tokens)
    if cached:
        prompt = jax.jit(partial(_with_cache, model, sample))(params, state, prompt, keys[:cached])
    if cached < max_tokens:
        prompt = jax.jit(partial(_with_window, model, sample, context))(params, state, prompt, keys[cached:])
    return prompt


def _with_cache(model: Model, sample: Any, params: PyTree, state: PyTree, prompt: Array, keys: Array) -> Array:
    assert model.cache is not None
    b, t = prompt.shape
    state = {**state, **model.cache(b, t + len(keys))}
    logits, state = model.apply(params, state, prompt)

    def step(carry: Any, key: Array) -> tuple[Any, Array]:
        state, token = carry
        logits, state = model.apply(params, state, token[:, None])
        token = sample(key, logits[:, -1])
        return (state, token), token

    first = sample(keys[0], logits[:, -1])
    _, rest = jax.lax.scan(step, (state, first), keys[1:])
    return jnp.concatenate([prompt, first[:, None].astype(prompt.dtype), rest.T.astype(prompt.dtype)], axis=1)


def _with_window(
    model: Model, sample: Any, context: int, params: PyTree, state: PyTree, prompt: Array, keys: Array
) -> Array:
    """Reads the last `context` tokens anew for every token; tokens that are not there yet stand behind, unseen."""
    b, t = prompt.shape
    tokens = jnp.concatenate([prompt, jnp.zeros((b, len(keys)), prompt.dtype)], axis=1)
    width = min(context, t + len(keys))

    def step(tokens: Array, element: Any) -> tuple[Array, None]:
        key, end = element  # the place of the token to come
        start = jnp.clip(end - width, 0, t + len(keys) - width)
        window = jax.lax.dynamic_slice_in_dim(tokens, start, width, axis=1)
        logits, _ = model.apply(params, state, window)
        last = jax.lax.dynamic_index_in_dim(logits, end - start - 1, axis=1, keepdims=False)
        token = sample(key, last).astype(tokens.dtype)
        return jax.lax.dynamic_update_slice(tokens, token[:, None], (0, end)), None

    tokens, _ = jax.lax.scan(step, tokens, (keys, t + jnp.arange(len(keys))))
    return tokens
