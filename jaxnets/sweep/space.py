"""The space of a sweep: what may vary, by the dotted path of a config's leaf or variant, and how.

A dimension is `Log`, `Uniform`, `Int` or `Choice`; `Range` gives the choice of whole numbers that Python's `range`
would. Each may depend on a choice, `Uniform(0, 0.99, when=("optim", "sgd"))`, and is then no part of other trials.
The same spelling serves the command line, `sweep.json` and comparisons: `optim.momentum=uniform(0,0.99) if optim=sgd`.

Settings are `{path: value}` of one trial. Values are those of a command line: a variant by its name, a tuple as text
with commas. Numbers keep their full precision.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from jaxnets import config
from jaxnets.config import Experiment
from jaxnets.errors import ConfigError, near

When: TypeAlias = "tuple[str, Any] | None"  # the path of a choice and its value
T = TypeVar("T")


def _checked_later(cls: type[T]) -> type[T]:
    """Of a dataclass whose values `check` looks at, since it can say for which path they are."""
    cls.__init__.__no_type_check__ = True
    return cls


@_checked_later
@dataclass(frozen=True)
class Log:
    """A real number, as likely in 1e-4 to 1e-3 as in 1e-3 to 1e-2."""

    low: int | float
    high: int | float
    when: When = None


@_checked_later
@dataclass(frozen=True)
class Uniform:
    """A real number, each as likely."""

    low: int | float
    high: int | float
    when: When = None


@_checked_later
@dataclass(frozen=True)
class Int:
    """A whole number; both ends may be taken."""

    low: int
    high: int
    log: bool = False
    when: When = None


@_checked_later
@dataclass(frozen=True, init=False)
class Choice:
    """One of the values; a tuple is kept as the text of a command line.

    >>> Choice("adamw", "sgd"), Choice((64, 64), (128,)).values
    (Choice(values=('adamw', 'sgd'), when=None), ('64,64', '128,'))
    """

    values: tuple[Any, ...]
    when: When = None

    def __init__(self, *values: Any, when: When = None) -> None:
        object.__setattr__(self, "values", tuple(as_text(one) if isinstance(one, tuple) else one for one in values))
        object.__setattr__(self, "when", when)


Dimension: TypeAlias = Log | Uniform | Int | Choice
Space: TypeAlias = Mapping[str, Dimension]
_FORMS = "log(1e-4,1e-1), uniform(0,1), int(2,8), int(2,64,log), choice(64,128), range(5)"


def Range(*bounds: int, when: When = None) -> Choice:
    """The choice of the whole numbers of `range(*bounds)`.

    >>> Range(2, 5)
    Choice(values=(2, 3, 4), when=None)
    """
    return Choice(*range(*bounds), when=when)


def parse(text: str) -> tuple[str, Dimension]:
    """A path and its dimension, from the spelling of the command line. Raises ConfigError.

    >>> parse("optim.lr=log(1e-4,1e-1)")
    ('optim.lr', Log(low=0.0001, high=0.1, when=None))
    >>> parse("optim.momentum = uniform(0, 0.99) if optim=sgd")
    ('optim.momentum', Uniform(low=0, high=0.99, when=('optim', 'sgd')))
    >>> parse('model.widths=choice("64,64",(128,128))')[1].values
    ('64,64', '128,128')
    """
    path, equals, rest = text.partition("=")
    name, opening, rest = rest.partition("(")
    arguments, rest = _to_closing(rest) if opening else ([], None)
    if not (equals and path.strip()) or rest is None:
        raise ConfigError(f"{text!r} is not a dimension; give a path and one of {_FORMS}, as in optim.lr=log(1e-4,0.1)")
    path = _path(path)
    try:
        return path, _dimension(name.strip(), arguments, _condition(rest))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def text(dimension: Dimension) -> str:
    """The spelling that `parse` reads, without the path.

    >>> text(Log(1e-4, 1e-1)), text(Choice("64,64", None, 0.5)), text(Range(5))
    ('log(0.0001,0.1)', 'choice("64,64",none,0.5)', 'range(5)')
    """
    match dimension:
        case Log(low, high):
            form = f"log({low!r},{high!r})"
        case Uniform(low, high):
            form = f"uniform({low!r},{high!r})"
        case Int(low, high, log):
            form = f"int({low!r},{high!r}{',log' if log else ''})"
        case Choice(values):
            form = _range_text(values) or f"choice({','.join(map(_quoted, values))})"
    return form if dimension.when is None else f"{form} if {dimension.when[0]}={_quoted(dimension.when[1])}"


def ordered(space: Space) -> list[str]:
    """The paths, each behind the one that it depends on, and else as they were given."""
    done: dict[str, None] = {}
    for path in space:
        done |= dict.fromkeys(reversed([path, *_conditions(space, path)]))
    return list(done)


def active(dimension: Dimension, settings: Mapping[str, Any]) -> bool:
    """Whether a trial with these settings so far has this dimension.

    >>> active(Uniform(0, 1, when=("optim", "sgd")), {"optim": "adamw"})
    False
    """
    return dimension.when is None or (
        dimension.when[0] in settings and settings[dimension.when[0]] == dimension.when[1]
    )


def apply(experiment: Experiment, settings: Mapping[str, Any]) -> Experiment:
    """The experiment of one trial: variants switched first, then leaves set; checked. Raises ConfigError.

    >>> from jaxnets.loop import Loop
    >>> base = Experiment(loop=Loop(steps=10))
    >>> apply(base, {"optim.lr": 0.1 + 0.2, "optim": "sgd"}).optim.lr
    0.30000000000000004
    """
    changed = assigned(experiment, settings)
    config.check(changed)
    return changed


def check(space: Mapping[str, Any], experiment: Experiment) -> None:
    """Raises ConfigError, before anything runs, if a dimension cannot be had of this experiment.

    That is: a path that it has not, for one of the variants that may be switched to; a range of the wrong type or
    order; a condition on what is no choice of the space; an end or a value that the config refuses, whatever the
    other dimensions are. (Values that only fit some values of other dimensions are for `apply` to refuse.)
    """
    if not space:
        raise ConfigError(f"the space is empty, so that there is nothing to try; give paths and one of {_FORMS}")
    for path, dimension in space.items():
        with _named(path, dimension):
            _check_numbers(dimension)
    for path, dimension in space.items():
        with _named(path, dimension):
            _check_condition(space, path)
    for path, dimension in space.items():
        with _named(path, dimension):
            _check_types(space, path, experiment)
    for path, dimension in space.items():
        with _named(path, dimension):
            for settings in _settings(space, path):
                _check_some_fit(space, settings, experiment)


def of_file(path: str | Path) -> dict[str, Dimension]:
    """The `space` of a config file, empty if it has none. Raises ConfigError if it is no mapping of dimensions."""
    found = config.definitions(path).get("space", {})
    if not isinstance(found, Mapping) or not all(
        isinstance(one, Log | Uniform | Int | Choice) for one in found.values()
    ):
        raise ConfigError(f"space in {path} is {found!r}; give a dict of dotted paths and one of {_FORMS} each")
    return dict(found)


def _path(path: str) -> str:
    return path.strip().replace("-", "_")


def _to_closing(rest: str) -> tuple[list[str], str | None]:
    """(arguments, what is behind the closing bracket or None): commas in quotes or brackets divide nothing."""
    arguments, quote, depth = [""], "", 0
    for index, letter in enumerate(rest):
        if letter == ")" and not quote and not depth:
            words = [word.strip() for word in arguments]
            return ([] if words == [""] else words), rest[index + 1 :]
        if letter == "," and not quote and not depth:
            arguments.append("")
            continue
        if letter == quote and rest[index - 1] != "\\":
            quote = ""
        elif letter in "\"'" and not quote and not arguments[-1].strip():
            quote = letter
        elif not quote:
            depth += (letter == "(") - (letter == ")")
        arguments[-1] += letter
    return arguments, None


def _dimension(name: str, arguments: list[str], when: When) -> Dimension:
    values = [_literal(word) for word in arguments]
    match name, values:
        case "choice", [_, *_]:
            return Choice(*values, when=when)
        case "log", [low, high]:
            return Log(low, high, when=when)
        case "uniform", [low, high]:
            return Uniform(low, high, when=when)
        case "int", [low, high]:
            return Int(_whole(low), _whole(high), when=when)
        case "int", [low, high, "log"]:
            return Int(_whole(low), _whole(high), log=True, when=when)
        case "range", [_, *more] if (
            len(more) < 3 and all(type(_whole(one)) is int for one in values) and 0 not in values[2:]
        ):
            return Range(*map(_whole, values), when=when)
    hint = near(name, ("log", "uniform", "int", "choice", "range"))
    raise ConfigError(f"{name}({','.join(arguments)}) is not allowed; use one of {_FORMS}{hint}")


def _condition(rest: str) -> When:
    if not rest.strip():
        return None
    word, _, condition = rest.strip().partition(" ")
    path, equals, value = condition.partition("=")
    if word != "if" or not (equals and path.strip() and value.strip()):
        raise ConfigError(f"{rest.strip()!r} is not a condition; give if PATH=VALUE, as in if optim=sgd")
    return _path(path), _literal(value.strip())


def _literal(word: str) -> Any:
    """none, true, false, a number or text; text in quotes or brackets is text."""
    if word[:1] in ("'", '"') and word[-1:] == word[0] and len(word) > 1:
        with contextlib.suppress(SyntaxError, ValueError):
            return ast.literal_eval(word)
    if word[:1] == "(" and word[-1:] == ")" and word != "()":
        return word[1:-1]
    words = {"none": None, "true": True, "false": False}
    if word.lower() in words:
        return words[word.lower()]
    if any(letter.isdigit() for letter in word):
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(word)
    return word


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_text(value: Any) -> str:
    """The text of a command line that `config.assign` reads: all digits of a number, commas between elements."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(as_text, value)) + ("," if len(value) == 1 else "") or "()"
    return value if isinstance(value, str) else repr(value)


def _quoted(value: Any) -> str:
    plain = as_text(value)
    safe = plain.strip() == plain and not set(plain) & set(",()\"'\\") and plain
    same = safe and type(_literal(plain)) is type(value)
    return plain if same else '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _range_text(values: tuple[Any, ...]) -> str | None:
    if len(values) < 3 or not all(type(one) is int for one in values):
        return None
    first, *_, last = values
    if values != tuple(range(first, first + len(values))):
        return None
    return f"range({last + 1})" if first == 0 else f"range({first},{last + 1})"


def assigned(experiment: Experiment, settings: Mapping[str, Any]) -> Experiment:
    """Not checked. A path comes behind those that it lies below, which may switch a variant."""
    outer_first = sorted(settings, key=lambda path: path.count("."))
    return config.assign(experiment, [(path, as_text(settings[path])) for path in outer_first])


@contextlib.contextmanager
def _named(path: str, dimension: Any) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        form = text(dimension) if isinstance(dimension, Dimension) else repr(dimension)
        raise ConfigError(f"{path}={form} in the space: {error}") from None


def _check_numbers(dimension: Any) -> None:
    match dimension:
        case Choice(values):
            if not values:
                raise ConfigError("there is nothing to choose from; give values")
            strange = [one for one in values if not (one is None or isinstance(one, bool | int | float | str))]
            strange += [one for one in values if isinstance(one, float) and not math.isfinite(one)]
            if strange:
                raise ConfigError(f"{strange[0]!r} is not a value; give finite numbers, words, true, false or none")
            if len(set(values)) < len(values):
                raise ConfigError("a value is there twice; give each once")
            return
        case Log() | Uniform() | Int():
            pass
        case _:
            raise ConfigError(f"this is no dimension; give one of {_FORMS}")
    kind, words = (int, "whole numbers") if isinstance(dimension, Int) else (int | float, "finite numbers")
    for end in (dimension.low, dimension.high):
        if isinstance(end, bool) or not isinstance(end, kind) or not math.isfinite(end):
            raise ConfigError(f"the end {end!r} is not allowed; give {words}")
    if dimension.low >= dimension.high:
        raise ConfigError(f"the ends {dimension.low!r} and {dimension.high!r} do not rise; give the lower one first")
    if (isinstance(dimension, Log) or getattr(dimension, "log", False)) and dimension.low <= 0:
        raise ConfigError(f"the end {dimension.low!r} has no logarithm; give ends above 0")


def _conditions(space: Space, path: str) -> list[str]:
    """The paths that this one depends on, the nearest first."""
    chain: list[str] = []
    while (when := space[path].when) is not None and when[0] in space and when[0] not in chain:
        path = when[0]
        chain.append(path)
    return chain


def _check_condition(space: Space, path: str) -> None:
    when = space[path].when
    if when is None:
        return
    if not isinstance(when, tuple) or len(when) != 2:
        raise ConfigError(f"the condition {when!r} is not allowed; give (path, value)")
    parent = space.get(when[0])
    if not isinstance(parent, Choice):
        choices = [other for other, one in space.items() if isinstance(one, Choice) and other != path]
        hint = near(when[0], choices) or f"; choices are {', '.join(choices) or 'not there'}"
        raise ConfigError(f"it depends on {when[0]}, which is no choice of the space{hint}")
    if when[1] not in parent.values:
        raise ConfigError(f"it depends on {when[0]}={_quoted(when[1])}, which is none of {text(parent)}")
    if path in _conditions(space, path):
        raise ConfigError("it depends on itself; leave a condition out")


def _check_types(space: Space, path: str, experiment: Experiment) -> None:
    """Each end can be set, under every variant that may be there."""
    for settings in _settings(space, path):
        try:
            assigned(experiment, settings)
        except ConfigError as error:
            raise ConfigError(f"{error}{_advice(space, path, experiment)}") from None


def _settings(space: Space, path: str) -> Iterator[dict[str, Any]]:
    """Each end of a dimension, with what it depends on, under every variant that may be above."""
    needed = required(space, path)
    above = [other for other in _switches(space, [path, *needed]) if other not in needed]
    for values in itertools.product(*(space[other].values for other in above)):  # type: ignore[union-attr]
        for value in ends(space[path]):
            yield needed | dict(zip(above, values, strict=True)) | {path: value}


def required(space: Space, path: str) -> dict[str, Any]:
    """The settings that a path depends on."""
    chain = [space[one].when for one in (path, *_conditions(space, path))]
    return {when[0]: when[1] for when in chain if when is not None}


def _switches(space: Space, paths: Iterable[str]) -> list[str]:
    """The choices that lie above one of the paths, and so may take it away."""
    return [
        other
        for other, dimension in space.items()
        if isinstance(dimension, Choice) and any(path.startswith(f"{other}.") for path in paths)
    ]


def _advice(space: Space, path: str, experiment: Experiment) -> str:
    """How to say it instead, where that is known."""
    dimension = space[path]
    leaves = config.flatten(json.loads(config.dump(experiment)))
    if same := [leaf for leaf in leaves if leaf.rpartition(".")[2] == path]:
        return f"; perhaps you meant {', '.join(same)}"
    if not isinstance(dimension, Int | Choice):
        with contextlib.suppress(ConfigError, ValueError):
            low, high = int(dimension.low), int(dimension.high)
            assigned(experiment, required(space, path) | {path: low})
            return f": write {path}={text(Int(max(low, 1), high, isinstance(dimension, Log)))}"
    for other in _switches(space, [path]):
        for value in space[other].values:  # type: ignore[union-attr]
            with contextlib.suppress(ConfigError):
                assigned(experiment, required(space, path) | {other: value, path: ends(dimension)[0]})
                return f"; in a space write {path}={text(dimension)} if {other}={_quoted(value)}"
    return ""


def ends(dimension: Dimension) -> list[Any]:
    """The values that stand for all: both ends, or every choice, but of many numbers the least and the greatest."""
    if not isinstance(dimension, Choice):
        kind = int if isinstance(dimension, Int) else float
        return [kind(dimension.low), kind(dimension.high)]
    values = list(dimension.values)
    if len(values) > 64 and all(type(one) in (int, float) for one in values):
        return [min(values), max(values)]
    return values


def _check_some_fit(space: Space, settings: Mapping[str, Any], experiment: Experiment, tries: int = 32) -> None:
    """Raises ConfigError if the config refuses these settings with all that was drawn for the other dimensions."""
    refused = _refusal(experiment, settings)
    draw = random.Random(0)
    for _ in range(tries):
        drawn = dict(settings)
        for path in ordered(space):
            if path not in drawn and active(space[path], drawn):
                drawn[path] = draw.choice(ends(space[path]))
        error = _refusal(experiment, drawn)
        if error is None:
            return
        refused = refused or error
    raise ConfigError(str(refused))


def _refusal(experiment: Experiment, settings: Mapping[str, Any]) -> ConfigError | None:
    try:
        config.check(assigned(experiment, settings))
    except ConfigError as error:
        return error
    return None
