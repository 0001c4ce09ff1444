"""The page of a source: what the checks find, its columns, and training examples before and after augmentation."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnets.data import Schema
from jaxnets.files import write_atomically
from jaxnets.inspection import Finding, Profile
from jaxnets.report import bars, svg
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
    wave: np.ndarray | None = None  # a picture of the samples of a sound


def write(
    out: Path,
    schema: Schema,
    facts: Mapping[str, str],
    counts: Sequence[Sequence[str]],
    fitted: Sequence[Sequence[str]],
    examples: Sequence[Example],
    *,
    profiles: Sequence[Profile] = (),
    findings: Sequence[Finding] = (),
) -> None:
    """Writes the page; `counts` and `fitted` are tables whose first row is their head."""
    whole = ", ".join(f"{count:,} {split}" for split, count in schema.counts)
    body = "".join(
        [
            f"<header><h1>{html.escape(schema.source)}</h1><p>{html.escape(facts['inputs'])}; {whole}</p></header>",
            section("Findings", _findings(findings)),
            section("Columns", _columns(profiles)),
            section("Distributions", _distributions(profiles)),
            section("Classes", _classes(schema, counts)),
            section("Examples", _examples(schema, examples)),
            section("Splits", _table(counts)),
            section("Fitted", _table(fitted) if len(fitted) > 1 else ""),
            section("Source", svg.table(facts)),
        ]
    )
    write_atomically(out, document(schema.source, body).encode())


def _findings(findings: Sequence[Finding]) -> str:
    """The worst first, each with its rows folded away."""
    if not findings:
        return "<p>The checks find nothing.</p>"
    cells = []
    for one in findings:
        rows = "".join(f"<div>{html.escape(row)}</div>" for row in one.rows)
        folded = f"<details><summary>{one.count:,} row(s)</summary>{rows}</details>" if one.rows else ""
        head = f"<b>{one.severity}</b> {html.escape(one.check)}"
        cells.append(f'<div class="finding {one.severity}"><div>{head}</div>{html.escape(one.words)}{folded}</div>')
    return "".join(cells)


def _columns(profiles: Sequence[Profile]) -> str:
    if not profiles:
        return ""
    rows: list[tuple[str, ...]] = [("column", "kind", "missing", "different", "least", "median", "largest", "why")]
    for one in profiles:
        missing = f"{one.missing:,} ({100 * one.missing / one.rows:.2g} %)" if one.missing else ""
        extent = one.words or ("", "", "")
        rows.append((one.name, one.kind, missing, f"{one.different:,}", *extent, one.reason))
    return grid([[html.escape(cell) for cell in row] for row in rows], kind="wide tall")


def _distributions(profiles: Sequence[Profile]) -> str:
    cards = []
    for one in profiles:
        different = one.common and one.common[0][1] == 1  # a picture of it says nothing
        if one.kind in ("identifier", "constant") or different or not (one.counts or one.common):
            continue
        if one.counts:
            cards.append(bars.upright(one.name, one.counts, *(one.words[i] for i in (0, 2))))
        else:
            left = one.rows - one.missing - sum(count for _, count in one.common)
            cards.append(bars.lying(one.name, one.common, others=left))
    return f'<div class="cells">{"".join(cards)}</div>' if cards else ""


def _classes(schema: Schema, counts: Sequence[Sequence[str]]) -> str:
    """How many examples of each class or label are to be trained on."""
    pairs = [(row[0].partition(" ")[2], int(row[1].replace(",", ""))) for row in counts
             if row[0].startswith(("class ", "label "))]  # fmt: skip
    return bars.lying("of the train split", pairs[:100]) if pairs else ""


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
        f'<div>{_wave(e)}<img alt="example {e.number}" src="{picture(e.before)}">'
        f'<img alt="example {e.number}, augmented" src="{picture(e.after)}"><br>'
        f"{html.escape(', '.join(_target(schema, e)))} <small>example {e.number}</small></div>"
        for e in examples
    ]
    return f'<p>left as it is, right as augmented</p><div class="pairs">{"".join(cells)}</div>'


def _wave(example: Example) -> str:
    """The samples above their spectrogram."""
    if example.wave is None:
        return ""
    return f'<img alt="samples of example {example.number}" src="{picture(example.wave)}"><br>'


def _target_names(schema: Schema) -> tuple[str, ...]:
    return {"class": ("class",), "labels": ("labels",)}.get(schema.target_kind, schema.target_names)


def _target(schema: Schema, example: Example) -> tuple[str, ...]:
    """The target in words; a mixed one by its parts, the largest first."""
    if example.target is None:
        return ()
    if schema.target_kind == "pair":
        return (str(example.target),)
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
