"""What an augmentation of pictures does to their masks (b h w), class numbers: what moves pixels moves them alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxnets.data.augment.move import Crop, Flip, crop, flip
from jaxnets.data.augment.randaugment import RandAugment, moved_masks
from jaxnets.types import Array

if TYPE_CHECKING:
    from jaxnets.data.augment import Augmentation


def on_masks(stage: Augmentation, key: Array, masks: Array, *, outside: int) -> Array:
    """(b h w) masks after `stage` with the key that their pictures had; pixels from outside the picture are `outside`.

    Colours and levels leave a mask as it is, and so do `Cutout` and `RandomErasing`: what is hidden is still there.

    >>> import jax
    >>> masks = jax.numpy.array([[[0, 1, 2]]])
    >>> [on_masks(Flip(), jax.random.key(seed), masks, outside=255).tolist()[0][0] for seed in (0, 1)]
    [[0, 1, 2], [2, 1, 0]]
    """
    match stage:
        case Flip():
            return flip(key, masks[..., None])[..., 0]
        case Crop(padding=padding, fill=fill):  # which fills with 0
            return crop(key, (masks - outside)[..., None], padding=padding, fill=fill)[..., 0] + outside
        case RandAugment():
            return moved_masks(key, masks, stage, outside=outside)
    return masks
