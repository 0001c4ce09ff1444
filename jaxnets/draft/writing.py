"""An experiment as the Python of a config file: what differs from the defaults, each with the reason for it."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxnets.config import Experiment

_WIDTH = 120
_STAGES = ("data", "model", "task", "optim", "loop")  # that a reader looks for


def python(experiment: Experiment, *, title: str, lines: Sequence[str], reasons: Mapping[str, str]) -> str:
    """The text of a config file that gives this experiment.

    lines:   of the docstring, below its title
    reasons: comments by dotted path, as in {"data.batch_size": "20 steps an epoch"}
    """
    body = "\n".join(_stage("", experiment, "", {path: " ".join(words.split()) for path, words in reasons.items()}))
    imports = "\n".join(_imports(experiment))
    return f"{_docstring(title, lines)}\n\n{imports}\n\nexperiment = {body.rstrip(',')}\n"


def _docstring(title: str, lines: Sequence[str]) -> str:
    def safe(text: str) -> str:
        return " ".join(text.split()).replace("\\", "\\\\").replace('"', "'")

    wide = max(9, *(len(line.partition(" ")[0]) for line in lines))
    wrapped = [part for line in lines for part in _wrapped(safe(line), wide)]
    first, *rest = textwrap.wrap(safe(title), _WIDTH - 3)
    return "\n".join(['"""' + first, *rest, "", *wrapped, '"""'])


def _wrapped(text: str, wide: int) -> list[str]:
    """`word     what it says`, wrapped under what it says."""
    word, _, said = text.partition(" ")
    return textwrap.wrap(f"{word:<{wide}} {said}", _WIDTH, subsequent_indent=" " * (wide + 1))


def _imports(experiment: Experiment) -> list[str]:
    found: dict[str, set[str]] = {}
    for kind in _classes(experiment):
        found.setdefault(".".join(kind.__module__.split(".")[:2]), set()).add(kind.__name__)
    return [
        f"from {module} import {', '.join(sorted(found[module], key=lambda name: (not name.isupper(), name)))}"
        for module in sorted(found)
    ]


def _classes(value: Any) -> Iterator[type]:
    """The dataclasses that the text names."""
    if dataclasses.is_dataclass(value):
        yield type(value)
        for field in dataclasses.fields(value):
            if _shown(value, field):
                yield from _classes(getattr(value, field.name))
    elif isinstance(value, tuple):
        for element in value:
            yield from _classes(element)


def _shown(value: Any, field: dataclasses.Field[Any]) -> bool:
    always = isinstance(value, Experiment) and field.name in _STAGES
    return always or getattr(value, field.name) != field.default


def _stage(name: str, value: Any, path: str, reasons: Mapping[str, str]) -> list[str]:
    """The lines of `name=Stage(...),` with all that differs from the defaults."""
    head = f"{name}={type(value).__name__}" if name else type(value).__name__
    inner: list[str] = []
    for field in dataclasses.fields(value):
        own, place = getattr(value, field.name), f"{path}.{field.name}".lstrip(".")
        if dataclasses.is_dataclass(own) and _shown(value, field):
            inner += [*_comment(reasons.get(place, "")), *_stage(field.name, own, place, reasons)]
        elif not dataclasses.is_dataclass(own) and (_shown(value, field) or place in reasons):
            inner += _leaf(field.name, own, reasons.get(place, ""))
    if not inner:
        return [f"{head}(),"]
    if len(inner) == 1 and path and "#" not in inner[0]:
        return [f"{head}({inner[0].rstrip(',')}),"]
    return [f"{head}(", *(f"    {line}" for line in inner), "),"]


def _leaf(name: str, value: Any, reason: str) -> list[str]:
    line = f"{name}={_literal(value)},"
    room = _WIDTH - 8  # the deepest indentation of a leaf
    if len(line) > room and isinstance(value, tuple):
        elements = [f"    {_literal(element)}," for element in value]
        return [*_comment(reason), f"{name}=(", *elements, "),"]
    if len(line) > room:
        return [*_comment(reason), f"{line}  # noqa: E501"]
    if reason and len(line) + len(reason) + 4 <= room:
        return [f"{line}  # {reason}"]
    return [*_comment(reason), line]


def _comment(words: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(words, _WIDTH - 10)]


def _literal(value: Any) -> str:
    """A value as ruff writes it.

    >>> _literal("it's"), _literal(("a",)), _literal((1, 2)), _literal(None)
    ('"it\\'s"', '("a",)', '(1, 2)', 'None')
    """
    if isinstance(value, str):
        plain = repr(value)
        return plain if '"' in value or plain[0] == '"' else f'"{plain[1:-1]}"'
    if isinstance(value, tuple):
        inner = ", ".join(map(_literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if dataclasses.is_dataclass(value):
        given = [f for f in dataclasses.fields(value) if getattr(value, f.name) != f.default]
        arguments = ", ".join(f"{f.name}={_literal(getattr(value, f.name))}" for f in given)
        return f"{type(value).__name__}({arguments})"
    return repr(value)
