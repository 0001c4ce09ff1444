"""An experiment as JSON, and what differs between two of them.

A variant is written by its class name in lower case: `{"variant": "adamw", "lr": 0.001}`. Nothing is executed when it
is read.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from typing import Any

from jaxnets.config.experiment import Experiment
from jaxnets.config.kinds import field_types, members_of, stages_of, variant_name
from jaxnets.config.values import convert
from jaxnets.types import Model


def to_json(value: Any) -> Any:
    """A config as JSON values; variants carry their name. A user's own functions are named, not stored."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"variant": variant_name(type(value))} | fields
    if isinstance(value, Model):
        return "a model of the user's own"
    if isinstance(value, tuple):
        return [to_json(element) for element in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"{getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', type(value).__name__)}"


def dump(experiment: Experiment) -> str:
    """The text of `config.json`."""
    return json.dumps(to_json(experiment), indent=2) + "\n"


def from_json(value: Any) -> Experiment:
    """The experiment of a `config.json`, every value typed; raises ConfigError naming the dotted path."""
    return convert(Experiment, value, "", text=False)


def filled(value: Any, kind: Any = Experiment) -> Any:
    """A stored config with the fields that it does not have, since they are newer than it, at their defaults.

    >>> old = to_json(Experiment()) | {"init_from": "a run"}
    >>> del old["loop"]["limit_steps"], old["seed"]
    >>> filled(old) == to_json(Experiment(init_from="a run"))
    True
    """
    if isinstance(value, list):
        elements = [typing.get_args(member)[0] for member in members_of(kind) if typing.get_origin(member) is tuple]
        return [filled(one, elements[0]) for one in value] if elements else value
    named = {variant_name(one): one for one in stages_of(kind)}
    if not isinstance(value, Mapping) or value.get("variant") not in named:
        return value
    stage = named[value["variant"]]
    kinds = field_types(stage)
    known = {field.name: to_json(field.default) for field in dataclasses.fields(stage) if _has_default(field)}
    return known | {name: filled(one, kinds.get(name)) for name, one in value.items()}


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """JSON values by dotted path, for a comparison."""
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(element, Mapping) for element in value):
        items = ((str(index), element) for index, element in enumerate(value))
    else:
        return {path: value}
    flat: dict[str, Any] = {}
    for key, element in items:
        flat |= flatten(element, f"{path}.{key}".lstrip("."))
    return flat


def difference(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """What differs between two configs in JSON, by dotted path.

    >>> difference({"optim": {"lr": 0.1, "eps": 1}}, {"optim": {"lr": 0.2, "eps": 1}})
    {'optim.lr': (0.1, 0.2)}
    """
    before, after = flatten(old), flatten(new)
    absent = "absent"
    paths = [*before, *(path for path in after if path not in before)]
    pairs = {path: (before.get(path, absent), after.get(path, absent)) for path in paths}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}
