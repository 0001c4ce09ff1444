"""Files in, predictions out: what a user has at hand becomes raw inputs, and what the model says becomes rows."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets import evaluate
from jaxnets.data import Schema
from jaxnets.errors import DataError, UsageError
from jaxnets.files import write_atomically

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def predict_files(run_dir: Path, files: list[Path], *, out: Path | None = None) -> None:
    """Predicts every example in `files`; writes JSON lines or CSV by the ending of `out`, or JSON lines to stdout.

    Raises DataError naming file and row, UsageError for an ending that is not known. Nothing is written in that case.
    """
    if out is not None and out.suffix not in (".jsonl", ".csv"):
        raise UsageError(f"--out {out} is not allowed; use a file that ends in .jsonl or .csv")
    schema = evaluate.open_run(run_dir).schema
    rows = []
    for file in files:
        inputs = read_inputs(file, schema)
        found = evaluate.predict(run_dir, inputs)
        rows += list(_rows(file, found, schema))
    text = _csv(rows) if out is not None and out.suffix == ".csv" else "".join(json.dumps(row) + "\n" for row in rows)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text.encode())
        print(f"{len(rows)} predictions in {out}")


def read_inputs(file: Path, schema: Schema) -> np.ndarray:
    """Raw inputs (b …) of one file, as `schema` wants them."""
    if not file.is_file():
        raise DataError(f"{file} is not a file; give .npy, .csv, .parquet, .jsonl or an image")
    suffix = file.suffix.lower()
    if suffix == ".npy":
        return _read_array(file, schema)
    if suffix in _IMAGES and schema.input_kind == "image":
        return _read_image(file, schema)
    if suffix in (".csv", ".parquet", ".jsonl") and schema.input_kind == "row":
        return _read_table(file, schema)
    if suffix == ".txt" and schema.input_kind == "token":
        return np.frombuffer(file.read_bytes(), np.uint8).astype(np.int32)[None]
    allowed = {"image": (".npy", *_IMAGES), "row": (".npy", ".csv", ".parquet", ".jsonl"), "token": (".npy", ".txt")}
    raise DataError(f"{file}: this run takes {schema.input_kind}s; give {', '.join(allowed[schema.input_kind])}")


def _read_array(file: Path, schema: Schema) -> np.ndarray:
    try:
        inputs = np.load(file, allow_pickle=False)
    except ValueError as error:
        raise DataError(f"{file} is not a plain array file: {error}") from error
    shape = tuple(schema.input_shape)
    if schema.input_kind != "token" and inputs.shape == shape:
        inputs = inputs[None]
    if schema.input_kind != "token" and inputs.shape[1:] != shape:
        raise DataError(f"{file} holds {inputs.shape}; this run takes (examples, {', '.join(map(str, shape))})")
    if schema.input_dtype == "uint8" and inputs.dtype != np.uint8:
        if inputs.size and (inputs.min() < 0 or inputs.max() > 255 or (inputs != np.round(inputs)).any()):
            raise DataError(f"{file} holds {inputs.dtype} values outside whole 0..255; give images as uint8")
        inputs = inputs.astype(np.uint8)
    return inputs


def _read_image(file: Path, schema: Schema) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    height, width, channels = schema.input_shape
    try:
        with Image.open(file) as picture:
            picture = picture.convert("L" if channels == 1 else "RGB")
            if picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(picture, np.uint8)
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{file} is not a readable image: {error}") from error
    return pixels.reshape(1, height, width, channels)


def _read_table(file: Path, schema: Schema) -> np.ndarray:
    columns = _columns(file)
    missing = [name for name in schema.feature_names if name not in columns]
    if missing:
        raise DataError(
            f"{file} lacks the columns {', '.join(missing[:5])}; it needs {', '.join(schema.feature_names)}"
        )
    values = []
    for name in schema.feature_names:
        column = []
        for row, value in enumerate(columns[name]):
            try:
                column.append(float(value))
            except (TypeError, ValueError) as error:
                raise DataError(f"{file} row {row}, column {name}: {value!r} is not a number") from error
        values.append(column)
    return np.asarray(values, np.float32).T


def _columns(file: Path) -> dict[str, list[Any]]:
    if file.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(file).to_pydict()
    with open(file, newline="", encoding="utf-8") as lines:
        rows = (
            list(csv.DictReader(lines))
            if file.suffix == ".csv"
            else [json.loads(line) for line in lines if line.strip()]
        )
    return {name: [row.get(name) for row in rows] for name in (rows[0] if rows else ())}


def _rows(file: Path, found: dict[str, np.ndarray], schema: Schema) -> Iterator[dict[str, Any]]:
    length = len(next(iter(found.values())))
    for index in range(length):
        row: dict[str, Any] = {"file": str(file), "row": index}
        if schema.target_kind == "class":
            row["class"] = schema.classes[int(found["class"][index])]
            row |= {f"p({n})": float(p) for n, p in zip(schema.classes, found["probabilities"][index], strict=True)}
        elif schema.target_kind == "real":
            values = np.atleast_1d(found["value"][index])
            row |= {name: float(value) for name, value in zip(schema.target_names, values, strict=True)}
        else:
            last = found["probabilities"][index, -1]
            row |= {"token": int(last.argmax()), "probability": float(last.max())}
        yield row


def _csv(rows: list[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()
