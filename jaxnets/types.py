"""The contracts: what a model, a task, an optimizer and a training state are.

Axis letters, here and in every signature:

    b  batch            h w  image height, width       c  channels or classes
    t  time, tokens     d    features of a layer       n  heads
    k  features a head  v    vocabulary                l  stacked layers
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import jax

Array = jax.Array
PyTree = Any
Batch = Mapping[
    str, Any
]  # "inputs", "targets", "weight" (0 = padding, 1 = counts), "id"; all with the batch axis first


class Init(Protocol):
    """`(key, inputs) -> (params, state)`; `inputs` are arrays or `jax.ShapeDtypeStruct`s."""

    def __call__(self, key: Array, inputs: PyTree, /) -> tuple[PyTree, PyTree]: ...


class Apply(Protocol):
    """`(params, state, inputs) -> (outputs, state)`. `axis` names the device axis for batch statistics."""

    def __call__(
        self,
        params: PyTree,
        state: PyTree,
        inputs: PyTree,
        /,
        *,
        train: bool = False,
        key: Array | None = None,
        axis: str | None = None,
    ) -> tuple[PyTree, PyTree]: ...


VIEW = "view:"  # a view's computations stand under jax.named_scope(VIEW + path), so that a jaxpr tells whose they are


class Features(Protocol):
    """`(params, state, inputs) -> (outputs, {path: array})`; arrays in `taps` are added at their path."""

    def __call__(
        self, params: PyTree, state: PyTree, inputs: PyTree, /, *, taps: Mapping[str, Array] | None = None
    ) -> tuple[PyTree, dict[str, Array]]: ...


class Cache(Protocol):
    """`(batch, length) -> state` to be merged into a decoder's state before decoding token by token."""

    def __call__(self, batch: int, length: int, /) -> PyTree: ...


class Model(NamedTuple):
    """Two pure functions, and two optional views of them.

    init:     `(key, inputs) -> (params, state)`
    apply:    `(params, state, inputs, *, train, key, axis) -> (outputs, state)`
    features: named inside views, or None
    cache:    decoding cache, or None
    """

    init: Init
    apply: Apply
    features: Features | None = None
    cache: Cache | None = None


class Update(Protocol):
    """`(outputs, targets, weight) -> sums`: a pytree that adds over steps, devices and hosts."""

    def __call__(self, outputs: PyTree, targets: PyTree, weight: PyTree, /) -> PyTree: ...


class Result(Protocol):
    """`sums -> float`, on the host."""

    def __call__(self, sums: PyTree, /) -> float: ...


class Metric(NamedTuple):
    """A figure over a data set: `update` runs on the device and adds up, `result` runs once on the host.

    larger_is_better: what choosing the best step, and stopping early, need to know of it
    collects:         what `update` gives does not add up: arrays with the examples first, which evaluation puts end to
                      end over steps, devices and hosts before `result` sees them; training steps leave it out
    """

    update: Update
    result: Result
    larger_is_better: bool = False
    collects: bool = False


class Prepare(Protocol):
    """`batch -> (inputs, targets, weight)`: shift, mask, mix; on the device, inside the step."""

    def __call__(self, batch: Batch, /, *, train: bool, key: Array | None) -> tuple[PyTree, PyTree, PyTree]: ...


class Loss(Protocol):
    """`(outputs, targets, weight) -> (losses, weights)` of one shape; the step forms sum(l·w) / sum(w)."""

    def __call__(self, outputs: PyTree, targets: PyTree, weight: PyTree, /) -> tuple[Array, Array]: ...


class Predict(Protocol):
    """`outputs -> {name: array}`: probabilities, class, value: what a user reads."""

    def __call__(self, outputs: PyTree, /) -> dict[str, Array]: ...


class Kept(Protocol):
    """`(outputs, targets, weight) -> {name: (b …)}`: what is worth keeping of each example."""

    def __call__(self, outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Array]: ...


class Task(NamedTuple):
    """What is learned.

    kept:  what an evaluation keeps of each example, for reports; None = its targets and all that `predict` gives
    joint: the loss of an example depends on the others of its batch, so that a batch in parts has another loss
    """

    prepare: Prepare
    loss: Loss
    metrics: Mapping[str, Metric]
    predict: Predict
    kept: Kept | None = None
    joint: bool = False


class OptimizerInit(Protocol):
    """`params -> opt_state`."""

    def __call__(self, params: PyTree, /) -> PyTree: ...


class OptimizerUpdate(Protocol):
    """`(gradients, opt_state, params) -> (updates, opt_state)`; `optax.apply_updates` adds the updates."""

    def __call__(self, gradients: PyTree, opt_state: PyTree, params: PyTree, /) -> tuple[PyTree, PyTree]: ...


class EvaluationParams(Protocol):
    """`(params, opt_state, average) -> params` that evaluation, keep-best and export use."""

    def __call__(self, params: PyTree, opt_state: PyTree, average: PyTree, /) -> PyTree: ...


class Optimizer(NamedTuple):
    """optax's pair, and what a step must know beside it.

    evaluation_params: EMA, schedule-free
    trainable:         `params -> tree of bools`; False leaves go to `TrainState.frozen`; None = all train
    average:           `(average, params, step) -> average` (EMA), or None where there is none
    perturb:           `(params, gradients) -> params` at which the gradient is taken again (SAM), or None
    loss_scale:        `opt_state -> factor` of the loss whose gradient is taken (float16), or None; `update` takes
                       gradients that are divided by it again, and leaves out those that are not finite
    """

    init: OptimizerInit
    update: OptimizerUpdate
    evaluation_params: EvaluationParams
    trainable: Any = None
    average: Any = None
    perturb: Any = None
    loss_scale: Any = None


class TrainState(NamedTuple):
    """All that changes while training; a checkpoint holds exactly this and the loop's notes.

    step:      int32 scalar, batches seen
    key:       PRNG key data; a step folds `step` into it
    params:    what the optimizer moves
    frozen:    what it does not; an empty dict where everything trains
    state:     what a forward pass moves: batch statistics
    opt_state: the optimizer's
    average:   the moving average of params, or None
    """

    step: Array
    key: Array
    params: PyTree
    frozen: PyTree
    state: PyTree
    opt_state: PyTree
    average: PyTree


T = TypeVar("T")


def number(default: int | float | None) -> Any:
    """A field of an experiment that is traced: changing it never compiles again."""
    return dataclasses.field(default=default, metadata={"leaf": True})


def stage(default: Any) -> Any:
    """A field of an experiment that is itself an `experiment_dataclass`, or a tuple of them."""
    return dataclasses.field(default=default, metadata={"leaf": True})


@typing.dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def experiment_dataclass(cls: type[T]) -> type[T]:
    """A frozen, keyword-only dataclass that is a pytree: numbers are leaves, everything else is structure.

    A field is a leaf (or a subtree) if `number(...)` or `stage(...)` declares it, else it is structure and must be
    hashable. `None` in a leaf means absent from the graph.

    >>> @experiment_dataclass
    ... class Smooth:
    ...     rate: float | None = number(0.1)  # share of probability mass
    ...     name: str = "uniform"
    >>> jax.tree.leaves(Smooth()), jax.tree.leaves(Smooth(rate=None))
    ([0.1], [])
    """
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    cls.__init__.__no_type_check__ = True  # numbers may be tracers; `config.check` looks at values
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    leaves = [f.name for f in fields if f.metadata.get("leaf")]
    return jax.tree_util.register_dataclass(cls, leaves, [f.name for f in fields if f.name not in leaves])
