"""Augmentation: pure functions of a key and a preprocessed batch, on the device, inside the compiled step.

Images are (b h w c) and standardised: a pixel of 0 is the mean of its channel over the train split, 1 a deviation.
Operations on levels from 0 to 255 undo that, by the `mean` and `std` given, and do it again.
Masks of pictures (b h w) are moved with them, each pixel keeping one class.
Sound is changed twice: as waves (b t) before the spectrogram is taken, and as a standardised spectrogram (b n m).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax

from jaxnets.data.augment.colour import ColorJitter as ColorJitter
from jaxnets.data.augment.colour import color_jitter as color_jitter
from jaxnets.data.augment.erase import Cutout as Cutout
from jaxnets.data.augment.erase import RandomErasing as RandomErasing
from jaxnets.data.augment.erase import cutout as cutout
from jaxnets.data.augment.erase import random_erasing as random_erasing
from jaxnets.data.augment.levels import AutoContrast as AutoContrast
from jaxnets.data.augment.levels import Equalize as Equalize
from jaxnets.data.augment.levels import Invert as Invert
from jaxnets.data.augment.levels import LevelOperation as LevelOperation
from jaxnets.data.augment.levels import Posterize as Posterize
from jaxnets.data.augment.levels import Sharpness as Sharpness
from jaxnets.data.augment.levels import Solarize as Solarize
from jaxnets.data.augment.levels import on_levels as on_levels
from jaxnets.data.augment.masks import on_masks as on_masks
from jaxnets.data.augment.mix import CutMix as CutMix
from jaxnets.data.augment.mix import Mixup as Mixup
from jaxnets.data.augment.mix import cutmix as cutmix
from jaxnets.data.augment.mix import cutmix_masks as cutmix_masks
from jaxnets.data.augment.mix import mixup as mixup
from jaxnets.data.augment.move import Crop as Crop
from jaxnets.data.augment.move import Flip as Flip
from jaxnets.data.augment.move import crop as crop
from jaxnets.data.augment.move import flip as flip
from jaxnets.data.augment.randaugment import RandAugment as RandAugment
from jaxnets.data.augment.randaugment import rand_augment as rand_augment
from jaxnets.data.augment.repeat import RepeatedAugmentation as RepeatedAugmentation
from jaxnets.data.augment.repeat import repeat as repeat
from jaxnets.data.augment.spectrum import SpecAugment as SpecAugment
from jaxnets.data.augment.spectrum import SpectrumWarp as SpectrumWarp
from jaxnets.data.augment.spectrum import spec_augment as spec_augment
from jaxnets.data.augment.spectrum import spectrum_warp as spectrum_warp
from jaxnets.data.augment.wave import Filter as Filter
from jaxnets.data.augment.wave import Gain as Gain
from jaxnets.data.augment.wave import Noise as Noise
from jaxnets.data.augment.wave import Shift as Shift
from jaxnets.data.augment.wave import Speed as Speed
from jaxnets.data.augment.wave import filtered as filtered
from jaxnets.data.augment.wave import gain as gain
from jaxnets.data.augment.wave import noise as noise
from jaxnets.data.augment.wave import shift as shift
from jaxnets.data.augment.wave import speed as speed
from jaxnets.types import Array, Batch

WaveOperation = Gain | Shift | Noise | Speed | Filter
SpectrumOperation = SpecAugment | SpectrumWarp
Augmentation = (
    Flip
    | Crop
    | Cutout
    | RandomErasing
    | ColorJitter
    | Posterize
    | Solarize
    | Invert
    | AutoContrast
    | Equalize
    | Sharpness
    | RandAugment
    | Mixup
    | CutMix
    | RepeatedAugmentation
    | WaveOperation
    | SpectrumOperation
)


def augment(
    stages: tuple[Augmentation, ...],
    key: Array,
    batch: Batch,
    *,
    num_classes: int,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    outside: int | None = None,
) -> Batch:
    """The batch after all `stages` in order, each with a key of its own.

    mean, std: what the images were standardised by, a channel each; empty if they are as they were, from 0 to 1
    outside: where the targets are masks, the class of pixels that come in from outside of a picture; None for others
    """
    for index, stage in enumerate(stages):
        own = jax.random.fold_in(key, index)
        match stage:
            case RepeatedAugmentation(times=times):
                batch = repeat(batch, times=times)
            case Mixup(alpha=alpha):
                batch = mixup(own, batch, alpha=alpha, num_classes=num_classes)
            case CutMix(alpha=alpha) if outside is not None:
                batch = cutmix_masks(own, batch, alpha=alpha)
            case CutMix(alpha=alpha):
                batch = cutmix(own, batch, alpha=alpha, num_classes=num_classes)
            case Gain() | Shift() | Noise() | Speed() | Filter() | SpecAugment() | SpectrumWarp():
                batch = {**batch, "inputs": _on_sound(stage, own, batch["inputs"])}
            case _:
                batch = {**batch, "inputs": _on_images(stage, own, batch["inputs"], mean, std)}
                if outside is not None:
                    batch = {**batch, "targets": on_masks(stage, own, batch["targets"], outside=outside)}
    return batch


def by_spectrogram(stages: tuple[Augmentation, ...]) -> tuple[tuple[Augmentation, ...], tuple[Augmentation, ...]]:
    """The stages that take waves, and those that take what a model sees of them, each in order.

    >>> by_spectrogram((SpecAugment(), Gain(), Mixup()))[0]
    (Gain(decibels=6.0),)
    """
    early = (Gain, Shift, Noise, Speed, Filter, RepeatedAugmentation)
    return (
        tuple(stage for stage in stages if isinstance(stage, early)),
        tuple(stage for stage in stages if not isinstance(stage, early)),
    )


def _on_sound(stage: WaveOperation | SpectrumOperation, key: Array, sound: Array) -> Array:
    match stage:
        case Gain(decibels=decibels):
            return gain(key, sound, decibels=decibels)
        case Shift(share=share):
            return shift(key, sound, share=share)
        case Noise(least_db=least_db, most_db=most_db):
            return noise(key, sound, least_db=least_db, most_db=most_db)
        case Speed(rate_change=rate_change):
            return speed(key, sound, rate_change=rate_change)
        case Filter(decibels=decibels, points=points):
            return filtered(key, sound, decibels=decibels, points=points)
        case SpecAugment():
            return spec_augment(key, sound, stage)
        case SpectrumWarp():
            return spectrum_warp(key, sound, stage)


def _on_images(stage: Augmentation, key: Array, images: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    match stage:
        case Flip():
            return flip(key, images)
        case Crop(padding=padding, fill=fill):
            return crop(key, images, padding=padding, fill=fill)
        case Cutout(size=size):
            return cutout(key, images, size=size)
        case RandomErasing():
            return random_erasing(key, images, stage)
        case ColorJitter():
            return color_jitter(key, images, stage)
        case Posterize() | Solarize() | Invert() | AutoContrast() | Equalize() | Sharpness():
            return on_levels(key, images, stage, mean=mean, std=std)
        case RandAugment():
            return rand_augment(key, images, stage, mean=mean, std=std)
    raise TypeError(f"{stage!r} is no augmentation of images; use one of {Augmentation}")
