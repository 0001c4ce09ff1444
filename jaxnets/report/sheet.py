"""A sheet of training examples, before and after augmentation: what a network is going to be shown."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnets.data import Schema
from jaxnets.files import write_atomically
from jaxnets.report import svg
from jaxnets.report.document import as_text, document, grid, picture, section
from jaxnets.report.film import strip
from jaxnets.report.forecasts import window

_LEAST_SHARE = 0.005  # of a mixed label that is worth a word


class Example(NamedTuple):
    """One training example: as the source holds it, and as a step sees it, in the source's own scale."""

    number: int
    before: np.ndarray
    after: np.ndarray
    target: np.ndarray | None  # a class number, probabilities where labels are mixed, numbers; None for text


def write(
    out: Path,
    schema: Schema,
    facts: Mapping[str, str],
    counts: Sequence[Sequence[str]],
    fitted: Sequence[Sequence[str]],
    examples: Sequence[Example],
) -> None:
    """Writes the page; `counts` and `fitted` are tables whose first row is their head."""
    body = "".join(
        [
            f"<header><h1>{html.escape(schema.source)}</h1><p>what a training step is going to see</p></header>",
            section("Examples", _examples(schema, examples)),
            section("Source", svg.table(facts)),
            section("Splits", _table(counts)),
            section("Fitted", _table(fitted) if len(fitted) > 1 else ""),
        ]
    )
    write_atomically(out, document(schema.source, body).encode())


def _examples(schema: Schema, examples: Sequence[Example]) -> str:
    if schema.input_kind == "token":
        return "".join(f"<p>window {e.number}</p><pre>{html.escape(as_text(e.before, schema))}</pre>" for e in examples)
    if schema.input_kind in ("row", "table", "text"):
        head = ("example", *_target_names(schema), *schema.feature_names)
        rows = [(str(e.number), *_target(schema, e), *map(_cell, e.before.ravel())) for e in examples]
        return _table([head, *rows])
    if schema.input_kind == "window":
        name = schema.target_names[0]
        charts = [window(f"{name}, window {e.number}", e.before[:, 0], np.asarray(e.target)[:, 0]) for e in examples]
        return f'<div class="charts">{"".join(charts)}</div>'
    if schema.input_kind == "video":
        examples = [e._replace(before=strip(e.before), after=strip(e.after)) for e in examples]
    cells = [
        f'<div><img alt="example {e.number}" src="{picture(e.before)}">'
        f'<img alt="example {e.number}, augmented" src="{picture(e.after)}"><br>'
        f"{html.escape(', '.join(_target(schema, e)))} <small>example {e.number}</small></div>"
        for e in examples
    ]
    return f'<p>left as it is, right as augmented</p><div class="pairs">{"".join(cells)}</div>'


def _target_names(schema: Schema) -> tuple[str, ...]:
    return {"class": ("class",), "labels": ("labels",)}.get(schema.target_kind, schema.target_names)


def _target(schema: Schema, example: Example) -> tuple[str, ...]:
    """The target in words; a mixed one by its parts, the largest first."""
    target = np.asarray(example.target)
    if schema.target_kind == "labels":
        return (", ".join(name for name, there in zip(schema.classes, target, strict=True) if there) or "none",)
    if schema.target_kind == "real":
        return tuple(f"{value:.5g}" for value in target.ravel())
    if schema.target_kind == "mask":  # as shares of its pixels
        target = np.bincount(target[target < len(schema.classes)], minlength=len(schema.classes)) / target.size
    if target.ndim == 0:
        return (schema.classes[int(target)],)
    kept = [int(i) for i in np.argsort(-target, kind="stable") if target[i] >= _LEAST_SHARE]
    return (" + ".join(f"{target[i]:.0%} {schema.classes[i]}" for i in kept),)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.5g}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    return grid([[html.escape(cell) for cell in row] for row in rows])
