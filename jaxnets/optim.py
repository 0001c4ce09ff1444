"""Optimizers from traced numbers: optax's transformations, wrapped so that a step knows what trains and what is tested.

Every config shares `schedule`, `weight_decay`, `clip_norm`, `ema_decay`, `groups` and `accumulate`. Weight decay is
decoupled and touches only leaves named kernel or embedding, unless a group says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets import schedules
from jaxnets.errors import ConfigError
from jaxnets.schedules import WSD as WSD
from jaxnets.schedules import Constant as Constant
from jaxnets.schedules import Cosine as Cosine
from jaxnets.schedules import Linear as Linear
from jaxnets.schedules import OneCycle as OneCycle
from jaxnets.schedules import Rsqrt as Rsqrt
from jaxnets.types import Array, Optimizer, PyTree, experiment_dataclass, number, stage


@experiment_dataclass
class Group:
    """The leaves whose path, like `stage0/conv1/kernel`, `pattern` is found in; the first group that fits counts."""

    pattern: str = ""  # regular expression
    lr_multiple: float = number(1.0)
    weight_decay: float | None = number(None)  # None = the optimizer's, where it decays at all
    frozen: bool = False


@experiment_dataclass
class _Shared:
    schedule: Constant | Linear | Cosine | OneCycle | Rsqrt | WSD = stage(Cosine())
    clip_norm: float | None = number(None)  # largest global norm of the gradient
    ema_decay: float | None = number(None)  # a moving average of the params is what is tested
    groups: tuple[Group, ...] = stage(())
    accumulate: int = 1  # micro-batches a step: less memory, the same result but for batch norm, which sees each alone


@experiment_dataclass
class SGD(_Shared):
    """Stochastic gradient descent with momentum (Polyak, 1964; Nesterov, 1983)."""

    lr: float = number(0.1)
    momentum: float | None = number(0.9)
    nesterov: bool = True
    weight_decay: float | None = number(None)


@experiment_dataclass
class Adam(_Shared):
    """Kingma and Ba, 2014."""

    lr: float = number(1e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-8)
    weight_decay: float | None = number(None)


@experiment_dataclass
class AdamW(_Shared):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017)."""

    lr: float = number(1e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-8)
    weight_decay: float | None = number(0.01)


@experiment_dataclass
class Lamb(_Shared):
    """Layer-wise adaptive rates for large batches (You et al., 2019)."""

    lr: float = number(2e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-6)
    weight_decay: float | None = number(0.01)


@experiment_dataclass
class Lion(_Shared):
    """The sign of an interpolated momentum (Chen et al., 2023)."""

    lr: float = number(3e-4)
    b1: float = number(0.9)
    b2: float = number(0.99)
    weight_decay: float | None = number(0.1)


@experiment_dataclass
class Adafactor(_Shared):
    """Factored second moments (Shazeer and Stern, 2018), without relative step sizes."""

    lr: float = number(1e-3)
    decay: float = number(0.8)  # exponent of the second moment's decay
    weight_decay: float | None = number(None)


@experiment_dataclass
class Muon(_Shared):
    """Orthogonalised momentum for matrices (Jordan, 2024), each layer of a stack on its own; AdamW for all else.

    A matrix is a leaf named kernel of two dimensions, or of three where its path holds `blocks` (stacked layers).
    Convolutions and embeddings go to AdamW.
    """

    lr: float = number(0.02)
    beta: float = number(0.95)
    adam_lr: float = number(1e-3)  # of everything that is no matrix
    weight_decay: float | None = number(0.01)


@experiment_dataclass
class ScheduleFreeAdamW(_Shared):
    """AdamW that averages instead of decaying its rate (Defazio et al., 2024); tested at its average."""

    lr: float = number(2.5e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-8)
    weight_decay: float | None = number(0.01)
    schedule: Constant | Linear | Cosine | OneCycle | Rsqrt | WSD = stage(Constant(warmup_steps=50.0))


@experiment_dataclass
class Custom(_Shared):
    """Any optax transformation of your own that gives descent updates, learning rate included."""

    transformation: optax.GradientTransformation
    lr: float = number(1.0)  # multiplies its updates, as the schedule does
    weight_decay: float | None = number(None)


Optim = SGD | Adam | AdamW | Lamb | Lion | Adafactor | Muon | ScheduleFreeAdamW | Custom


def path_of(path: Any) -> str:
    """A leaf's place as `stage0/conv1/kernel`."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def learning_rate(config: Optim, *, total_steps: int) -> Callable[[Any], Array]:
    """`step -> learning rate`."""
    return lambda step: config.lr * schedules.multiplier(config.schedule, step, total_steps=total_steps)


def from_optax(transformation: optax.GradientTransformation) -> Optimizer:
    """Any optax transformation as an `Optimizer`.

    >>> adam = from_optax(optax.adam(1e-3))
    >>> updates, state = adam.update({"w": jnp.ones(2)}, adam.init({"w": jnp.ones(2)}), {"w": jnp.ones(2)})
    """

    def update(gradients: PyTree, opt_state: PyTree, params: PyTree, /) -> tuple[PyTree, PyTree]:
        return transformation.update(gradients, opt_state, params)

    return Optimizer(transformation.init, update, lambda params, opt_state, average, /: params)


def optimizer(config: Optim, *, total_steps: int) -> Optimizer:
    """The optimizer of a config; every number of it may be traced."""
    rate = learning_rate(config, total_steps=total_steps)
    chain = []
    if config.clip_norm is not None:
        chain.append(optax.clip_by_global_norm(config.clip_norm))
    chain.append(_algorithm(config, rate))
    if not isinstance(config, ScheduleFreeAdamW):
        chain += _group_rates(config.groups)
    transformation = optax.chain(*chain)

    def update(gradients: PyTree, opt_state: PyTree, params: PyTree, /) -> tuple[PyTree, PyTree]:
        return transformation.update(gradients, opt_state, params)

    def evaluation_params(params: PyTree, opt_state: PyTree, average: PyTree, /) -> PyTree:
        if config.ema_decay is not None:
            return average
        if isinstance(config, ScheduleFreeAdamW):
            return optax.contrib.schedule_free_eval_params(_schedule_free_state(opt_state), params)
        return params

    frozen = any(group.frozen for group in config.groups)
    return Optimizer(
        transformation.init,
        update,
        evaluation_params,
        trainable=(lambda params: _by_path(params, lambda path: not _is_frozen(config.groups, path)))
        if frozen
        else None,
        average=None if config.ema_decay is None else lambda old, new, step: _ema(old, new, step, config.ema_decay),
    )


def check_groups(config: Optim, params: PyTree) -> None:
    """Raises ConfigError if a pattern is no regular expression, fits no leaf's path, or if nothing is left to train.

    `params` is the whole tree, frozen leaves included.
    """
    paths = [path_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for index, group in enumerate(config.groups):
        try:
            found = any(re.search(group.pattern, path) for path in paths)
        except re.error as error:
            raise ConfigError(
                f"optim.groups.{index}.pattern {group.pattern!r} is no regular expression: {error}"
            ) from error
        if not found:
            raise ConfigError(
                f"optim.groups.{index}.pattern {group.pattern!r} fits no leaf; there are {', '.join(paths[:8])} …"
            )
    if paths and all(_is_frozen(config.groups, path) for path in paths):
        raise ConfigError("optim.groups freeze every leaf and leave nothing to train; give narrower patterns")


def _algorithm(config: Optim, rate: Any) -> optax.GradientTransformation:
    decay = _decay(config.groups, config.weight_decay)
    match config:
        case SGD(momentum=momentum, nesterov=nesterov):
            moment = [] if momentum is None else [optax.trace(momentum, nesterov=nesterov)]
            return optax.chain(*moment, *decay, optax.scale_by_learning_rate(rate))
        case Adam(b1=b1, b2=b2, eps=eps) | AdamW(b1=b1, b2=b2, eps=eps):
            return optax.chain(optax.scale_by_adam(b1, b2, eps), *decay, optax.scale_by_learning_rate(rate))
        case Lamb(b1=b1, b2=b2, eps=eps):
            adam = optax.scale_by_adam(b1, b2, eps)
            return optax.chain(adam, *decay, optax.scale_by_trust_ratio(), optax.scale_by_learning_rate(rate))
        case Lion(b1=b1, b2=b2):
            return optax.chain(optax.scale_by_lion(b1, b2), *decay, optax.scale_by_learning_rate(rate))
        case Adafactor(decay=exponent):
            return optax.chain(
                optax.scale_by_factored_rms(decay_rate=exponent),
                optax.clip_by_block_rms(1.0),
                *decay,
                optax.scale_by_learning_rate(rate),
            )
        case Muon():
            return _muon(config, rate, decay)
        case ScheduleFreeAdamW(b1=b1, b2=b2, eps=eps):
            inner = optax.chain(
                optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
                *decay,
                optax.scale_by_learning_rate(rate),
                *_group_rates(config.groups),  # inside: what is averaged and what is stepped move by the same rate
            )
            return optax.contrib.schedule_free(inner, learning_rate=rate, b1=b1)
        case Custom(transformation=own):
            return optax.chain(own, optax.scale(-1.0), *decay, optax.scale_by_learning_rate(rate))
    raise ConfigError(f"optim {type(config).__name__} cannot be built")


def _muon(config: Muon, rate: Any, decay: list[Any]) -> optax.GradientTransformation:
    share = jnp.asarray(config.adam_lr) / config.lr
    matrices = optax.chain(_orthogonal_momentum(config.beta), *decay, optax.scale_by_learning_rate(rate))
    rest = optax.chain(
        optax.scale_by_adam(0.9, 0.95), *decay, optax.scale_by_learning_rate(lambda step: rate(step) * share)
    )

    def labels(params: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: "matrix" if _is_matrix(path_of(path), leaf) else "rest", params
        )

    return optax.partition({"matrix": matrices, "rest": rest}, labels)


def _is_matrix(path: str, leaf: Any) -> bool:
    stacked = "blocks" in path.split("/")
    return path.endswith("kernel") and leaf.ndim == 2 + stacked and "head" not in path.split("/")


def _orthogonal_momentum(beta: Any) -> optax.GradientTransformation:
    """Nesterov momentum, made near-orthogonal by five Newton–Schulz steps, scaled by √max(1, out / in)."""

    def orthogonal(matrix: Array) -> Array:
        a, b, c = 3.4445, -4.7750, 2.0315
        x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
        x = x / (jnp.linalg.norm(x) + 1e-7)
        for _ in range(5):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        x = x.T if matrix.shape[0] > matrix.shape[1] else x
        return x * max(1.0, matrix.shape[1] / matrix.shape[0]) ** 0.5

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        moment = jax.tree.map(lambda m, g: beta * m + (1 - beta) * g, state, updates)
        ahead = jax.tree.map(lambda m, g: beta * m + (1 - beta) * g, moment, updates)
        updates = jax.tree.map(lambda leaf: jax.vmap(orthogonal)(leaf) if leaf.ndim == 3 else orthogonal(leaf), ahead)
        return updates, moment

    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)


def _by_path(params: PyTree, value: Callable[[str], Any]) -> PyTree:
    return jax.tree_util.tree_map_with_path(lambda path, _: value(path_of(path)), params)


def _group_of(groups: tuple[Group, ...], path: str) -> Group | None:
    return next((group for group in groups if re.search(group.pattern, path)), None)


def _is_frozen(groups: tuple[Group, ...], path: str) -> bool:
    group = _group_of(groups, path)
    return group is not None and group.frozen


def _decay(groups: tuple[Group, ...], weight_decay: Any) -> list[optax.GradientTransformation]:
    """Adds decay × param to the update, so that it is multiplied with the learning rate like the rest."""
    if weight_decay is None and all(group.weight_decay is None for group in groups):
        return []

    def of(path: str) -> Any:
        group = _group_of(groups, path)
        if group is not None and group.weight_decay is not None:
            return group.weight_decay
        return weight_decay if re.search(r"(^|/)(kernel|embedding)$", path) else None

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        def add(path: Any, update: Array, param: Array) -> Array:
            decay = of(path_of(path))
            return update if decay is None else update + decay * param

        # Under `optax.partition` the leaves of other parts are masked nodes, not arrays.
        return jax.tree_util.tree_map_with_path(add, updates, params), state

    return [optax.GradientTransformation(lambda params: optax.EmptyState(), update)]


def _group_rates(groups: tuple[Group, ...]) -> list[optax.GradientTransformation]:
    """Multiplies the updates of a group by its `lr_multiple`."""
    if all(group.frozen for group in groups):
        return []

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        def scale(path: Any, update: Array) -> Array:
            group = _group_of(groups, path_of(path))
            return update if group is None or group.frozen else update * group.lr_multiple

        return jax.tree_util.tree_map_with_path(scale, updates), state

    return [optax.GradientTransformation(lambda params: optax.EmptyState(), update)]


def _ema(average: PyTree, params: PyTree, step: Any, decay: Any) -> PyTree:
    """average + (1 - d)(params - average), with d = min(decay, (1 + step) / (10 + step)) so that it starts quickly."""
    now = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + (1.0 - now).astype(old.dtype) * (new - old), average, params)


def _schedule_free_state(opt_state: PyTree) -> Any:
    kind = optax.contrib.ScheduleFreeState
    found = [
        leaf
        for leaf in jax.tree.leaves(opt_state, is_leaf=lambda leaf: isinstance(leaf, kind))
        if isinstance(leaf, kind)
    ]
    return found[0]
