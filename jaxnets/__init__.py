"""jaxnets: a functional deep-learning toolkit on JAX. Importing it is cheap; names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Experiment": "config",
    "Custom": "config",
    "load": "config",
    "Data": "data",
    "Loop": "loop",
    "Plan": "parallel",
    "Model": "types",
    "Task": "types",
    "Metric": "types",
    "Optimizer": "types",
    "TrainState": "types",
    "Batch": "types",
    "Sink": "metrics",
    "from_linen": "models",
    "from_nnx": "models",
    "from_optax": "optim",
    "init_state": "step",
    "make_step": "step",
    "make_eval_step": "step",
    "evaluation_params": "step",
    "experiment_step": "build",
    "train": "run",
    "Result": "run",
    "test": "evaluate",
    "predict": "evaluate",
}
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxnets' has no attribute {name!r}")
    home = importlib.import_module(f"jaxnets.{_HOMES[name]}")
    return getattr(home, "run" if name == "train" else name)


def __dir__() -> list[str]:
    return __all__
