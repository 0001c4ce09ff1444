"""Sound to look at: its spectrogram as an image, time to the right and pitch upwards."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnets.data.audio.spectrum import Sound, log_mel

_HEIGHT = 32  # of a waveform, pixels
_BANDS, _FRAMES = 64, 96  # where the model takes the samples themselves


def pictures(inputs: Any, sound: Sound) -> np.ndarray:
    """(b m n 1) of waves (b t), or of spectrograms (b n m) as they are.

    >>> pictures(np.zeros((2, 960)), Sound(8000)).shape
    (2, 64, 96, 1)
    """
    inputs = jnp.asarray(inputs, jnp.float32)
    if inputs.ndim == 2:
        hop = max(1, inputs.shape[1] // _FRAMES)
        inputs = log_mel(inputs, sound if sound.mels else Sound(sound.rate, _BANDS, 2 * hop, hop))
    return np.flip(np.swapaxes(np.asarray(inputs), 1, 2), axis=1)[..., None]


def waveforms(waves: Any) -> np.ndarray:
    """(b 32 n 1) uint8 of waves (b t): from the least to the largest sample of each column, dark on white.

    >>> picture = waveforms(np.sin(np.arange(960))[None])
    >>> picture.shape, int(picture.min()), int(picture.max())
    ((1, 32, 96, 1), 60, 255)
    """
    waves = np.asarray(waves, np.float32)
    width = min(_FRAMES, waves.shape[1])
    parts = waves[:, : waves.shape[1] // width * width].reshape(len(waves), width, -1)
    loudest = np.maximum(np.abs(waves).max(axis=1), 1e-9)[:, None]
    top, bottom = (_HEIGHT / 2 * (1 - side / loudest) for side in (parts.max(axis=2), parts.min(axis=2)))
    rows = np.arange(_HEIGHT)[None, :, None]
    inside = (rows + 1 > top[:, None]) & (rows < np.maximum(bottom, top + 1)[:, None])
    return np.where(inside, 60, 255).astype(np.uint8)[..., None]
