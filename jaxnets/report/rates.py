"""The page of a learning-rate range test: the loss over the rate, and the rate that it suggests."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxnets.files import write_atomically
from jaxnets.report import svg
from jaxnets.report.document import document, section

_WIDTH = 760  # pixels, of the chart at most: its letters grow with it


def write(
    out: Path, facts: Mapping[str, str], rates: np.ndarray, losses: np.ndarray, suggestion: float | None, *, told: str
) -> None:
    """Writes the page: `losses` over `rates` in the logarithm, `suggestion` marked; `told` says what was found."""
    marks = {} if suggestion is None else {f"suggested: {suggestion:g}": suggestion}
    chart = svg.lines(
        "Loss, smoothed, as the rate rises from step to step",
        [svg.Line("loss", rates.tolist(), losses.tolist())],
        x="learning rate",
        y="loss",
        logarithmic_x=True,
        marks_at=marks,
    )
    title = "Learning-rate range test"
    body = (
        f"<header><h1>{title}</h1><p>{html.escape(told)}</p></header>"
        f'<div style="max-width:{_WIDTH}px;margin-top:24px">{chart}</div>{section("Test", svg.table(facts))}'
    )
    write_atomically(out, document(title, body).encode())
