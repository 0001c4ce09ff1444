"""Some leaves are treated differently: by the path of a leaf, the first group that fits counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import optax

from jaxnets.errors import ConfigError
from jaxnets.optim.configs import Group, Optim
from jaxnets.types import Array, PyTree


def path_of(path: Any) -> str:
    """A leaf's place as `stage0/conv1/kernel`."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def is_stacked(path: Any) -> bool:
    """Whether axis 0 of a leaf counts equal layers, each with a norm of its own."""
    return "blocks" in path_of(path).split("/")


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
    if paths and all(is_frozen(config.groups, path) for path in paths):
        raise ConfigError("optim.groups freeze every leaf and leave nothing to train; give narrower patterns")


def by_path(params: PyTree, value: Callable[[str], Any]) -> PyTree:
    """`value(path)` in the place of each leaf."""
    return jax.tree_util.tree_map_with_path(lambda path, _: value(path_of(path)), params)


def is_frozen(groups: tuple[Group, ...], path: str) -> bool:
    """Whether the group of this path does not train."""
    group = _group_of(groups, path)
    return group is not None and group.frozen


def decay(groups: tuple[Group, ...], weight_decay: Any) -> list[optax.GradientTransformation]:
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
            share = of(path_of(path))
            return update if share is None else update + share * param

        # Under `optax.partition` the leaves of other parts are masked nodes, not arrays.
        return jax.tree_util.tree_map_with_path(add, updates, params), state

    return [optax.GradientTransformation(lambda params: optax.EmptyState(), update)]


def scale_groups(groups: tuple[Group, ...]) -> list[optax.GradientTransformation]:
    """Multiplies updates by their group's `lr_multiple`."""
    if all(group.frozen for group in groups):
        return []

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        def scale(path: Any, update: Array) -> Array:
            group = _group_of(groups, path_of(path))
            return update if group is None or group.frozen else update * group.lr_multiple

        return jax.tree_util.tree_map_with_path(scale, updates), state

    return [optax.GradientTransformation(lambda params: optax.EmptyState(), update)]


def _group_of(groups: tuple[Group, ...], path: str) -> Group | None:
    return next((group for group in groups if re.search(group.pattern, path)), None)
