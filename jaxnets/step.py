"""One training step and one evaluation step: built parts in, pure functions out.

Nothing here is compiled and nothing knows a config, so a loop of one's own needs only this:

    train_state = init_state(model, task, optimizer, key=key, batch=batch)
    step = jax.jit(make_step(model, task, optimizer))
    for batch in batches:
        train_state, sums = step(train_state, batch)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.types import Array, Batch, Metric, Model, Optimizer, PyTree, Task, TrainState

Sums = dict[str, Any]


def split_params(params: PyTree, trainable: PyTree | None) -> tuple[PyTree, PyTree]:
    """`(what trains, what is frozen)`: two trees of the same shape with `None` where the other has the leaf.

    >>> split_params({"a": 1, "b": 2}, {"a": True, "b": False})
    ({'a': 1, 'b': None}, {'a': None, 'b': 2})
    >>> split_params({"a": 1}, None)
    ({'a': 1}, {})
    """
    if trainable is None or all(jax.tree.leaves(trainable)):
        return params, {}
    trains = jax.tree.map(lambda leaf, moves: leaf if moves else None, params, trainable)
    frozen = jax.tree.map(lambda leaf, moves: None if moves else leaf, params, trainable)
    return trains, frozen


def merge_params(params: PyTree, frozen: PyTree) -> PyTree:
    """The whole tree again, from the two of `split_params`.

    >>> merge_params({"a": 1, "b": None}, {"a": None, "b": 2})
    {'a': 1, 'b': 2}
    """
    if not jax.tree.leaves(frozen):
        return params
    return jax.tree.map(lambda a, b: b if a is None else a, params, frozen, is_leaf=lambda leaf: leaf is None)


def init_state(model: Model, task: Task, optimizer: Optimizer, *, key: Array, batch: Batch) -> TrainState:
    """The state before the first step, from a key and one batch (or its shapes).

    Under `jax.eval_shape` or `jax.jit(..., out_shardings=...)` nothing is ever materialised unsharded.
    """
    init_key, step_key = jax.random.split(key)
    inputs, _, _ = jax.eval_shape(lambda batch: task.prepare(batch, train=False, key=None), batch)
    params, state = model.init(init_key, inputs)
    trains, frozen = split_params(params, optimizer.trainable(params) if optimizer.trainable else None)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=jax.random.key_data(step_key) if jnp.issubdtype(step_key.dtype, jax.dtypes.prng_key) else step_key,
        params=trains,
        frozen=frozen,
        state=state,
        opt_state=optimizer.init(trains),
        average=jax.tree.map(jnp.copy, trains) if optimizer.average else None,
    )


def make_step(
    model: Model,
    task: Task,
    optimizer: Optimizer,
    *,
    axis: str | None = None,
    accumulate: int = 1,
    skip_nonfinite: bool = False,
) -> Callable[[TrainState, Batch], tuple[TrainState, Sums]]:
    """A pure step `(train_state, batch) -> (train_state, sums)`.

    The loss is `sum(l·w) / sum(w)` over the whole batch: over its `accumulate` micro-batches and, if `axis` names a
    device axis, over all its devices, each with a key of its own. `sums["metrics"]` adds over steps; `sums["health"]`
    holds `finite` (bool) and `leaf` (the index of the first gradient leaf that is not finite, -1 if all are).
    With `skip_nonfinite` a step that is not finite leaves params, state, optimizer and average bit-equal.

    Where the optimizer has `perturb` the gradient is taken twice, with the same examples and the same randomness: the
    second time at the perturbed params. The update and the norms are the second's; the metrics are those of the params
    themselves, and the state (batch statistics) moves once, by the first.

    Where the optimizer has `loss_scale` a gradient that overflows under it moves nothing and is no failure, as long as
    the loss is finite and the scale can still fall; `sums["metrics"]["overflow"]` is the share of such steps.

    Metrics that collect are left out. Raises ValueError if the loss of the task is joint and the batch would be in
    parts.
    """
    if task.joint and (accumulate > 1 or axis is not None):
        raise ValueError("the loss of this task is of a whole batch; leave accumulate at 1 and axis at None")
    scale_of = optimizer.loss_scale or (lambda opt_state: 1.0)

    def objective(
        params: PyTree, frozen: PyTree, state: PyTree, micro: PyTree, key: Array, scale: Any
    ) -> tuple[Array, Any]:
        inputs, targets, weight = micro
        outputs, state = model.apply(
            merge_params(params, frozen), state, inputs, train=True, key=key, axis=axis
        )  # fmt: skip
        losses, weights = task.loss(outputs, targets, weight)
        total, mass = jnp.sum(losses * weights), jnp.sum(weights)
        added = {name: metric for name, metric in task.metrics.items() if not metric.collects}
        sums = {name: metric.update(outputs, targets, weight) for name, metric in added.items()}
        sums["loss"] = {"total": total, "weight": mass}
        return scale * total / losses.size, (state, sums, jnp.asarray(losses.size, jnp.float32))

    gradient = jax.grad(objective, has_aux=True)

    def whole(train_state: TrainState, prepared: PyTree, key: Array) -> tuple[PyTree, PyTree, Sums, Any]:
        """Gradients of scale × sum(l·w) / size over the whole batch, state, metric sums, size."""
        scale = scale_of(train_state.opt_state)
        if accumulate == 1:
            gradients, (state, metrics, size) = gradient(
                train_state.params, train_state.frozen, train_state.state, prepared, key, scale
            )
        else:
            gradients, state, metrics = _accumulated(gradient, train_state, prepared, key, accumulate, scale)
            size = 1.0
        if axis is not None:
            gradients, metrics = jax.lax.psum((gradients, metrics), axis)
        return gradients, state, metrics, size

    def step(train_state: TrainState, batch: Batch) -> tuple[TrainState, Sums]:
        key = jax.random.fold_in(jax.random.wrap_key_data(train_state.key), train_state.step)
        if axis is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis))
        prepare_key, model_key = jax.random.split(key)
        prepared = task.prepare(batch, train=True, key=prepare_key)
        gradients, state, metrics, size = whole(train_state, prepared, model_key)
        if optimizer.perturb is not None:
            worst = train_state._replace(params=optimizer.perturb(train_state.params, gradients))
            gradients, *_ = whole(worst, prepared, model_key)
        mass = metrics["loss"]["weight"]
        scale = scale_of(train_state.opt_state)
        new, norms, health = _updated(
            train_state, gradients, size / (jnp.where(mass == 0, 1, mass) * scale), state, optimizer
        )
        if optimizer.loss_scale is not None:
            norms, health = _forgiven(norms, health, scale)
        health["finite"] = health["finite"] & jnp.isfinite(metrics["loss"]["total"])
        if skip_nonfinite:
            old = train_state._replace(step=new.step)
            new = jax.tree.map(lambda a, b: jnp.where(health["finite"], a, b), new, old)
            metrics, norms = jax.tree.map(
                lambda leaf: jnp.where(health["finite"], leaf, jnp.zeros_like(leaf)), (metrics, norms)
            )
        return new, {"metrics": metrics | norms, "health": health}

    return step


def _accumulated(
    gradient: Any, train_state: TrainState, prepared: PyTree, key: Array, accumulate: int, scale: Any
) -> Any:
    """Gradients of scale × sum(l·w), state and metric sums over micro-batches of every `accumulate`-th example."""
    micro = jax.tree.map(
        lambda leaf: leaf.reshape(leaf.shape[0] // accumulate, accumulate, *leaf.shape[1:]).swapaxes(0, 1), prepared
    )

    def add(carry: Any, element: Any) -> tuple[Any, None]:
        gradients, state, metrics = carry
        index, part = element
        more, (state, sums, size) = gradient(
            train_state.params, train_state.frozen, state, part, jax.random.fold_in(key, index), scale
        )
        gradients = jax.tree.map(lambda a, b: a + b * size, gradients, more)
        return (gradients, state, jax.tree.map(jnp.add, metrics, sums)), None

    first = jax.tree.map(lambda leaf: leaf[0], micro)
    shapes = jax.eval_shape(gradient, train_state.params, train_state.frozen, train_state.state, first, key, scale)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (shapes[0], shapes[1][1]))
    (gradients, state, metrics), _ = jax.lax.scan(
        add, (zeros[0], train_state.state, zeros[1]), (jnp.arange(accumulate), micro)
    )
    return gradients, state, metrics


def _updated(
    train_state: TrainState, gradients: PyTree, scale: Array, state: PyTree, optimizer: Optimizer
) -> tuple[TrainState, Sums, Sums]:
    """The state after the update by `gradients` × `scale`.

    Norms are taken before the scale is applied, so that a compiler can fuse it into the update.
    """
    squares = scale**2 * jnp.stack([_square(leaf) for leaf in jax.tree.leaves(gradients)])
    bad = ~jnp.isfinite(squares)
    gradients = jax.tree.map(lambda leaf: leaf * scale.astype(leaf.dtype), gradients)
    health = {"finite": ~bad.any(), "leaf": jnp.where(bad.any(), jnp.argmax(bad), -1).astype(jnp.int32)}
    updates, opt_state = optimizer.update(gradients, train_state.opt_state, train_state.params)
    params = optax.apply_updates(train_state.params, updates)
    average = train_state.average
    if optimizer.average is not None:
        average = optimizer.average(average, params, train_state.step)
    norms = _group_norms(gradients, squares)
    norms["update_norm"] = _once(jnp.sqrt(sum(map(_square, jax.tree.leaves(updates)))))
    new = train_state._replace(
        step=train_state.step + 1, params=params, state=state, opt_state=opt_state, average=average
    )
    return new, norms, health


def _group_norms(gradients: PyTree, squares: Array) -> Sums:
    """The norm of the whole gradient, and of each part of it that has its own key at the top of the tree."""
    groups: dict[str, list[Array]] = {}
    for (path, _), square in zip(jax.tree_util.tree_leaves_with_path(gradients), squares, strict=True):
        groups.setdefault(jax.tree_util.keystr(path[:1], simple=True), []).append(square)
    norms = {"grad_norm": _once(jnp.sqrt(squares.sum()))}
    if len(groups) > 1:
        norms |= {f"grad_norm/{name}": _once(jnp.sqrt(sum(part))) for name, part in groups.items()}
    return norms


def _once(value: Array) -> dict[str, Array]:
    return {"total": value, "weight": jnp.ones((), jnp.float32)}


def _forgiven(norms: Sums, health: Sums, scale: Any) -> tuple[Sums, Sums]:
    """An overflow that a smaller loss scale can mend: counted, its norms left out, and no failure."""
    overflow = ~health["finite"] & (scale > 1)
    norms = jax.tree.map(lambda leaf: jnp.where(overflow, jnp.zeros_like(leaf), leaf), norms)
    norms["overflow"] = _once(overflow.astype(jnp.float32))
    norms["loss_scale"] = _once(scale)
    return norms, health | {"finite": health["finite"] | overflow, "leaf": jnp.where(overflow, -1, health["leaf"])}


def _square(leaf: Array) -> Array:
    """The sum of squares, as a product: XLA:CPU adds up one number at a time in a plain sum, 3 × slower."""
    leaf = leaf.astype(jnp.float32)
    return jnp.tensordot(leaf, leaf, axes=leaf.ndim, precision="highest")


def evaluation_params(optimizer: Optimizer, train_state: TrainState) -> PyTree:
    """The whole tree of params that evaluation, keep-best and export use: EMA or schedule-free where there is one."""
    params = optimizer.evaluation_params(train_state.params, train_state.opt_state, train_state.average)
    return merge_params(params, train_state.frozen)


def make_eval_step(model: Model, task: Task) -> Callable[[PyTree, PyTree, Batch], dict[str, Any]]:
    """A pure step `(params, state, batch) -> {"metrics": sums, "losses": (b,), "predictions": {...}}`.

    `losses` is each example's weighted mean; a padded example (weight 0) adds nothing to the sums.
    """

    def step(params: PyTree, state: PyTree, batch: Batch) -> dict[str, Any]:
        inputs, _, _ = task.prepare(batch, train=False, key=None)
        outputs, _ = model.apply(params, state, inputs, train=False)
        return score(task, outputs, batch)

    return step


def score(task: Task, outputs: PyTree, batch: Batch) -> dict[str, Any]:
    """What evaluation wants to know of outputs, wherever they came from: sums, losses of examples, predictions."""
    _, targets, weight = task.prepare(batch, train=False, key=None)
    losses, weights = task.loss(outputs, targets, weight)
    sums = {name: metric.update(outputs, targets, weight) for name, metric in task.metrics.items()}
    sums["loss"] = {"total": jnp.sum(losses * weights), "weight": jnp.sum(weights)}
    across = tuple(range(1, losses.ndim))
    mass = weights.sum(axis=across)
    each = (losses * weights).sum(axis=across) / jnp.where(mass == 0, 1, mass)
    kept = task.predict(outputs) if task.kept is None else task.kept(outputs, targets, weight)
    return {"metrics": sums, "losses": each, "predictions": kept}


def larger_is_better(task: Task, figure: str) -> bool:
    """Whether more of a figure of the task is better; of the loss, and of all that is no metric, less is."""
    return figure in task.metrics and task.metrics[figure].larger_is_better


def results(task: Task, sums: Sums) -> dict[str, float]:
    """Metric sums as floats, on the host: the task's own metrics by their `result`, the rest as total / weight.

    Of a metric that collects, `sums` holds what each batch gave, in a list, or nothing while training.
    """
    mean = {name: _mean(value) for name, value in sums.items() if name not in task.metrics}
    own = {name: metric for name, metric in task.metrics.items() if name in sums}
    return mean | {name: float(metric.result(_whole(metric, sums[name]))) for name, metric in own.items()}


def _whole(metric: Metric, sums: PyTree) -> PyTree:
    return jax.tree.map(lambda *parts: np.concatenate(parts), *sums) if metric.collects else sums


def _mean(value: dict[str, Any]) -> float:
    return float(value["total"]) / float(value["weight"]) if float(value["weight"]) else float("nan")
