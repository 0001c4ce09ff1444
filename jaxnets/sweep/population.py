"""What a member of a population tries next: the numbers of a better one, each a little changed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from jaxnets.sweep.space import Dimension, Log, Space, Uniform

FACTORS = (0.8, 1.25)


def explored(space: Space, settings: Mapping[str, Any], *, draw: random.Random) -> dict[str, Any]:
    """Settings near these, inside the space: real numbers times 0.8 or 1.25, but a linear one moves at least so much.

    Whole numbers and choices stay, since they may be part of the structure. Source: Jaderberg et al., 2017, "perturb".

    >>> explored({"optim.lr": Log(1e-4, 1e-1)}, {"optim.lr": 0.09}, draw=random.Random(1))
    {'optim.lr': 0.072}
    """
    return {path: _near(space[path], value, draw) for path, value in settings.items()}


def _near(dimension: Dimension, value: Any, draw: random.Random) -> Any:
    factor = draw.choice(FACTORS)
    match dimension:
        case Log(low, high):
            return min(max(value * factor, low), high)
        case Uniform(low, high):
            return min(max(value + (factor - 1) * max(abs(value), (high - low) / 4), low), high)
    return value
