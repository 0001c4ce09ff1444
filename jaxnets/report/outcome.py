"""What the test split shows where there is neither one class nor one value an example: a drawing for each task."""

from __future__ import annotations

import html

import numpy as np

from jaxnets.data import Schema
from jaxnets.report import svg
from jaxnets.report.document import grid
from jaxnets.report.intervals import Table, levels


def charts(schema: Schema, table: Table) -> list[str]:
    """Figures in HTML that follow from the columns of an evaluation; none where they are not those of such a task."""
    if "labels" in table:
        return [_labels(schema, table)]
    if "hits" in table:
        return [_overlap(schema, table)]
    if "embedding" in table:
        return _embedding(table)
    if "similarity" in table:
        return _alike(table)
    return [_coverage(schema, table)] if levels(table) else []


def verdict(schema: Schema, table: Table, row: int) -> str:
    """What one example was taken for, in words."""
    if "labels" in table:
        found, true = (_names(schema, np.asarray(table[name][row])) for name in ("labels", "target"))
        return f"{found}, true {true}"
    if "hits" in table:
        right, pixels = int(table["hits"][row].sum()), int(table["true"][row].sum())
        return f"{right:,} of {pixels:,} pixels"
    if "similarity" in table:
        return f"similarity {table['similarity'][row]:.3f}, loss {table['loss'][row]:.3f}"
    return f"error {table['loss'][row]:.4g}"


def _names(schema: Schema, flags: np.ndarray) -> str:
    there = [name for name, flag in zip(schema.classes, flags, strict=True) if flag]
    return html.escape(", ".join(there) or "none")


def _labels(schema: Schema, table: Table) -> str:
    """Precision, recall, F1 and support of each label."""
    found, true = np.asarray(table["labels"]) > 0, np.asarray(table["target"]) > 0
    rows = [["label", "precision", "recall", "F1", "support"]]
    for index, name in enumerate(schema.classes):
        hits, n, m = (int(each[:, index].sum()) for each in (found & true, found, true))
        rows.append([html.escape(name), _share(hits, n), _share(hits, m), _share(2 * hits, n + m), f"{m:,}"])
    return _figure("by label", rows)


def _overlap(schema: Schema, table: Table) -> str:
    """Intersection over union of each class, precision, recall and how many pixels are of it."""
    rows = [["class", "IoU", "precision", "recall", "pixels"]]
    for index, name in enumerate(schema.classes):
        hits, true, found = (float(np.sum(table[each][:, index], dtype=float)) for each in ("hits", "true", "found"))
        shares = [_share(hits, true + found - hits), _share(hits, found), _share(hits, true)]
        rows.append([html.escape(name), *shares, f"{true:,.0f}"])
    return _figure("by class", rows)


def _coverage(schema: Schema, table: Table) -> str:
    """The share of targets at or below each quantile, which a sound one has as its level."""
    total = len(table["loss"])
    target = np.asarray(table["target"]).reshape(total, -1)
    rows = [["level", *map(html.escape, schema.target_names)]]
    for name, level in levels(table).items():
        below = (target <= np.asarray(table[name]).reshape(total, -1)).mean(axis=0)
        rows.append([f"{level:g}", *(f"{share:.3f}" for share in below)])
    return _figure("share of targets at or below each quantile", rows)


def _embedding(table: Table) -> list[str]:
    """The two directions in which embeddings differ most, and the errors."""
    found = [svg.histogram("error of each example", table["loss"], x="mean squared error")]
    points = np.asarray(table["embedding"], np.float64)
    if points.shape[1] < 2 or len(points) < 2 or not np.isfinite(points).all():
        return found
    points = points - points.mean(axis=0)
    places = points @ np.linalg.svd(points, full_matrices=False)[2][:2].T
    title = "embeddings, along the two directions in which they differ most"
    return [svg.points(title, places[:, 0], places[:, 1], x="first", y="second"), *found]


def _alike(table: Table) -> list[str]:
    """How alike the two of a pair are, beside as many that are no pair."""
    image, text = (np.asarray(table[f"{name}_embedding"], np.float64) for name in ("image", "text"))
    others = (image * np.roll(text, 1, axis=0)).sum(axis=1)
    return [
        svg.histogram("cosine of an image and its own text", table["similarity"], x="cosine"),
        svg.histogram("cosine of an image and the text of the row before it", others, x="cosine"),
        svg.histogram("loss of each pair", table["loss"], x="nats"),
    ]


def _figure(title: str, rows: list[list[str]]) -> str:
    return f"<figure><figcaption>{title}</figcaption>{grid(rows, kind='tall')}</figure>"


def _share(part: int | float, whole: int | float) -> str:
    return f"{part / whole:.4f}" if whole else "–"
