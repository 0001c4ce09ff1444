"""One value, from JSON or from the text of a command line, as the type that its field has."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal

from jaxnets import optim
from jaxnets.config.experiment import Custom
from jaxnets.config.kinds import choice, field_types, members_of, stages_of, unknown, variant_name
from jaxnets.errors import ConfigError


def convert(kind: Any, value: Any, path: str, *, text: bool) -> Any:
    """`value` (JSON, or text of a command line) as a `kind`; ConfigError says what was given and what is allowed."""
    members = members_of(kind)
    if type(None) in members and (value is None or (text and value.lower() == "none")):
        return None
    members = tuple(member for member in members if member is not type(None))
    stages = stages_of(kind)
    if stages:
        return _convert_stage(stages, value, path, text=text)
    errors = []
    for member in members:
        try:
            return _convert_plain(member, value, path, text=text)
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def _convert_stage(kinds: list[Any], value: Any, path: str, *, text: bool) -> Any:
    names = {variant_name(kind): kind for kind in kinds}
    if text:
        return switch(None, kinds, path, value)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path or 'the config'} {value!r} is not allowed; give an object with a variant")
    name = value.get("variant", variant_name(kinds[0]) if len(kinds) == 1 else None)
    if not isinstance(name, str) or name not in names:
        raise ConfigError(choice(f"{path}.variant".lstrip("."), name, names))
    kind = names[name]
    if kind in (Custom, optim.Custom):
        raise ConfigError(f"{path}: a run with functions of the user's own needs its config file; give it to train")
    fields = field_types(kind)
    for key in value:
        if key not in fields and key != "variant":
            raise ConfigError(unknown(kind(), key, f"{path}.{key}".lstrip(".")))
    converted = {
        key: convert(fields[key], element, f"{path}.{key}".lstrip("."), text=False)
        for key, element in value.items()
        if key != "variant"
    }
    return kind(**converted)


def _convert_plain(kind: Any, value: Any, path: str, *, text: bool) -> Any:
    origin = typing.get_origin(kind)
    if origin is Literal:
        allowed = typing.get_args(kind)
        if value in allowed and not isinstance(value, bool):
            return value
        raise ConfigError(choice(path, value, [str(word) for word in allowed]))
    if origin is tuple:
        return _convert_tuple(kind, value, path, text=text)
    if kind is bool:
        words: dict[Any, bool] = {"true": True, "false": False} if text else {}
        if isinstance(value, bool):
            return value
        if text and value.lower() in words:
            return words[value.lower()]
        raise ConfigError(f"{path} {value!r} is not allowed; use true or false")
    if kind is int:
        return _whole(value, path, text=text)
    if kind is float:
        return _real(value, path, text=text)
    if kind is str:
        if isinstance(value, str):
            return value
        raise ConfigError(f"{path} {value!r} is not allowed; give text")
    raise ConfigError(f"{path} can only be set in the config file")


def _convert_tuple(kind: Any, value: Any, path: str, *, text: bool) -> tuple[Any, ...]:
    element = typing.get_args(kind)[0]
    if text:
        inner = value.strip().removeprefix("(").removesuffix(")")
        if not inner and inner == value:
            raise ConfigError(f"{path} '' is not allowed; give values with commas between them, or () for none")
        value = [part.strip() for part in inner.removesuffix(",").split(",")] if inner.strip() else []
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path} {value!r} is not allowed; give a list")
    return tuple(convert(element, part, f"{path}.{i}", text=text) for i, part in enumerate(value))


def _whole(value: Any, path: str, *, text: bool) -> int:
    if text:
        try:
            return int(value)
        except ValueError:
            pass
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ConfigError(f"{path} {value!r} is not allowed; give a whole number")


def _real(value: Any, path: str, *, text: bool) -> float:
    if text:
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ConfigError(f"{path} {value!r} is not allowed; give a finite number")


def switch(value: Any, variants: list[type], path: str, text: str) -> Any:
    """Another variant, keeping what both share by the name of a nested stage or `None`-able field set by the user."""
    wanted = text.lower().replace("_", "").replace("-", "")
    names = {variant_name(kind): kind for kind in variants}
    if text.lower() == "none" and value is None:
        return None
    if wanted not in names:
        raise ConfigError(choice(path, text, names))
    kind = names[wanted]
    if kind is type(value):
        return value
    try:
        new = kind()
    except TypeError as error:
        raise ConfigError(f"{path}: {wanted} holds functions of your own; set it in the config file") from error
    shared = (
        "schedule",
        "clip_norm",
        "ema_decay",
        "groups",
        "accumulate",
        "loss_scale",
        "sam_rho",
        "warmup_steps",
        "dtype",
    )
    kept = {n: getattr(value, n) for n in shared if n in field_types(kind) and hasattr(value, n)}
    return dataclasses.replace(new, **kept)
