"""Repeated augmentation (Hoffer et al., 2019): an example stands in its batch many times, augmented anew each time."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxnets.types import Batch, experiment_dataclass


@experiment_dataclass
class RepeatedAugmentation:
    """The first 1/`times` of the batch, each example `times` times; comes before all else in `augment`.

    Which examples a batch holds stays the pure function `data.order`: the others of a batch are passed over at this
    step. An epoch sees 1/`times` of the examples, other ones in every epoch, so an equal number of steps is an equal
    number of augmented images.
    """

    times: int = 2


def repeat(batch: Batch, *, times: int) -> Batch:
    """The batch with example i // times in place i, in every leaf."""

    def repeated(leaf: jax.Array) -> jax.Array:
        return jnp.repeat(leaf[: -(-leaf.shape[0] // times)], times, axis=0)[: leaf.shape[0]]

    return {name: repeated(leaf) for name, leaf in batch.items()}
