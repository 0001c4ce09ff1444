"""The plan of an experiment: how many devices share batch, params and layers; checked before anything compiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from jaxnets.axes import Divided
from jaxnets.errors import ConfigError
from jaxnets.types import experiment_dataclass

AXES = ("data", "fsdp", "tensor")


@experiment_dataclass
class Plan:
    """A mesh of data × fsdp × tensor devices; one of the three may be -1: what the other two leave.

    Every batch is divided over data × fsdp. `fsdp` also divides params, optimizer state and average, which are gathered
    layer by layer; `tensor` divides heads, MLP width and vocabulary of a model that has rules for it. In mode `pmap`
    each of `data` devices is a replica with keys of its own for random layers.
    """

    mode: Literal["jit", "pmap"] = "jit"
    data: int = -1  # devices; -1 = all that are left
    fsdp: int = 1  # devices
    tensor: int = 1  # devices


def sizes(plan: Plan, count: int) -> tuple[int, int, int]:
    """Devices along data, fsdp and tensor, of `count`. Raises ConfigError if the plan does not fit.

    >>> sizes(Plan(fsdp=4), 8), sizes(Plan(data=2, tensor=-1), 8), sizes(Plan(data=1), 8)
    ((2, 4, 1), (2, 1, 4), (1, 1, 1))
    """
    given = {name: getattr(plan, name) for name in AXES}
    _check_axes(plan, given)
    fixed = math.prod(size for size in given.values() if size != -1)
    words = " × ".join(f"plan.{name} {size}" for name, size in given.items() if size not in (-1, 1)) or "the plan"
    if fixed > count:
        raise ConfigError(
            f"{words} is more than the {_devices(count)} at hand; use {_near(fixed, count)} in all, "
            "or -1 for what is left"
        )
    rest = [name for name, size in given.items() if size == -1]
    if rest and count % fixed:
        raise ConfigError(
            f"{words} does not divide the {_devices(count)} at hand, so that plan.{rest[0]} -1 has no whole number "
            f"left; use {_near(fixed, count)} in all, or say how many plan.{rest[0]} has"
        )
    data, fsdp, tensor = (count // fixed if given[name] == -1 else given[name] for name in AXES)
    return data, fsdp, tensor


def _check_axes(plan: Plan, given: Mapping[str, int]) -> None:
    bad = [name for name, size in given.items() if size == 0 or size < -1]
    if bad:
        raise ConfigError(
            f"plan.{bad[0]} {given[bad[0]]} is not allowed; give at least 1, or -1 for all devices that are left"
        )
    rest = [name for name, size in given.items() if size == -1]
    if len(rest) > 1:
        raise ConfigError(
            f"{' and '.join(f'plan.{name}' for name in rest)} are -1, but only one axis can take what is left; "
            f"give plan.{rest[0]} a number"
        )
    if plan.mode == "pmap" and (plan.fsdp, plan.tensor) != (1, 1):
        raise ConfigError(
            f"plan.mode pmap keeps whole replicas, but plan.fsdp is {plan.fsdp} and plan.tensor {plan.tensor}; "
            "set both to 1, or use plan.mode jit"
        )


def _devices(count: int) -> str:
    return f"{count} device{'s' if count > 1 else ''}"


def _near(wanted: int, count: int) -> str:
    """The divisors of `count` beside `wanted`.

    >>> _near(3, 8), _near(16, 8)
    ('2 or 4', '8')
    """
    divisors = [n for n in range(1, count + 1) if count % n == 0]
    below, above = [n for n in divisors if n <= wanted], [n for n in divisors if n > wanted]
    return " or ".join(str(n) for n in (*below[-1:], *above[:1]))


def check_batch(batch_size: int, *, unit: Mapping[str, int]) -> None:
    """Refuses a batch that does not divide over all of `unit`, as in {"devices": 8}, naming the nearest that do."""
    whole = math.prod(unit.values())
    if batch_size % whole:
        over = " × ".join(f"{count} {word}" for word, count in unit.items() if count > 1)
        raise ConfigError(
            f"data.batch_size {batch_size} does not divide over {over}; use {_multiples(batch_size, whole)}"
        )


def _multiples(size: int, unit: int) -> str:
    """The multiples of `unit` beside `size`.

    >>> _multiples(100, 8), _multiples(3, 8)
    ('96 or 104', '8')
    """
    lower, upper = size // unit * unit, -(-size // unit) * unit
    return f"{lower} or {upper}" if lower else f"{upper}"


def check_tensor(tensor: int, rules: Sequence[Divided], found: Mapping[str, int], *, model: str) -> None:
    """Refuses a model without rules, and sizes that `tensor` devices do not divide.

    found: the size of each word of the rules
    """
    if tensor == 1:
        return
    if not rules:
        raise ConfigError(
            f"plan.tensor {tensor}: model {model} has no rules for tensor parallelism, gpt and vit have; "
            "use plan.tensor 1, or plan.fsdp to divide its params"
        )
    for word in dict.fromkeys(rule.size for rule in rules):
        size = found[word]
        if size % tensor:
            name = "the vocabulary" if word == "vocabulary" else f"model.{word}"
            divisors = [str(n) for n in range(1, tensor + 1) if all(found[rule.size] % n == 0 for rule in rules)]
            raise ConfigError(
                f"{name} {size} does not divide over plan.tensor {tensor}; "
                f"use plan.tensor {' or '.join(divisors)}, or {name} {_multiples(size, tensor)}"
            )
