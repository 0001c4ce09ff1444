"""The forward pass as a file: what a run needs to be tested, used and served without its source.

`forward.stablehlo` maps (weights, raw inputs) to the model's outputs, preprocessing included, for any batch size on
cpu, cuda and tpu. `weights.safetensors` holds the weights in the order that it takes them. Neither format notices a
flipped bit, so the one's hash stands in its header and the other's beside it, in `forward.sha256`. The format is
readable for half a year by the promise of `jax.export`; config and checkpoints remain the archive.

`model.stablehlo`, of a model of the user's own alone, is the same without the preprocessing: it maps (weights, inputs
as the model takes them) to outputs, so that such a run can teach another whose inputs are augmented or mixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnets.data import Schema, preprocess
from jaxnets.errors import CheckpointError
from jaxnets.files import hash_file, write_atomically
from jaxnets.types import Model, PyTree

PROGRAM, MODEL, WEIGHTS = "forward.stablehlo", "model.stablehlo", "weights.safetensors"
_BESIDE = "forward.sha256"  # as sha256sum writes and checks it


def write_program(
    run_dir: Path, model: Model, schema: Schema, params: PyTree, state: PyTree, *, length: int, alone: bool = False
) -> None:
    """Writes `forward.stablehlo`, and `model.stablehlo` if the model is wanted `alone` too.

    `params` and `state` may be shapes; `length` is the number of tokens of a window.
    """
    from jax import export

    (batch,) = export.symbolic_shape("b")
    programs = {PROGRAM: _exported(model, params, state, schema.inputs(batch, length=length), schema)}
    if alone:
        programs[MODEL] = _exported(model, params, state, schema.inputs(batch, length=length, raw=False), None)
    for name, content in programs.items():
        write_atomically(run_dir / name, content)
    hashes = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in programs.items()]
    write_atomically(run_dir / _BESIDE, "".join(hashes).encode())


def _exported(model: Model, params: PyTree, state: PyTree, inputs: PyTree, schema: Schema | None) -> bytes:
    """The program for inputs of these shapes; with a schema they are raw."""
    from jax import export

    leaves, structure = jax.tree.flatten((params, state))
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]

    def forward(leaves: list[Any], inputs: Any) -> Any:
        params, state = jax.tree.unflatten(structure, leaves)
        inputs = inputs if schema is None else preprocess(schema, inputs)
        return model.apply(params, state, inputs, train=False)[0]

    exported = export.export(jax.jit(forward), platforms=("cpu", "cuda", "tpu"))(shapes, inputs)
    return bytes(exported.serialize())


def write_weights(run_dir: Path, params: PyTree, state: PyTree) -> None:
    """Writes `weights.safetensors`: the leaves of (params, state), named by position and path."""
    from safetensors.numpy import save

    leaves, _ = jax.tree_util.tree_flatten_with_path((params, state))
    named = {f"{i:05d}{jax.tree_util.keystr(path)}": np.asarray(leaf) for i, (path, leaf) in enumerate(leaves)}
    write_atomically(run_dir / WEIGHTS, save(named, metadata={"sha256": _hash(named)}))


def _hash(named: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(named):
        leaf = named[name]
        digest.update(f"{name} {leaf.shape} {leaf.dtype} ".encode() + np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def load(run_dir: Path) -> Callable[[Any], Any]:
    """`raw inputs -> outputs` of a finished run, from its folder alone.

    Raises CheckpointError if a file is missing or is not what was written.
    """
    from jax import export

    leaves = _read_leaves(run_dir)
    exported = export.deserialize(bytearray((run_dir / PROGRAM).read_bytes()))
    call = jax.jit(exported.call)
    return lambda inputs: call(leaves, inputs)


def load_model(run_dir: Path) -> tuple[list[Any], Callable[[Any, Any], Any]]:
    """(weights, `(weights, inputs as the model takes them) -> outputs`) of a finished run with a model of one's own.

    Raises CheckpointError if a file is missing or is not what was written.
    """
    from jax import export
    from jax.custom_batching import sequential_vmap

    leaves = _read_leaves(run_dir)
    if not (run_dir / MODEL).is_file():
        raise CheckpointError(f"{run_dir} has no {MODEL}, since it is older than that file; train it again to use it")
    _check_program(run_dir, MODEL)
    exported = export.deserialize(bytearray((run_dir / MODEL).read_bytes()))
    return leaves, sequential_vmap(exported.call)  # an exported program has no batching rule of its own (jax 0.10)


def weights_hash(run_dir: Path) -> str:
    """What stands for the weights of a finished run: equal exactly if they are."""
    return read_weights(run_dir / WEIGHTS)[1].get("sha256", "")


def load_weights(run_dir: Path, model: Model, inputs: PyTree) -> tuple[PyTree, PyTree]:
    """(params, state) of a finished run, as `model` takes them; `inputs` may be shapes.

    Raises CheckpointError if the file is missing or damaged, or holds the weights of another model.
    """
    leaves = _read_leaves(run_dir)
    shapes, structure = jax.tree.flatten(jax.eval_shape(model.init, jax.random.key(0), inputs))
    if [leaf.shape for leaf in leaves] != [shape.shape for shape in shapes]:
        raise CheckpointError(f"{run_dir / WEIGHTS} does not fit the model of config.json; restore one of the two")
    return jax.tree.unflatten(structure, leaves)


def _read_leaves(run_dir: Path) -> list[Any]:
    """The leaves of (params, state), once both files are proved to be what was written."""
    for name in (PROGRAM, WEIGHTS):
        if not (run_dir / name).is_file():
            raise CheckpointError(f"{run_dir} has no {name}: the run has not finished; continue it with jaxnets train")
    named, metadata = read_weights(run_dir / WEIGHTS)
    if metadata.get("sha256") != _hash(named):
        raise CheckpointError(f"{run_dir / WEIGHTS} is not what was written; train again to rebuild it")
    _check_program(run_dir, PROGRAM)
    return [jax.numpy.asarray(named[name]) for name in sorted(named)]


def _check_program(run_dir: Path, name: str) -> None:
    beside = run_dir / _BESIDE
    line = f"{hash_file(run_dir / name)}  {name}".encode()
    if not beside.is_file() or line not in beside.read_bytes().splitlines():
        raise CheckpointError(f"{run_dir / name} is not what was written; train again to rebuild it")


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays by name, metadata) of a safetensors file. Raises CheckpointError if it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); train again to rebuild it") from error
