"""Sound as it might have been recorded: louder, later, in noise. Waves are (b t) from -1 to 1, as they were read."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxnets.types import Array, experiment_dataclass, number


@experiment_dataclass
class Gain:
    """Makes each clip louder or softer; a spectrogram, relative to its loudest band, is blind to it."""

    decibels: float = number(6.0)  # at most, up and down


@experiment_dataclass
class Shift:
    """Moves each clip in time by up to a share of its length; silence comes in."""

    share: float = number(0.1)


@experiment_dataclass
class Noise:
    """Adds white noise, its power below that of the clip by a number of decibels drawn evenly between the two."""

    least_db: float = number(10.0)
    most_db: float = number(40.0)


def gain(key: Array, waves: Array, *, decibels: float | Array) -> Array:
    """(b t) each multiplied by 10^(d / 20), d uniform from -decibels to decibels."""
    drawn = jax.random.uniform(key, (waves.shape[0], 1), minval=-decibels, maxval=decibels)
    return waves * 10.0 ** (drawn / 20)


def shift(key: Array, waves: Array, *, share: float | Array) -> Array:
    """(b t) each moved by whole samples, uniformly up to `share` of t to either side."""
    length = waves.shape[1]
    drawn = jax.random.uniform(key, (waves.shape[0], 1), minval=-share, maxval=share)
    places = jnp.arange(length)[None] - jnp.round(drawn * length).astype(jnp.int32)  # b t
    moved = jnp.take_along_axis(waves, jnp.clip(places, 0, length - 1), axis=1)
    return jnp.where((places >= 0) & (places < length), moved, 0.0)


def noise(key: Array, waves: Array, *, least_db: float | Array, most_db: float | Array) -> Array:
    """(b t) with white noise at a ratio of signal to noise that is uniform in decibels; silence stays silent."""
    ratio_key, noise_key = jax.random.split(key)
    ratio = jax.random.uniform(ratio_key, (waves.shape[0], 1), minval=least_db, maxval=most_db)
    level = jnp.sqrt(jnp.square(waves).mean(axis=1, keepdims=True)) * 10.0 ** (-ratio / 20)
    return waves + level * jax.random.normal(noise_key, waves.shape, waves.dtype)
