"""Clips drawn: their frames side by side, as a strip of film."""

from __future__ import annotations

import numpy as np

_MOST = 8  # frames, evenly from first to last


def strip(clip: np.ndarray) -> np.ndarray:
    """A clip (t h w c) as one image (h t·w c), of at most eight frames.

    >>> strip(np.zeros((20, 4, 6, 3))).shape
    (4, 48, 3)
    """
    frames = clip[np.linspace(0, len(clip) - 1, min(len(clip), _MOST)).round().astype(int)]
    return frames.transpose(1, 0, 2, 3).reshape(clip.shape[1], -1, clip.shape[3])
