"""Forecasts drawn: what was seen, what came and what was said; and how far off it was, step by step."""

from __future__ import annotations

import numpy as np

from jaxnets.data import Schema
from jaxnets.report import svg

_MOST = 6  # windows that are drawn


def outcome(schema: Schema, table: dict[str, np.ndarray]) -> str:
    """The mean absolute error of each step of the horizon, a curve a target."""
    error = np.abs(table["forecast"] - table["target"])  # n h c
    given = ~np.isnan(error)
    mean = np.where(given, error, 0.0).sum(axis=0) / np.maximum(given.sum(axis=0), 1)
    steps = np.arange(1, 1 + len(mean)).tolist()
    curves = [svg.Line(name, steps, mean[:, i].tolist()) for i, name in enumerate(schema.target_names)]
    chart = svg.lines("absolute error by step", curves, x="steps ahead", y="mean absolute error")
    return f'<div class="charts">{chart}{svg.histogram("loss, by window", table["loss"], x="loss")}</div>'


def worst(schema: Schema, table: dict[str, np.ndarray], rows: list[int]) -> str:
    """The windows of the highest loss: the first target's past, its values to come, and their forecast."""
    charts = []
    for place, row in enumerate(rows[:_MOST]):
        past = table["wrong_inputs"][place][:, 0]
        title = f"{schema.target_names[0]}, row {int(table['row'][row])}"
        forecast = table["forecast"][row][:, 0]
        charts.append(window(title, past, table["target"][row][:, 0], forecast))
    return f'<div class="charts">{"".join(charts)}</div>'


def window(title: str, past: np.ndarray, target: np.ndarray, forecast: np.ndarray | None = None) -> str:
    """One window of one target as curves over steps, of which the last that was seen is 0."""
    before, after = np.arange(1 - len(past), 1).tolist(), np.arange(1, 1 + len(target)).tolist()
    curves = [svg.Line("seen", before, past.tolist()), svg.Line("true", after, target.tolist())]
    if forecast is not None:
        curves.append(svg.Line("forecast", after, forecast.tolist()))
    return svg.lines(title, curves, x="steps", y="value")
