"""Leaves set by their dotted path, as on a command line."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any

from jaxnets.config.experiment import Experiment
from jaxnets.config.kinds import field_types, is_tuple, members_of, stages_of, unknown, variant_name
from jaxnets.config.values import convert, switch
from jaxnets.errors import ConfigError


def assign(experiment: Experiment, settings: Iterable[tuple[str, str]]) -> Experiment:
    """The experiment with leaves set by dotted path from text, and variants switched, in the order given.

    >>> changed = assign(Experiment(), [("optim", "sgd"), ("optim.lr", "0.5"), ("model.widths", "64,64")])
    >>> type(changed.optim).__name__, float(changed.optim.lr), changed.model.widths
    ('SGD', 0.5, (64, 64))
    """
    for path, text in settings:
        experiment = _assign(experiment, path.split("."), path, text)
    return experiment


def _assign(node: Any, keys: list[str], path: str, text: str) -> Any:
    kinds = field_types(type(node))
    name = keys[0].replace("-", "_")
    if name not in kinds:
        raise ConfigError(unknown(node, keys[0], path))
    value = getattr(node, name)
    if len(keys) == 1:
        variants = stages_of(kinds[name])
        without = text.lower() == "none" and type(None) in members_of(kinds[name])
        if variants and not is_tuple(kinds[name]) and not without:
            return dataclasses.replace(node, **{name: switch(value, variants, path, text)})
        return dataclasses.replace(node, **{name: convert(kinds[name], text, path, text=True)})
    if isinstance(value, tuple) and keys[1].isdigit():
        index = int(keys[1])
        if index >= len(value):
            raise ConfigError(f"{path}: there are {len(value)} elements in {name}; count from 0")
        if len(keys) > 2:
            changed = _assign(value[index], keys[2:], path, text)
        else:
            changed = convert(typing.get_args(kinds[name])[0], text, path, text=True)
        return dataclasses.replace(node, **{name: (*value[:index], changed, *value[index + 1 :])})
    if not dataclasses.is_dataclass(value):
        raise ConfigError(f"{path}: {'.'.join(keys[:1])} is {value!r} and has no parts; set {keys[0]} itself")
    try:
        return dataclasses.replace(node, **{name: _assign(value, keys[1:], path, text)})
    except ConfigError as error:
        others = [k for k in stages_of(kinds[name]) if keys[1] in field_types(k)]
        if keys[1] not in field_types(type(value)) and others:
            names = f"{', '.join(variant_name(kind) for kind in others)} {'has' if len(others) == 1 else 'have'}"
            prefix = path.rsplit("." + ".".join(keys[1:]), 1)[0]
            raise ConfigError(
                f"{path}: {variant_name(type(value))} has no {keys[1]}, but {names}; "
                f"switch with --{prefix} {variant_name(others[0])}"
            ) from error
        raise
