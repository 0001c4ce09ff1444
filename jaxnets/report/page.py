"""The page: read from the run folder alone, so that it can be written again at any time."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets import metrics
from jaxnets.data import Schema
from jaxnets.errors import UsageError
from jaxnets.files import read_json, write_atomically
from jaxnets.report import intervals, svg
from jaxnets.report.document import as_text, document, picture, section
from jaxnets.report.svg import Line

_UP = ("accuracy", "r2")  # shown first where they are there


def write(run_dir: Path) -> Path:
    """Writes `report.html` from what the folder holds, a run that is still under way included; returns its path.

    Raises UsageError if the folder is not a run.
    """
    run_dir = Path(run_dir)
    settings, values = _json(run_dir / "config.json"), _json(run_dir / "schema.json")
    if settings is None or values is None:
        raise UsageError(
            f"{run_dir} is not a run folder: it has no config.json or schema.json; give the folder of a run"
        )
    schema = Schema.from_json(values)
    result, environment = _json(run_dir / "result.json") or {}, _json(run_dir / "env.json") or {}
    records = metrics.read(run_dir / "metrics.jsonl")
    table = _table(run_dir / "evaluation.npz")
    body = "".join(
        [
            _head(run_dir, settings, schema, result, environment),
            _cards(result, table),
            section("Training", "".join(_curves(records))),
            section("Test split", _outcome(schema, table)),
            section("Most wrong", _most_wrong(schema, table)),
            section("Samples", _samples(run_dir)),
            section("Config", _config(settings)),
            section("Data", _data(schema)),
            section("Environment", _environment(environment)),
        ]
    )
    write_atomically(run_dir / "report.html", document(run_dir.resolve().name, body).encode())
    return run_dir / "report.html"


def _json(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _table(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _head(run_dir: Path, settings: Any, schema: Schema, result: Any, environment: Any) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in schema.counts)
    model = settings["model"].get("variant", "model")
    words = [f"{model} on {schema.source} ({counts})"]
    if "parameters" in result:
        words.append(f"{result['parameters']:,} parameters")
    if "devices" in environment:
        words.append(f"{len(environment['devices'])} device(s): {environment['devices'][0]}")
    return f"<header><h1>{html.escape(run_dir.resolve().name)}</h1><p>{html.escape('; '.join(words))}</p></header>"


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


def _curves(records: list[metrics.Record]) -> list[str]:
    train = [record for record in records if "train" in record]
    valid = [record for record in records if "valid" in record]
    names = list(dict.fromkeys(name for record in valid or train for name in (record.get("valid") or record["train"])))
    charts = []
    for name in names:
        curves = [_line("train", train, "train", name), _line("valid", valid, "valid", name)]
        charts.append(svg.lines(name.replace("_", " "), curves, x="step", y=name.replace("_", " ")))
    charts.append(
        svg.lines("learning rate", [_line("rate", train, "train", "learning_rate")], x="step", y="learning rate")
    )
    charts.append(
        svg.lines("throughput", [_line("rate", train, "time", "examples_per_second")], x="step", y="examples/s")
    )
    norms = [_line("gradient", train, "train", "grad_norm"), _line("update", train, "train", "update_norm")]
    charts.append(svg.lines("norms, logarithmic", norms, x="step", y="norm", logarithmic=True))
    return [f'<div class="charts">{"".join(charts)}</div>'] if any(charts) else []


def _line(title: str, records: list[metrics.Record], group: str, name: str) -> Line:
    found = [(record["step"], record[group][name]) for record in records if name in record.get(group, {})]
    return Line(title, [step for step, _ in found], [value for _, value in found])


def _outcome(schema: Schema, table: dict[str, np.ndarray]) -> str:
    if "class" in table:
        target = table["target"] if table["target"].ndim == 1 else table["target"].argmax(axis=-1)
        n = len(schema.classes)
        counts = np.bincount(target * n + table["class"], minlength=n * n).reshape(n, n)
        matrix = svg.confusion("confusion matrix", counts, schema.classes) if n <= 100 else ""
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
        return f'<div class="charts">{"".join(charts)}</div>'
    if "loss" in table:
        chart = svg.histogram("nats per token, by window", table["loss"], x="nats per token")
        return f'<div class="charts">{chart}</div>'
    return ""


def _per_class(counts: np.ndarray, classes: tuple[str, ...]) -> str:
    """Precision and recall of each class."""
    rows = []
    for index, name in enumerate(classes):
        right, true, found = counts[index, index], counts[index].sum(), counts[:, index].sum()
        recall, precision = (f"{right / total:.4f}" if total else "–" for total in (true, found))
        cells = f"<td>{precision}</td><td>{recall}</td><td>{true}</td>"
        rows.append(f"<tr><th>{html.escape(name)}</th>{cells}</tr>")
    head = "<tr><th>class</th><th>precision</th><th>recall</th><th>examples</th></tr>"
    inner = f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'
    return f"<figure><figcaption>by class</figcaption>{inner}</figure>"


def _most_wrong(schema: Schema, table: dict[str, np.ndarray]) -> str:
    if "wrong_inputs" not in table:
        return ""
    row_of = {int(example): row for row, example in enumerate(table["id"])}
    rows = [row_of[int(example)] for example in table["wrong_id"]]
    if schema.input_kind == "token":
        texts = [(table["loss"][row], as_text(tokens)) for row, tokens in zip(rows, table["wrong_inputs"], strict=True)]
        return "".join(f"<p>{loss:.3f} nats per token</p><pre>{html.escape(text)}</pre>" for loss, text in texts[:6])
    if schema.input_kind == "image":
        cells = [
            f'<div><img alt="row {table["row"][row]}" src="{picture(image)}">{_verdict(schema, table, row)}</div>'
            for row, image in zip(rows, table["wrong_inputs"], strict=True)
        ]
        return f'<div class="wrongs">{"".join(cells)}</div>'
    return _wrong_rows(schema, table, rows[:10])


def _verdict(schema: Schema, table: dict[str, np.ndarray], row: int) -> str:
    example = f"<small>row {int(table['row'][row])}</small>"
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
        features = "".join(f"<td>{value:.5g}</td>" for value in np.ravel(table["wrong_inputs"][place]))
        lines.append(f"<tr><td>{_verdict(schema, table, row)}</td><td>{table['loss'][row]:.4g}</td>{features}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _samples(run_dir: Path) -> str:
    path = run_dir / "samples.txt"
    if not path.is_file():
        return ""
    texts = path.read_text(encoding="utf-8", errors="replace").split("\n\n--------\n\n")
    words = "<p>The first quarter of each is the beginning of the test text; the model wrote the rest.</p>"
    return words + "".join(f"<pre>{html.escape(text)}</pre>" for text in texts)


def _config(settings: Any) -> str:
    flat = {path.removesuffix(".variant"): value for path, value in _flat(settings).items() if path != "variant"}
    rows = {path: _word(value) for path, value in flat.items() if path != value}  # `loop: loop` says nothing
    return f'<div class="columns">{svg.table(rows)}</div>'


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(element, dict) for element in value):
        items = [(str(index), element) for index, element in enumerate(value)]
    else:
        return {path: value}
    return {k: v for key, element in items for k, v in _flat(element, f"{path}.{key}".lstrip(".")).items()}


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _data(schema: Schema) -> str:
    rows = {"source": schema.source, "fingerprint": schema.fingerprint}
    rows |= {f"{name} examples": f"{count:,}" for name, count in schema.counts}
    if schema.classes:
        rows["classes"] = ", ".join(schema.classes)
    rows |= {f"file {name}": digest for name, digest in schema.files[:10]}
    return svg.table(rows)


def _environment(environment: Any) -> str:
    flat = {key: value for key, value in environment.items() if key not in ("packages", "command")}
    rows = {key.replace("_", " "): _word(value) for key, value in flat.items()}
    return svg.table(rows | dict(environment.get("packages", {}))) if environment else ""
