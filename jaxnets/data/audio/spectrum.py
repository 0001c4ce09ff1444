"""The log-mel spectrogram as a pure function on the device, inside the compiled step.

The discrete Fourier transform of short frames is a product with a matrix: as fast as an FFT for frames of some hundred
samples, and a program that is exported holds nothing but products.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_SILENCE = 1e-10  # power of a wave of full scale is 1; below this nothing is heard


class Sound(NamedTuple):
    """How a wave is seen by a model.

    rate:     samples a second
    mels:     bands of the spectrogram; 0 = the samples themselves
    frame:    samples that a spectrum is taken of, at least a hop
    hop:      samples from one frame to the next
    range_db: what lies further below the loudest band of its clip counts as silence
    """

    rate: int
    mels: int = 0
    frame: int = 0
    hop: int = 0
    range_db: float = 80.0

    def shape(self, samples: int) -> tuple[int, ...]:
        """Of one example as a model takes it.

        >>> Sound(8000, 64, 256, 125).shape(8000), Sound(8000).shape(100)
        ((64, 64), (100,))
        """
        return (samples // self.hop, self.mels) if self.mels else (samples,)


def log_mel(waves: Float[Array, "b t"], sound: Sound) -> Float[Array, "b n m"]:
    """The logarithm of the power in each mel band of each frame, relative to the loudest of the clip: from 0 down.

    Frames are `frame` samples under a Hann window, centred on each stretch of `hop` samples, with silence outside of
    the clip. Each band is a triangle over frequencies, evenly spaced on the mel scale 2595 log10(1 + f / 700) from 0 to
    half the rate (Stevens et al., 1937; the formula is O'Shaughnessy's, 1987).
    """
    count = waves.shape[1] // sound.hop
    before = (sound.frame - sound.hop) // 2
    padded = jnp.pad(waves, ((0, 0), (before, sound.frame - sound.hop - before)))
    starts = np.arange(count)[:, None] * sound.hop
    frames = padded[:, starts + np.arange(sound.frame)[None]]  # b n f
    cosine, sine = fourier(sound.frame)
    parts = [jnp.matmul(frames, jnp.asarray(basis), precision=lax.Precision.HIGHEST) for basis in (cosine, sine)]
    power = jnp.square(parts[0]) + jnp.square(parts[1])  # b n bins
    bands = jnp.matmul(power, jnp.asarray(mel_bank(sound)), precision=lax.Precision.HIGHEST)  # b n m
    loudest = jnp.maximum(bands.max(axis=(1, 2), keepdims=True), _SILENCE)
    return jnp.log(jnp.maximum(bands / loudest, 10.0 ** (-sound.range_db / 10)))


def transform_length(frame: int) -> int:
    """Points of the Fourier transform: the power of two that is at least twice a frame, so that low bands hold some.

    >>> transform_length(256), transform_length(400)
    (512, 1024)
    """
    return 2 ** int(np.ceil(np.log2(2 * frame)))


def fourier(frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine parts (frame, bins) of the transform of a frame under a Hann window; a full sine has power 1."""
    points = transform_length(frame)
    time = np.arange(frame)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / frame)
    angle = 2 * np.pi * np.outer(time, np.arange(points // 2 + 1)) / points
    scaled = (window * 2 / window.sum())[:, None]
    return (scaled * np.cos(angle)).astype(np.float32), (scaled * np.sin(angle)).astype(np.float32)


def mel_bank(sound: Sound) -> np.ndarray:
    """(bins, mels) weights of each frequency in each band: triangles of height 1 whose feet are their neighbours' tops.

    >>> mel_bank(Sound(8000, 4, 256, 125)).max(axis=0).round(1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    bins = transform_length(sound.frame) // 2 + 1
    frequencies = np.linspace(0, sound.rate / 2, bins)
    highest = 2595 * np.log10(1 + sound.rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, sound.mels + 2) / 2595) - 1)  # hertz
    low, top, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - low) / (top - low)
    falling = (high - frequencies[:, None]) / (high - top)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
