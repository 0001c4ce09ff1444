"""The forward pass as a file: what a run needs to be tested, used and served without its source.

`forward.stablehlo` maps (weights, raw inputs) to the model's outputs, preprocessing included, for any batch size on
cpu, cuda and tpu. `weights.safetensors` holds the weights in the order that it takes them. The format is readable for
half a year by the promise of `jax.export`; config and checkpoints remain the archive.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnets.data import Schema, preprocess
from jaxnets.errors import CheckpointError
from jaxnets.files import write_atomically
from jaxnets.types import Model, PyTree

PROGRAM, WEIGHTS = "forward.stablehlo", "weights.safetensors"


def write_program(run_dir: Path, model: Model, schema: Schema, params: PyTree, state: PyTree, *, length: int) -> None:
    """Writes `forward.stablehlo`; `params` and `state` may be shapes; `length` is the number of tokens of a window."""
    from jax import export

    leaves, structure = jax.tree.flatten((params, state))
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    (batch,) = export.symbolic_shape("b")
    one = (length,) if schema.input_kind == "token" else schema.input_shape
    dtype = "int32" if schema.input_kind == "token" else schema.input_dtype

    def forward(leaves: list[Any], inputs: Any) -> Any:
        params, state = jax.tree.unflatten(structure, leaves)
        return model.apply(params, state, preprocess(schema, inputs), train=False)[0]

    exported = export.export(jax.jit(forward), platforms=("cpu", "cuda", "tpu"))(
        shapes, jax.ShapeDtypeStruct((batch, *one), dtype)
    )
    write_atomically(run_dir / PROGRAM, bytes(exported.serialize()))


def write_weights(run_dir: Path, params: PyTree, state: PyTree) -> None:
    """Writes `weights.safetensors`: the leaves of (params, state), named by position and path."""
    from safetensors.numpy import save

    leaves, _ = jax.tree_util.tree_flatten_with_path((params, state))
    named = {f"{i:05d}{jax.tree_util.keystr(path)}": np.asarray(leaf) for i, (path, leaf) in enumerate(leaves)}
    write_atomically(run_dir / WEIGHTS, save(named))


def load(run_dir: Path) -> Callable[[Any], Any]:
    """`raw inputs -> outputs` of a finished run, from its folder alone. Raises CheckpointError if a file is missing."""
    from jax import export
    from safetensors.numpy import load_file

    for name in (PROGRAM, WEIGHTS):
        if not (run_dir / name).is_file():
            raise CheckpointError(f"{run_dir} has no {name}: the run has not finished; continue it with jaxnets train")
    try:
        exported = export.deserialize(bytearray((run_dir / PROGRAM).read_bytes()))
        named = load_file(run_dir / WEIGHTS)
    except Exception as error:
        raise CheckpointError(
            f"{run_dir}: {PROGRAM} or {WEIGHTS} is damaged ({error}); train again to rebuild"
        ) from error
    leaves = [jax.numpy.asarray(named[name]) for name in sorted(named)]
    call = jax.jit(exported.call)
    return lambda inputs: call(leaves, inputs)
