"""The page: read from the run folder alone, so that it can be written again at any time."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.config import flatten
from jaxnets.data import Schema
from jaxnets.data.audio.picture import pictures
from jaxnets.files import write_atomically
from jaxnets.report import confusion, folder, forecasts, intervals, outcome, svg, training
from jaxnets.report.document import as_text, document, grid, picture, section, word
from jaxnets.report.film import strip
from jaxnets.report.folder import Folder

_UP = ("accuracy", "r2")  # shown first where they are there


def write(run_dir: Path) -> Path:
    """Writes `report.html` from what the folder holds, a run that is still under way included; returns its path.

    Raises UsageError if the folder is not a run, CheckpointError naming a file of it that is damaged.
    """
    run = folder.read(run_dir)
    schema, table = run.schema, run.table
    body = "".join(
        [
            _head(run),
            _cards(run.result, table),
            section("Training", training.curves(run.records)),
            section("Data position and wall time", training.position(run)),
            section("Test split", _outcome(schema, table)),
            section("Most wrong", _most_wrong(schema, table)),
            section("Samples", _samples(run.path)),
            section("Config", _config(run.settings)),
            section("Data", _data(schema)),
            section("Environment", _environment(run.environment)),
        ]
    )
    write_atomically(run.path / "report.html", document(run.path.resolve().name, body).encode())
    return run.path / "report.html"


def _head(run: Folder) -> str:
    schema, result, environment, name = run.schema, run.result, run.environment, run.path.resolve().name
    counts = ", ".join(f"{count:,} {split}" for split, count in schema.counts)
    model = run.settings["model"].get("variant", "model")
    words = [f"{model} on {schema.source} ({counts})"]
    if "parameters" in result:
        words.append(f"{result['parameters']:,} parameters")
    if "devices" in environment:
        words.append(f"{len(environment['devices'])} device(s): {environment['devices'][0]}")
    return f"<header><h1>{html.escape(name)}</h1><p>{html.escape('; '.join(words))}</p></header>"


def _cards(result: Any, table: dict[str, np.ndarray]) -> str:
    """The headline: every figure of the test split with its 95 % interval, and what it cost."""
    if not result:
        return "<p>This run has not finished: figures follow when it has.</p>"
    spread = intervals.of_table(table) if table else {}
    names = sorted(result["test"], key=lambda name: (name not in _UP, name == "loss"))
    cards = []
    for name in names:
        words = f"{result['test_examples']:,} test examples"
        if name in spread:
            low, high = spread[name]
            words = f"95 % interval {low:.4g} to {high:.4g}"
        cards.append((f"test {name.replace('_', ' ')}", f"{result['test'][name]:.4f}", words))
    tested = f"weights of step {result['tested_step']:,}"
    cards.append(("steps", f"{result['steps']:,}", tested))
    cards.append(
        ("training", f"{result['seconds']:.1f} s", f"and {result['evaluation_seconds']:.1f} s for the final test")
    )
    inner = "".join(
        f'<div class="card"><span>{html.escape(a)}</span><b>{html.escape(b)}</b><span>{html.escape(c)}</span></div>'
        for a, b, c in cards
    )
    return f'<div class="cards">{inner}</div>'


def _outcome(schema: Schema, table: dict[str, np.ndarray]) -> str:
    if "class" in table:
        target, n = intervals.labels(table["target"]), len(schema.classes)
        counts = np.bincount(target * n + table["class"], minlength=n * n).reshape(n, n)
        matrix = confusion.matrix("confusion matrix", counts, schema.classes) if n <= 100 else ""
        return f'<div class="charts">{matrix}{_per_class(counts, schema.classes)}</div>'
    if "value" in table:
        charts = []
        target, value = (table[name].reshape(len(table["loss"]), -1) for name in ("target", "value"))
        for index, name in enumerate(schema.target_names):
            true, found = target[:, index], value[:, index]
            charts.append(
                svg.points(f"{name}: predicted and true", true, found, x="true", y="predicted", diagonal=True)
            )
            charts.append(svg.points(f"{name}: residuals", found, found - true, x="predicted", y="predicted - true"))
            charts.append(svg.histogram(f"{name}: residuals", found - true, x="predicted - true"))
        return f'<div class="charts">{"".join([*charts, *outcome.charts(schema, table)])}</div>'
    if others := outcome.charts(schema, table):
        return f'<div class="charts">{"".join(others)}</div>'
    if "forecast" in table:
        return forecasts.outcome(schema, table)
    if "loss" in table:
        chart = svg.histogram("nats per token, by window", table["loss"], x="nats per token")
        return f'<div class="charts">{chart}</div>'
    return ""


def _per_class(counts: np.ndarray, classes: tuple[str, ...]) -> str:
    """Precision, recall, F1 and support of each class; "–" where one is 0 / 0."""
    rows = [["class", "precision", "recall", "F1", "support"]]
    for index, name in enumerate(classes):
        right, true, found = map(int, (counts[index, index], counts[index].sum(), counts[:, index].sum()))
        shares = [_share(right, found), _share(right, true), _share(2 * right, true + found)]
        rows.append([html.escape(name), *shares, str(true)])
    return f"<figure><figcaption>by class</figcaption>{grid(rows, kind='tall')}</figure>"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else "–"


def _most_wrong(schema: Schema, table: dict[str, np.ndarray]) -> str:
    if "wrong_inputs" not in table:
        return ""
    row_of = {int(example): row for row, example in enumerate(table["id"])}
    rows = [row_of[int(example)] for example in table["wrong_id"]]
    if schema.input_kind == "token":
        texts = [
            (table["loss"][row], as_text(tokens, schema))
            for row, tokens in zip(rows, table["wrong_inputs"], strict=True)
        ]
        return "".join(f"<p>{loss:.3f} nats per token</p><pre>{html.escape(text)}</pre>" for loss, text in texts[:6])
    if schema.input_kind in ("image", "sound", "video"):
        inputs = table["wrong_inputs"] if schema.sound is None else pictures(table["wrong_inputs"], schema.sound)
        shown = map(strip, inputs) if schema.input_kind == "video" else inputs
        cells = [
            f'<div><img alt="row {table["row"][row]}" src="{picture(image)}">{_verdict(schema, table, row)}</div>'
            for row, image in zip(rows, shown, strict=True)
        ]
        return f'<div class="wrongs">{"".join(cells)}</div>'
    if schema.input_kind == "pair":
        shown = zip(rows, table["wrong_inputs"], table["wrong_texts"], strict=True)
        cells = [
            f'<div><img alt="row {table["row"][row]}" src="{picture(image)}">{html.escape(str(text))}<br>'
            f"{outcome.verdict(schema, table, row)}<br><small>row {int(table['row'][row])}</small></div>"
            for row, image, text in shown
        ]
        return f'<div class="wrongs">{"".join(cells)}</div>'
    if schema.input_kind == "window":
        return forecasts.worst(schema, table, rows)
    return _wrong_rows(schema, table, rows[:10])


def _verdict(schema: Schema, table: dict[str, np.ndarray], row: int) -> str:
    example = f"<small>row {int(table['row'][row])}</small>"
    if "class" not in table and "value" not in table:
        return f"{outcome.verdict(schema, table, row)}<br>{example}"
    if "class" not in table:
        return f"{np.ravel(table['value'][row])[0]:.4g}, true {np.ravel(table['target'][row])[0]:.4g}<br>{example}"
    target = np.asarray(table["target"][row])
    true, found = int(target if target.ndim == 0 else target.argmax()), int(table["class"][row])
    share = float(table["probabilities"][row, found])
    words = f"{html.escape(schema.classes[found])} ({share:.0%}), true {html.escape(schema.classes[true])}"
    return f"{words}<br>{example}"


def _wrong_rows(schema: Schema, table: dict[str, np.ndarray], rows: list[int]) -> str:
    names = schema.feature_names
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("predicted, true", "loss", *names))
    lines = []
    for place, row in enumerate(rows):
        features = "".join(f"<td>{_cell(value)}</td>" for value in np.ravel(table["wrong_inputs"][place]))
        lines.append(f"<tr><td>{_verdict(schema, table, row)}</td><td>{table['loss'][row]:.4g}</td>{features}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _cell(value: Any) -> str:
    return html.escape(value) if isinstance(value, str) else f"{value:.5g}"


def _samples(run_dir: Path) -> str:
    path = run_dir / "samples.txt"
    if not path.is_file():
        return ""
    texts = path.read_text(encoding="utf-8", errors="replace").split("\n\n--------\n\n")
    words = "<p>The first quarter of each is the beginning of the test text; the model wrote the rest.</p>"
    return words + "".join(f"<pre>{html.escape(text)}</pre>" for text in texts)


def _config(settings: Any) -> str:
    flat = {path.removesuffix(".variant"): value for path, value in flatten(settings).items() if path != "variant"}
    rows = {path: word(value) for path, value in flat.items() if path != value}  # `loop: loop` says nothing
    return f'<div class="columns">{svg.table(rows)}</div>'


def _data(schema: Schema) -> str:
    rows = {"source": schema.source, "fingerprint": schema.fingerprint}
    rows |= {f"{name} examples": f"{count:,}" for name, count in schema.counts}
    if schema.classes:
        rows["classes"] = ", ".join(schema.classes)
    rows |= {f"file {name}": digest for name, digest in schema.files[:10]}
    return svg.table(rows)


def _environment(environment: Any) -> str:
    flat = {key: value for key, value in environment.items() if key not in ("packages", "command")}
    rows = {key.replace("_", " "): word(value) for key, value in flat.items()}
    return svg.table(rows | dict(environment.get("packages", {}))) if environment else ""
