"""The teacher of a student: a finished run, from its folder alone, as a function of the student's inputs.

A built-in model is made again from `config.json`; one of the user's own is its exported forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import evaluate, forward
from jaxnets.build import build_model
from jaxnets.config import Experiment
from jaxnets.data import Schema
from jaxnets.errors import ConfigError
from jaxnets.tasks import Distillation, Teacher
from jaxnets.types import Array, PyTree


def load(experiment: Experiment, schema: Schema) -> Teacher | None:
    """The teacher that `task.distill` names, for a student on data of this schema; None if there is none.

    Raises ConfigError if it is no finished run or learned something else, CheckpointError if its files are damaged.
    """
    config: Distillation | None = getattr(experiment.task, "distill", None)
    if config is None:
        return None
    folder, name = Path(config.teacher), f"task.distill.teacher {config.teacher!r}"
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{name} is not a run folder; give the folder of a finished run, as in runs/digits_cnn")
    settings, own = evaluate.read_run(folder)
    if not (folder / "result.json").is_file():
        raise ConfigError(f"{name} has not finished; continue it with jaxnets train, or give another run")
    _check_fit(name, own, schema)
    weights, apply = _function(folder, settings, own)
    adapt = adaptation(schema, own)
    return Teacher(
        weights,
        lambda weights, inputs: apply(weights, adapt(inputs)),
        run=config.teacher,
        sha256=forward.weights_hash(folder),
        words=_words(config.teacher, settings, weights, same=_same_splits(experiment, schema, settings, own)),
    )


def _check_fit(name: str, teacher: Schema, student: Schema) -> None:
    """ConfigError naming the first thing in which the two data sets are not of one kind."""
    for field, words in (
        ("target_kind", "targets"),
        ("input_kind", "inputs"),
        ("input_shape", "inputs of shape"),
        ("input_dtype", "inputs of dtype"),
        ("columns", "columns fitted as"),
        ("sound", "sound seen as"),
        ("feature_names", "features"),
        ("classes", "classes"),
        ("vocabulary_size", "a vocabulary of"),
    ):
        learned, needed = getattr(teacher, field), getattr(student, field)
        if learned != needed:
            raise ConfigError(
                f"{name} learned {teacher.source}, with {words} {_short(learned)}, but {student.source} has "
                f"{_short(needed)}; give a run on {student.source} or on data like it"
            )


def _short(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    more = ", …" if len(value) > 6 else ""
    return f"({', '.join(map(str, value[:6]))}{more})"


def _function(folder: Path, settings: dict[str, Any], schema: Schema) -> tuple[PyTree, Callable[[PyTree, Any], Any]]:
    """The weights, and `(weights, preprocessed inputs) -> logits`."""
    if settings["model"]["variant"] == "custom":
        return forward.load_model(folder)
    model = build_model(evaluate.experiment_of(settings), schema)
    weights = forward.load_weights(folder, model, schema.inputs(1, raw=False))

    def apply(weights: PyTree, inputs: Any) -> Any:
        params, state = weights
        return model.apply(params, state, inputs, train=False)[0]

    return weights, apply


def adaptation(student: Schema, teacher: Schema) -> Callable[[Array], Array]:
    """From inputs standardised by the student's moments to inputs standardised by the teacher's.

    x·s + m are the student's inputs as they were before, so the teacher's are x·(s / s') + (m - m') / s'. The two
    factors are rounded once, from float64; where the moments are equal the inputs are not touched.
    """
    if (student.input_mean, student.input_std) == (teacher.input_mean, teacher.input_std):
        return lambda inputs: inputs
    mean, std = _moments(student)
    other_mean, other_std = _moments(teacher)
    scale, shift = std / other_std, (mean - other_mean) / other_std

    def adapt(inputs: Array) -> Array:
        ones = (1,) * (inputs.ndim - 1)
        factor, term = (jnp.asarray(part, jnp.float32).reshape(*ones, -1) for part in (scale, shift))
        return inputs * factor + term

    return adapt


def _moments(schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(schema.input_mean or (0.0,), np.float64), np.asarray(schema.input_std or (1.0,), np.float64)


def _same_splits(experiment: Experiment, schema: Schema, settings: dict[str, Any], teacher: Schema) -> bool:
    data = settings["data"]
    return (schema.fingerprint, schema.counts) == (teacher.fingerprint, teacher.counts) and all(
        data.get(name) == getattr(experiment.data, name) for name in ("valid", "test", "split_seed")
    )


def _words(name: str, settings: dict[str, Any], weights: PyTree, *, same: bool) -> str:
    size = sum(leaf.size for leaf in jax.tree.leaves(weights))
    told = f"learns from {name}: {settings['model']['variant']} with {size:,} weights"
    if same:
        return told
    return f"{told}, trained on another split: if it has seen examples of this test split, the figures are too good"
