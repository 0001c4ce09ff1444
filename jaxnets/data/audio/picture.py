"""Sound to look at: its spectrogram as an image, time to the right and pitch upwards."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnets.data.audio.spectrum import Sound, log_mel

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
