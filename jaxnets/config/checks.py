"""Whether an experiment may run, as far as it can be told from its values alone."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any

from jaxnets.config.experiment import Experiment
from jaxnets.config.fit import check_fit
from jaxnets.config.kinds import choice, field_types, members_of, stages_of, variant_name
from jaxnets.config.ranges import COUNT, RULES, WORDS
from jaxnets.config.stored import to_json
from jaxnets.config.values import convert
from jaxnets.errors import ConfigError
from jaxnets.types import Model


def check(experiment: Experiment) -> None:
    """Raises ConfigError if a value has the wrong type or is out of range, or if two stages do not fit each other."""
    for path, value, kind in leaves(experiment, ""):
        if isinstance(value, list):
            raise ConfigError(f"{path} {value!r} is a list; give a tuple: ({', '.join(map(repr, value))},)")
        if not (kind is None or _is_functions(value)):
            convert(kind, to_json(value) if isinstance(value, tuple) else value, path, text=False)
        name = path.rsplit(".", 1)[-1]
        if name in WORDS and isinstance(value, str) and value not in WORDS[name]:
            raise ConfigError(choice(path, value, WORDS[name]))
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, bool) or not isinstance(one, int | float):
                continue
            test, words = RULES.get(name, COUNT if isinstance(one, int) else (lambda x: True, ""))
            if not test(one):
                raise ConfigError(f"{path} {one!r} is not allowed; give {words}")
    check_fit(experiment)


def _is_functions(value: Any) -> bool:
    return isinstance(value, Model) or callable(value) or (isinstance(value, tuple) and any(map(callable, value)))


def leaves(value: Any, path: str, kind: Any = None) -> Iterable[tuple[str, Any, Any]]:
    """(dotted path, value, annotation) of all that is no stage; ConfigError at a stage where it may not stand."""
    if dataclasses.is_dataclass(value):
        members = [m for m in members_of(kind) if m is not type(None)]
        if kind is not None and type(value) not in members:
            names = [variant_name(m) for m in stages_of(kind)]
            raise ConfigError(choice(path, variant_name(type(value)), names))
        for name, annotation in field_types(type(value)).items():
            yield from leaves(getattr(value, name), f"{path}.{name}".lstrip("."), annotation)
    elif isinstance(value, tuple) and value and all(map(dataclasses.is_dataclass, value)):
        element = typing.get_args(next(m for m in members_of(kind) if typing.get_origin(m) is tuple))[0]
        for index, part in enumerate(value):
            yield from leaves(part, f"{path}.{index}", element)
    else:
        yield path, value, kind
