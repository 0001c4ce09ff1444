"""Files in, predictions out: what a user has at hand becomes raw inputs, and what the model says becomes rows."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets import evaluate, nearest
from jaxnets.data import Data, Schema, Texts, text_rows, tokenizer
from jaxnets.data.audio.decoding import SUFFIXES as SOUNDS
from jaxnets.data.audio.decoding import BadSound, read_wave
from jaxnets.data.pictures import SUFFIXES as PICTURES
from jaxnets.data.pictures import BadPicture, Images, cut
from jaxnets.data.table.reading import SUFFIXES
from jaxnets.data.table.source import encode_file
from jaxnets.data.timeseries.history import encode_history_file
from jaxnets.data.video.clips import SUFFIXES as VIDEOS
from jaxnets.data.video.clips import BadClip, Video, read_clip
from jaxnets.errors import DataError, UsageError
from jaxnets.files import write_atomically


def predict_files(run_dir: Path, files: list[Path], *, out: Path | None = None, texts: Sequence[str] = ()) -> None:
    """Predicts every example in `files`; writes JSON lines or CSV by the ending of `out`, or JSON lines to stdout.

    texts: of a run on pairs, which the images of `files` are compared with, beside those of its tables

    Raises DataError naming file and row, UsageError for an ending that is not known. Nothing is written in that case.
    """
    if out is not None and out.suffix not in (".jsonl", ".csv"):
        raise UsageError(f"--out {out} is not allowed; use a file that ends in .jsonl or .csv")
    opened = evaluate.open_run(run_dir)
    schema, cuts = opened.schema, cuts_of(opened)
    if texts and schema.input_kind != "pair":
        raise UsageError(f"--text is for runs on pairs, but {run_dir} takes {schema.input_kind}s; give a file")
    if schema.input_kind == "pair":
        rows = list(nearest.rows(run_dir, [*_pairs(opened, files, cuts), *_asked(texts)]))
    else:
        read = [(file, read_inputs(file, schema, cuts=cuts)) for file in files]
        rows = [row for file, inputs in read for row in _rows(file, evaluate.predict(run_dir, inputs), schema, inputs)]
    text = _csv(rows) if out is not None and out.suffix == ".csv" else "".join(json.dumps(row) + "\n" for row in rows)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text.encode())
        print(f"{len(rows)} predictions in {out}")


def _pairs(opened: evaluate.Opened, files: list[Path], cuts: Images | Video | None) -> Iterator[nearest.Given]:
    """What a run on pairs is given: pictures, texts, or tables of both."""
    half = opened.schema.half("image")
    for file in files:
        if file.suffix.lower() in (".npy", *PICTURES):
            yield nearest.Given(str(file), read_inputs(file, half, cuts=cuts), None)
        else:
            yield nearest.of_table(file, opened, cuts if isinstance(cuts, Images) else None)


def _asked(texts: Sequence[str]) -> list[nearest.Given]:
    return [nearest.Given("--text", None, list(texts))] if texts else []


def cuts_of(opened: evaluate.Opened) -> Images | Video | None:
    """How a run cut the pictures or clips that it read while training; None = its source gave all of one size."""
    kind, source = opened.schema.input_kind, opened.schema.source
    if kind == "video" and re.search(r"(^|[*])video:", source):
        return evaluate.experiment_of(opened.settings).data.video
    if re.search(r"(^|[*])(images|hf|pairs):", source) is None or kind not in ("image", "pair"):
        return None
    return evaluate.experiment_of(opened.settings).data.images


def read_inputs(file: Path, schema: Schema, *, cuts: Images | Video | None = None) -> Any:
    """Raw inputs (b …) of one file, as `schema` wants them; of a text the last tokens that the context holds.

    cuts: of pictures and clips, so that they are seen as evaluation sees them; None = pictures are scaled as a whole,
        clips are arrays of the shape that the model takes
    """
    try:
        return evaluate.raw_inputs(_read(file, schema, cuts), schema)
    except DataError as error:
        raise error if str(file) in str(error) else DataError(f"{file}: {error}") from error


def _read(file: Path, schema: Schema, cuts: Images | Video | None) -> Any:
    if not file.is_file():
        raise DataError(f"{file} is not a file; give .npy, .csv, .parquet, .jsonl or an image")
    suffix = file.suffix.lower()
    if schema.input_kind == "window" and suffix in SUFFIXES:
        return encode_history_file(file, schema)
    if schema.input_kind == "table" and suffix in SUFFIXES:
        return encode_file(file, schema)
    if schema.input_kind == "text" and suffix in text_rows.SUFFIXES:
        return _read_texts(file, schema)
    if suffix in VIDEOS and isinstance(cuts, Video) and not _is_batch(file, schema):
        return _read_clip(file, cuts)
    if suffix == ".npy" and schema.input_kind not in ("table", "window"):
        return _read_array(file, schema)
    if suffix in PICTURES and schema.input_kind == "image":
        return _cut_image(file, cuts) if isinstance(cuts, Images) else _read_image(file, schema)
    if suffix in SOUNDS and schema.sound is not None:
        return _read_sound(file, schema.input_shape[0], schema.sound.rate)
    if suffix in (".csv", ".parquet", ".jsonl") and schema.input_kind == "row":
        return _read_table(file, schema)
    if suffix == ".txt" and schema.input_kind == "token":
        return _last_tokens(file, schema)
    allowed = {"image": (".npy", *PICTURES), "row": (".npy", ".csv", ".parquet", ".jsonl"), "token": (".npy", ".txt")}
    allowed |= {"table": SUFFIXES, "sound": (".npy", *SOUNDS), "text": (".npy", *text_rows.SUFFIXES)}
    allowed |= {"window": SUFFIXES, "video": VIDEOS if cuts else (".npy",)}
    raise DataError(f"{file}: this run takes {schema.input_kind}s; give {', '.join(allowed[schema.input_kind])}")


def _read_texts(file: Path, schema: Schema) -> list[str]:
    """The texts of a file, in the column that the run's own stood in; where that is a number, lines have no header."""
    (column,) = schema.feature_names
    return text_rows.texts_of(Data(texts=Texts(column=column, header=not column.isdigit())), file)


def _last_tokens(file: Path, schema: Schema) -> np.ndarray:
    """(1 t) of a text, in the run's own tokens; those of documents begin with the separator."""
    context = schema.input_shape[0]
    if schema.separator is None:
        return np.frombuffer(file.read_bytes()[-context:], np.uint8)[None]
    (text,) = text_rows.texts_of(Data(), file)
    (tokens,) = tokenizer.opened(schema.tokenizer).encode([text])
    return np.concatenate([[schema.separator], tokens])[-context:][None]


def _read_array(file: Path, schema: Schema) -> np.ndarray:
    try:
        inputs = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{file} is not a plain array file: {error}") from error
    one = inputs.ndim == 1 if schema.input_kind == "token" else inputs.shape == tuple(schema.input_shape)
    return inputs[None] if one else inputs


def _is_batch(file: Path, schema: Schema) -> bool:
    """Whether a file holds clips of the shape that the model takes, and no video to take one from."""
    if file.suffix.lower() != ".npy":
        return False
    try:
        shape = np.load(file, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, EOFError):
        return False
    return len(shape) == 5 or shape == tuple(schema.input_shape)


def _read_clip(file: Path, cuts: Video) -> np.ndarray:
    try:
        return read_clip(file, cuts)[None]
    except (BadClip, OSError) as error:
        raise DataError(f"{file}: {error}; give a file that can be played") from error


def _cut_image(file: Path, images: Images) -> np.ndarray:
    try:
        return cut(file.read_bytes(), images, None)[None]
    except BadPicture as error:
        raise DataError(f"{file} is not a readable image: {error}") from error


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


def _read_sound(file: Path, samples: int, rate: int) -> np.ndarray:
    try:
        return read_wave(file, rate=rate, samples=samples)[None]
    except (BadSound, OSError) as error:
        raise DataError(f"{file}: {error}; give a file that can be played") from error


def _read_table(file: Path, schema: Schema) -> np.ndarray:
    try:
        columns = _columns(file)
    except (ValueError, TypeError, AttributeError, csv.Error) as error:  # pyarrow's errors and bad JSON are ValueErrors
        raise DataError(f"{file} cannot be read: {error}") from error
    if not columns:
        raise DataError(f"{file} holds no rows; give the columns {', '.join(schema.feature_names)}")
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
    return np.asarray(values, np.float64).T


def _columns(file: Path) -> dict[str, list[Any]]:
    if file.suffix.lower() == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(file).to_pydict()
    with open(file, newline="", encoding="utf-8") as lines:
        rows = (
            list(csv.DictReader(lines))
            if file.suffix.lower() == ".csv"
            else [json.loads(line) for line in lines if line.strip()]
        )
    return {name: [row.get(name) for row in rows] for name in (rows[0] if rows else ())}


def _forecasts(file: Path, found: dict[str, np.ndarray], schema: Schema, series: Any) -> Iterator[dict[str, Any]]:
    """A row for each series and step ahead."""
    assert schema.series is not None
    for index, step in np.ndindex(found["forecast"].shape[:2]):
        row: dict[str, Any] = {"file": str(file), "series": schema.series.names[series[index]], "step": step + 1}
        for place, name in enumerate(schema.target_names):
            row[name] = float(found["forecast"][index, step, place])
            if "quantiles" in found:
                values = found["quantiles"][index, step, place]
                row |= {f"{name} quantile {number}": float(value) for number, value in enumerate(values)}
        yield row


def _rows(file: Path, found: dict[str, np.ndarray], schema: Schema, inputs: Any) -> Iterator[dict[str, Any]]:
    if schema.input_kind == "window":
        yield from _forecasts(file, found, schema, inputs["series"])
        return
    length = len(next(iter(found.values())))
    for index in range(length):
        row: dict[str, Any] = {"file": str(file), "row": index}
        if "embedding" in found:
            row |= {f"e{place}": float(value) for place, value in enumerate(found["embedding"][index])}
        elif "labels" in found:
            row["labels"] = [n for n, there in zip(schema.classes, found["labels"][index], strict=True) if there]
            row |= {f"p({n})": float(p) for n, p in zip(schema.classes, found["probabilities"][index], strict=True)}
        elif schema.target_kind == "mask":
            row["mask"] = found["class"][index].tolist()
        elif schema.target_kind == "class":
            row["class"] = schema.classes[int(found["class"][index])]
            row |= {f"p({n})": float(p) for n, p in zip(schema.classes, found["probabilities"][index], strict=True)}
        elif schema.target_kind == "real":
            values = np.atleast_1d(found["value"][index])
            row |= {name: float(value) for name, value in zip(schema.target_names, values, strict=True)}
            for level in (name for name in found if name != "value"):  # quantiles, as q0.05
                pairs = zip(schema.target_names, np.atleast_1d(found[level][index]), strict=True)
                row |= {f"{name} {level}": float(value) for name, value in pairs}
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
