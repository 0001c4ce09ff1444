"""Learning-rate schedules: multipliers of the learning rate, written in jnp so that their numbers may be traced.

Each takes the step (from 0) and the total number of steps. With `warmup_steps` the multiplier first rises linearly,
reaching 1 at step `warmup_steps`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxnets.types import Array, experiment_dataclass, number


@experiment_dataclass
class Constant:
    """1 after the warm-up."""

    warmup_steps: float | None = number(None)  # steps


@experiment_dataclass
class Linear:
    """From 1 to `end` in a straight line."""

    warmup_steps: float | None = number(None)  # steps
    end: float = number(0.0)  # share of the learning rate at the last step


@experiment_dataclass
class Cosine:
    """From 1 to `end` along half a cosine (Loshchilov and Hutter, 2016)."""

    warmup_steps: float | None = number(None)  # steps
    end: float = number(0.0)  # share of the learning rate at the last step


@experiment_dataclass
class OneCycle:
    """Up along half a cosine from `start`, then down to `end` (Smith and Topin, 2017)."""

    rise: float = number(0.3)  # share of the steps until the top
    start: float = number(0.04)  # share of the learning rate at the first step
    end: float = number(0.0)  # share of the learning rate at the last step


@experiment_dataclass
class Rsqrt:
    """√(warmup / step) after the warm-up (Vaswani et al., 2017)."""

    warmup_steps: float = number(100.0)  # steps


@experiment_dataclass
class WSD:
    """Warm-up, stable, decay: 1 until the last `decay_share` of the steps, then a line to `end` (Hu et al., 2024)."""

    warmup_steps: float | None = number(None)  # steps
    decay_share: float = number(0.2)  # share of the steps
    end: float = number(0.0)  # share of the learning rate at the last step


Schedule = Constant | Linear | Cosine | OneCycle | Rsqrt | WSD


def multiplier(schedule: Schedule, step: Any, *, total_steps: int) -> Array:
    """What the learning rate is multiplied with at `step`.

    >>> [round(float(multiplier(Linear(), step, total_steps=4)), 2) for step in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    step = jnp.asarray(step, jnp.float32)
    match schedule:
        case Constant(warmup_steps=warmup):
            return _warm(step, warmup)
        case Linear(warmup_steps=warmup, end=end):
            return _warm(step, warmup) * (1 - (1 - end) * _progress(step, warmup, total_steps))
        case Cosine(warmup_steps=warmup, end=end):
            return _warm(step, warmup) * (end + (1 - end) * _fall(_progress(step, warmup, total_steps)))
        case OneCycle(rise=rise, start=start, end=end):
            top = rise * total_steps
            up = start + (1 - start) * (1 - _fall(jnp.clip(step / jnp.maximum(top, 1e-6), 0, 1)))
            down = end + (1 - end) * _fall(_progress(step, top, total_steps))
            return jnp.where(step < top, up, down)
        case Rsqrt(warmup_steps=warmup):
            return _warm(step, warmup) * jnp.sqrt(
                jnp.maximum(warmup, 1.0) / jnp.maximum(step, jnp.maximum(warmup, 1.0))
            )
        case WSD(warmup_steps=warmup, decay_share=share, end=end):
            begins = (1 - share) * total_steps
            return _warm(step, warmup) * (1 - (1 - end) * _progress(step, begins, total_steps))


def _warm(step: Array, warmup: Any) -> Array:
    if warmup is None:
        return jnp.ones_like(step)
    return jnp.clip((step + 1) / jnp.maximum(warmup + 1, 1), 0, 1)


def _progress(step: Array, begins: Any, total_steps: int) -> Array:
    begins = 0.0 if begins is None else begins
    return jnp.clip((step - begins) / jnp.maximum(total_steps - begins, 1.0), 0, 1)


def _fall(share: Array) -> Array:
    return 0.5 * (1 + jnp.cos(jnp.pi * share))
