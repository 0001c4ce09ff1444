"""What the fields of a stage may hold, by their annotations, and how a message names it."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable
from typing import Any

from jaxnets.errors import near


def variant_name(kind: type) -> str:
    """The word for a variant in JSON and on the command line.

    >>> from jaxnets import models, optim
    >>> variant_name(models.ResNet18), variant_name(optim.AdamW)
    ('resnet18', 'adamw')
    """
    return kind.__name__.lower()


@functools.cache  # resolving annotations takes longer than all else that `check` does
def field_types(kind: type) -> dict[str, Any]:
    """The fields of a stage with their resolved annotations; {} for what is no stage."""
    return typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}


def members_of(kind: Any) -> tuple[Any, ...]:
    """The members of a union; what is none is its own only member."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return (kind,)


def stages_of(kind: Any) -> list[type]:
    """The dataclasses among the members of a union."""
    return [member for member in members_of(kind) if isinstance(member, type) and dataclasses.is_dataclass(member)]


def is_tuple(kind: Any) -> bool:
    """Whether a tuple is among the members."""
    return any(typing.get_origin(member) is tuple for member in members_of(kind))


def unknown(node: Any, key: str, path: str) -> str:
    """The words for a key that a stage does not have."""
    names = list(field_types(type(node)))
    hint = near(key, names) or f"; it has {', '.join(names)}"
    return f"{path}: {variant_name(type(node))} has no {key!r}{hint}"


def choice(path: str, given: Any, allowed: Iterable[str]) -> str:
    """The words for a value that is none of those allowed."""
    allowed = list(allowed)
    return f"{path} {given!r} is not allowed; use one of {', '.join(allowed)}{near(str(given), allowed)}"
