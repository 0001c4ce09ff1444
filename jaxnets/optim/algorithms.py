"""What turns a gradient into an update: an optax chain from the numbers of a config, weight decay in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optax

from jaxnets.errors import ConfigError
from jaxnets.optim.configs import (
    SGD,
    AdaBelief,
    Adafactor,
    Adagrad,
    Adam,
    AdamW,
    Custom,
    Lamb,
    Lion,
    Muon,
    NAdamW,
    NovoGrad,
    Optim,
    Prodigy,
    RAdam,
    RMSProp,
    ScheduleFreeAdamW,
)
from jaxnets.optim.groups import decay, scale_groups
from jaxnets.optim.layerwise import scale_by_layer_norm, scale_by_trust_ratio
from jaxnets.optim.muon import muon
from jaxnets.optim.prodigy import prodigy
from jaxnets.types import Array


def algorithm(config: Optim, rate: Callable[[Any], Array]) -> optax.GradientTransformation:
    """Gradient -> update, the learning rate `rate(step)` included."""
    decays = decay(config.groups, config.weight_decay)
    match config:
        case Muon():
            return muon(config, rate, decays)
        case Prodigy():
            return prodigy(config, rate, decays)
        case ScheduleFreeAdamW(b1=b1, b2=b2, eps=eps):
            inner = optax.chain(
                optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
                *decays,
                optax.scale_by_learning_rate(rate),
                *scale_groups(config.groups),  # inside: what is averaged and what is stepped move by the same rate
            )
            return optax.contrib.schedule_free(inner, learning_rate=rate, b1=b1)
        case Custom(transformation=own):
            return optax.chain(own, optax.scale(-1.0), *decays, optax.scale_by_learning_rate(rate))
    return optax.chain(*_direction(config, decays), optax.scale_by_learning_rate(rate))


def _direction(config: Optim, decays: list[optax.GradientTransformation]) -> list[optax.GradientTransformation]:
    """What the learning rate is multiplied with."""
    match config:
        case SGD(momentum=momentum, nesterov=nesterov):
            return [*_momentum(momentum, nesterov=nesterov), *decays]
        case Adam(b1=b1, b2=b2, eps=eps) | AdamW(b1=b1, b2=b2, eps=eps):
            return [optax.scale_by_adam(b1, b2, eps), *decays]
        case NAdamW(b1=b1, b2=b2, eps=eps):
            return [optax.scale_by_adam(b1, b2, eps, nesterov=True), *decays]
        case RAdam(b1=b1, b2=b2, eps=eps):
            return [optax.scale_by_radam(b1, b2, eps), *decays]
        case AdaBelief(b1=b1, b2=b2, eps=eps):
            return [optax.scale_by_belief(b1, b2, eps, eps), *decays]
        case RMSProp(decay=share, eps=eps, momentum=momentum):
            return [optax.scale_by_rms(share, eps), *_momentum(momentum), *decays]
        case Adagrad(initial_sum=initial, eps=eps):
            return [optax.scale_by_rss(initial, eps), *decays]
        case Lamb(b1=b1, b2=b2, eps=eps):
            return [optax.scale_by_adam(b1, b2, eps), *decays, scale_by_trust_ratio()]
        case Lion(b1=b1, b2=b2):
            return [optax.scale_by_lion(b1, b2), *decays]
        case NovoGrad(b1=b1, b2=b2, eps=eps):
            return [scale_by_layer_norm(b2, eps), *decays, optax.trace(b1)]
        case Adafactor(decay=exponent):
            return [optax.scale_by_factored_rms(decay_rate=exponent), optax.clip_by_block_rms(1.0), *decays]
    raise ConfigError(f"optim {type(config).__name__} cannot be built")


def _momentum(momentum: Any, *, nesterov: bool = False) -> list[optax.GradientTransformation]:
    return [] if momentum is None else [optax.trace(momentum, nesterov=nesterov)]
