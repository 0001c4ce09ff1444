"""Sweeps: many trials of one experiment, in few compiled programs, by one process or by many that share a storage.

    from jaxnets.sweep import Log, Range, sweep

    result = sweep(experiment, {"optim.lr": Log(1e-4, 1e-1), "seed": Range(5)}, name="first", trials=100)
    result.figures["best"]

Names are loaded when first used, since a config that only holds a space needs no search.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Choice": "space",
    "Int": "space",
    "Log": "space",
    "Range": "space",
    "Uniform": "space",
    "Objective": "search",
    "Result": "run",
    "Study": "search",
    "sweep": "run",
}
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxnets.sweep' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jaxnets.sweep.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
