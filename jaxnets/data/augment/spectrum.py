"""Spectrograms masked and warped. They are (b n m), frames and bands, and standardised: 0 is the mean of a band."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxnets.data.augment.wave import factors
from jaxnets.types import Array, experiment_dataclass, number


@experiment_dataclass
class SpecAugment:
    """Sets stretches of time and of frequency to the mean (Park et al., 2019), each up to a share of the whole.

    Departure: no time warping; see `SpectrumWarp`.
    """

    time_share: float = number(0.2)
    mel_share: float = number(0.2)
    time_masks: int = 1
    mel_masks: int = 1


@experiment_dataclass
class SpectrumWarp:
    """Speaks faster or slower, and with a longer or shorter throat: each axis stretched by up to a share of its length.

    Stretching the bands is vocal tract length perturbation (Jaitly and Hinton, 2013), here on the mel scale.
    """

    time_change: float = number(0.1)
    mel_change: float = number(0.1)


def spec_augment(key: Array, spectra: Array, config: SpecAugment) -> Array:
    """(b n m) with stretches set to 0: widths uniform from 0 to the share, places uniform inside."""
    time_key, mel_key = jax.random.split(key)
    frames = _masked(time_key, spectra.shape[0], spectra.shape[1], config.time_masks, config.time_share)
    bands = _masked(mel_key, spectra.shape[0], spectra.shape[2], config.mel_masks, config.mel_share)
    return jnp.where(frames[:, :, None] | bands[:, None, :], 0.0, spectra)


def _masked(key: Array, count: int, length: int, masks: int, share: float | Array) -> Array:
    """(count length) True inside of one of the stretches."""
    width_key, start_key = jax.random.split(key)
    width = jnp.round(jax.random.uniform(width_key, (count, masks, 1)) * share * length)
    start = jnp.floor(jax.random.uniform(start_key, (count, masks, 1)) * (length - width + 1))
    place = jnp.arange(length)[None, None]
    return ((place >= start) & (place < start + width)).any(axis=1)


def spectrum_warp(key: Array, spectra: Array, config: SpectrumWarp) -> Array:
    """(b n m) stretched in time about its middle and in frequency from its lowest band, by linear interpolation."""
    time_key, mel_key = jax.random.split(key)
    count, frames, bands = spectra.shape
    slower = factors(time_key, count, config.time_change)
    longer = factors(mel_key, count, config.mel_change)
    middle = (frames - 1) / 2
    times = (jnp.arange(frames)[None] - middle) / slower + middle  # b n
    mels = jnp.arange(bands)[None] / longer  # b m
    moved = jnp.einsum("bij,bjm->bim", _between(times, frames), spectra)
    return jnp.einsum("bkm,bim->bik", _between(mels, bands), moved)


def _between(places: Array, length: int) -> Array:
    """(b i j) weights that interpolate at `places` (b i); beyond the ends stands what is at the end."""
    places = jnp.clip(places, 0, length - 1)
    return jnp.maximum(0.0, 1.0 - jnp.abs(places[:, :, None] - jnp.arange(length)[None, None]))
