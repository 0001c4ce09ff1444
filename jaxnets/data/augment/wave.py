"""Sound as it might have been recorded: louder, later, in noise, by another voice, through another microphone.

Waves are (b t) from -1 to 1, as they were read.
"""

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


@experiment_dataclass
class Speed:
    """Plays each clip faster or slower by up to a share: its pitch and its tempo change together."""

    rate_change: float = number(0.1)


@experiment_dataclass
class Filter:
    """Makes each clip's pitches louder or softer, as rooms and microphones do (FilterAugment, Nam et al., 2022).

    Departure: gains are drawn at points an equal number of octaves apart; decibels go straight from one to the next.
    """

    decibels: float = number(6.0)  # at most, up and down, at each point
    points: int = 5


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


def factors(key: Array, count: int, change: float | Array) -> Array:
    """(count, 1) uniform in its logarithm from 1 - change to 1 / (1 - change)."""
    most = -jnp.log1p(-jnp.asarray(change))
    return jnp.exp(jax.random.uniform(key, (count, 1), minval=-most, maxval=most))


def speed(key: Array, waves: Array, *, rate_change: float | Array) -> Array:
    """(b t) each played by one of `factors` as fast, about its middle.

    What would be above half the rate afterwards is taken away before, so that nothing folds down; between samples the
    clip is interpolated band-limited to twice the rate, and straight from there. Beyond its ends there is silence.
    """
    count, length = waves.shape
    factor = factors(key, count, rate_change)
    spectrum = jnp.fft.rfft(waves)  # b t/2+1
    kept = jnp.arange(spectrum.shape[1])[None] * factor <= length / 2
    finer = jnp.pad(2 * jnp.fft.irfft(jnp.where(kept, spectrum, 0), 2 * length), ((0, 0), (0, 1)))  # b 2t+1
    middle = (length - 1) / 2
    places = 2 * ((jnp.arange(length)[None] - middle) * factor + middle)  # b t
    left = jnp.clip(jnp.floor(places), 0, 2 * length - 1).astype(jnp.int32)
    share = places - left
    low, high = (jnp.take_along_axis(finer, left + step, axis=1) for step in (0, 1))
    return jnp.where((places >= 0) & (places <= 2 * (length - 1)), low + share * (high - low), 0.0)


def filtered(key: Array, waves: Array, *, decibels: float | Array, points: int, lowest: float = 1 / 64) -> Array:
    """(b t) with a gain for each frequency: drawn uniformly from -decibels to decibels at `points` frequencies.

    lowest: the first of them, as a share of half the rate, which is the last; below it the gain is that of the first
    """
    count, length = waves.shape
    drawn = jax.random.uniform(key, (count, points), minval=-decibels, maxval=decibels)
    octaves = jnp.log2(jnp.maximum(jnp.arange(length // 2 + 1) / (length / 2), lowest))
    places = (1 - octaves / jnp.log2(lowest)) * (points - 1)  # 0 at the lowest, points - 1 at half the rate
    weights = jnp.maximum(0.0, 1.0 - jnp.abs(places[None] - jnp.arange(points)[:, None]))  # points bins
    return jnp.fft.irfft(jnp.fft.rfft(waves) * 10.0 ** (drawn @ weights / 20), length)
