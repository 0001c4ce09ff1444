"""Augmentation: pure functions of a key and a preprocessed batch, on the device, inside the compiled step.

Images are (b h w c) and standardised: a pixel of 0 is the mean of its channel over the train split, 1 a deviation.
"""

from __future__ import annotations

import jax

from jaxnets.data.augment.colour import ColorJitter as ColorJitter
from jaxnets.data.augment.colour import color_jitter as color_jitter
from jaxnets.data.augment.erase import Cutout as Cutout
from jaxnets.data.augment.erase import RandomErasing as RandomErasing
from jaxnets.data.augment.erase import cutout as cutout
from jaxnets.data.augment.erase import random_erasing as random_erasing
from jaxnets.data.augment.mix import CutMix as CutMix
from jaxnets.data.augment.mix import Mixup as Mixup
from jaxnets.data.augment.mix import cutmix as cutmix
from jaxnets.data.augment.mix import mixup as mixup
from jaxnets.data.augment.move import Crop as Crop
from jaxnets.data.augment.move import Flip as Flip
from jaxnets.data.augment.move import crop as crop
from jaxnets.data.augment.move import flip as flip
from jaxnets.data.augment.repeat import RepeatedAugmentation as RepeatedAugmentation
from jaxnets.data.augment.repeat import repeat as repeat
from jaxnets.types import Array, Batch

Augmentation = Flip | Crop | Cutout | RandomErasing | ColorJitter | Mixup | CutMix | RepeatedAugmentation


def augment(stages: tuple[Augmentation, ...], key: Array, batch: Batch, *, num_classes: int) -> Batch:
    """The batch after all `stages` in order, each with a key of its own."""
    for index, stage in enumerate(stages):
        own = jax.random.fold_in(key, index)
        match stage:
            case RepeatedAugmentation(times=times):
                batch = repeat(batch, times=times)
            case Mixup(alpha=alpha):
                batch = mixup(own, batch, alpha=alpha, num_classes=num_classes)
            case CutMix(alpha=alpha):
                batch = cutmix(own, batch, alpha=alpha, num_classes=num_classes)
            case _:
                batch = {**batch, "inputs": _on_images(stage, own, batch["inputs"])}
    return batch


def _on_images(stage: Augmentation, key: Array, images: Array) -> Array:
    match stage:
        case Flip():
            return flip(key, images)
        case Crop(padding=padding):
            return crop(key, images, padding=padding)
        case Cutout(size=size):
            return cutout(key, images, size=size)
        case RandomErasing():
            return random_erasing(key, images, stage)
        case ColorJitter():
            return color_jitter(key, images, stage)
    raise TypeError(f"{stage!r} is no augmentation of images; use one of {Augmentation}")
