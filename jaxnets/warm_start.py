"""A warm start: weights of a finished run, or of a file, where they fit; the rest stays as it was initialised.

Not a resumption: step, optimizer state and data position begin anew.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import forward
from jaxnets.errors import ConfigError
from jaxnets.optim import path_of
from jaxnets.step import merge_params
from jaxnets.types import Optimizer, TrainState


class Fitted(NamedTuple):
    """A state with weights taken over, and what was and was not, by path."""

    state: TrainState
    taken: list[str]
    reshaped: list[str]  # with both shapes
    missing: list[str]
    unused: list[str]

    def lines(self) -> list[str]:
        """What happened, for the user: every path that was not taken over is named."""
        words = {
            "not taken over, since shapes differ": self.reshaped,
            "not there, so initialised": self.missing,
            "not used": self.unused,
        }
        told = [f"  {title}: {', '.join(paths)}" for title, paths in words.items() if paths]
        return [
            f"starts from {len(self.taken)} of {len(self.taken) + len(self.reshaped) + len(self.missing)} leaves",
            *told,
        ]


def read(source: str) -> dict[str, np.ndarray]:
    """`{path: array}` of a run's folder or of a safetensors file; paths as `params/dense0/kernel`.

    Raises ConfigError if there is no such thing, CheckpointError if it is damaged.
    """
    path = Path(source)
    if path.is_dir():
        path = path / forward.WEIGHTS
    if not path.is_file():
        raise ConfigError(
            f"init_from {source!r} holds no weights; give the folder of a finished run, or a safetensors file"
        )
    named, _ = forward.read_weights(path)
    return {_path(name): array for name, array in named.items()}


def _path(name: str) -> str:
    """`00003[0]['dense0']['kernel']`, as runs name their leaves, is `params/dense0/kernel`; other names stand."""
    keys = re.findall(r"\['([^']*)'\]|\.(\w+)|\[(\d+)\]", name)
    found = re.fullmatch(r"\d{5}\[([01])\](.*)", name)
    if found is None:
        return name if name.split("/")[0] in ("params", "state") else f"params/{name}"
    rest = [next(filter(None, key)) for key in keys[1:]]
    return "/".join([("params", "state")[int(found[1])], *rest])


def fit(state: TrainState, weights: dict[str, np.ndarray], optimizer: Optimizer) -> Fitted:
    """`state` with every leaf of params and state that `weights` has in the same shape.

    The optimizer's state and the average begin from these params. Raises ConfigError if nothing fits.
    """
    whole = {"params": merge_params(state.params, state.frozen), "state": state.state}
    leaves = {path_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(whole)}
    taken = [path for path, leaf in leaves.items() if path in weights and weights[path].shape == leaf.shape]
    reshaped = [
        f"{path} {weights[path].shape} there, {leaf.shape} here"
        for path, leaf in leaves.items()
        if path in weights and weights[path].shape != leaf.shape
    ]
    if not taken:
        raise ConfigError(
            f"init_from holds no weights that fit: it has {', '.join(list(weights)[:5])} …, "
            f"this model has {', '.join(list(leaves)[:5])} …"
        )

    def choose(prefix: str) -> Any:
        def one(path: Any, leaf: Any) -> Any:
            name = f"{prefix}/{path_of(path)}"
            return jnp.asarray(weights[name], leaf.dtype) if name in taken else leaf

        return one

    params = jax.tree_util.tree_map_with_path(choose("params"), state.params)
    state = state._replace(
        params=params,
        frozen=jax.tree_util.tree_map_with_path(choose("params"), state.frozen),
        state=jax.tree_util.tree_map_with_path(choose("state"), state.state),
        opt_state=optimizer.init(params),
        average=None if state.average is None else jax.tree.map(jnp.copy, params),
    )
    missing = [path for path in leaves if path not in weights]
    return Fitted(state, taken, reshaped, missing, [path for path in weights if path not in leaves])
