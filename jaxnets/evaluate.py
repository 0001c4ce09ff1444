"""Testing what was trained, from its run folder alone: the same path for every model, a user's own included."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnets import config, data, forward, metrics, remote
from jaxnets.build import build_task
from jaxnets.config import Experiment
from jaxnets.data import Dataset, Schema, Split
from jaxnets.data import texts as text_inputs
from jaxnets.data.table.encoding import decode
from jaxnets.data.table.frames import encode_frame
from jaxnets.data.timeseries.history import encode_history
from jaxnets.errors import ConfigError, DataError, UsageError
from jaxnets.files import read_json, write_atomically
from jaxnets.folders import refuse_series
from jaxnets.step import results, score
from jaxnets.tasks.contrastive import normalized
from jaxnets.types import Task

WORST = 24  # examples of the highest loss that are kept for the report


class Opened(NamedTuple):
    """A run folder, read: nothing in it is executed but its own forward pass."""

    settings: dict[str, Any]  # config.json
    schema: Schema
    task: Task
    plain: Task  # without label smoothing: its losses are what an example costs
    task_name: str


def open_run(run_dir: Path) -> Opened:
    """Reads `config.json` and `schema.json`; UsageError if the folder is not a run."""
    settings, schema = read_run(run_dir)
    experiment = experiment_of(settings)
    plain = experiment
    if getattr(experiment.task, "label_smoothing", None) is not None:
        plain = replace(experiment, task=replace(experiment.task, label_smoothing=None))
    return Opened(settings, schema, build_task(experiment, schema), build_task(plain, schema), task_name(experiment))


def read_run(run_dir: Path) -> tuple[dict[str, Any], Schema]:
    """The content of `config.json` and `schema.json`. CheckpointError names one that is damaged."""
    refuse_series(run_dir)
    for name in ("config.json", "schema.json"):
        if not (run_dir / name).is_file():
            raise UsageError(f"{run_dir} is not a run folder: it has no {name}; give the folder that train named")
    return read_json(run_dir / "config.json"), Schema.from_json(read_json(run_dir / "schema.json"))


def experiment_of(settings: dict[str, Any]) -> Experiment:
    """The experiment of a run; a user's own model or optimizer stays out, since data and task do not need it."""
    known = {name: stage for name, stage in settings.items() if not _is_custom(stage)}
    return config.from_json(known)


def task_name(experiment: Experiment) -> str:
    """The task's name as a word: classification, regression, language_modelling."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(experiment.task).__name__).lower()


def _is_custom(stage: Any) -> bool:
    return isinstance(stage, dict) and stage.get("variant") == "custom"


def load_data(opened: Opened) -> Dataset:
    """The data of a run again; DataError if it is no longer what the run was trained on."""
    dataset = data.load(experiment_of(opened.settings).data)
    check_same_data(opened.schema, dataset.schema)
    return dataset


def check_same_data(old: Schema, new: Schema) -> None:
    """DataError naming the first file that differs, if `new` is not the data that `old` describes."""
    if old.fingerprint == new.fingerprint:
        return
    before, after = dict(old.files), dict(new.files)
    changed = [name for name in before if after.get(name) != before[name]] + [n for n in after if n not in before]
    raise DataError(
        f"{old.source} has changed since the run began: {changed[0] if changed else old.source} differs; "
        "restore it, or start a new run with --run-dir"
    )


def test(
    run_dir: Path | str, split: str = "test", *, dataset: Dataset | None = None, batch_size: int = 256
) -> dict[str, Any]:
    """Figures of a split, and `evaluation.npz` beside them: what each example was, what was predicted, what it cost."""
    with remote.reading(run_dir) as folder:
        return _test(folder, split, dataset, batch_size)


def _test(run_dir: Path, split: str, dataset: Dataset | None, batch_size: int) -> dict[str, Any]:
    opened = open_run(run_dir)
    dataset = dataset or load_data(opened)
    if split not in dataset.splits:
        raise ConfigError(f"split {split!r} is not there; use one of {', '.join(dataset.splits)}")
    if opened.task.joint:  # so that its loss is that of the validation split: of batches of this size
        batch_size = experiment_of(opened.settings).data.batch_size
    apply = forward.load(run_dir)
    part = _each_token_once(dataset.splits[split])
    sums: Any = None
    rows: dict[str, list[np.ndarray]] = {}
    keep_predictions = opened.task_name != "language_modelling"

    @jax.jit
    def measured(outputs: Any, batch: Any) -> dict[str, Any]:
        batch = {**batch, "inputs": data.preprocess(opened.schema, batch["inputs"])}  # what an autoencoder tells again
        found = score(opened.task, outputs, batch)
        found["losses"] = score(opened.plain, outputs, batch)["losses"]
        return found if keep_predictions else {k: v for k, v in found.items() if k != "predictions"}

    workers = data.workers_of(experiment_of(opened.settings).data.workers)
    for batch in data.evaluation_batches(part, min(batch_size, part.length), workers=workers):
        inputs = batch["inputs"][:, :-1] if opened.schema.input_kind == "token" else batch["inputs"]
        found = jax.device_get(measured(apply(inputs), batch))
        sums = metrics.gather(opened.task.metrics, sums, found["metrics"])
        real = np.asarray(batch["weight"]) > 0
        columns = {
            "id": batch["id"],
            "row": part.row(batch["id"]),
            "loss": found["losses"],
            **found.get("predictions", {}),
        }
        if "targets" in batch and opened.task.kept is None:
            columns["target"] = np.asarray(batch["targets"])
        for name, column in columns.items():
            rows.setdefault(name, []).append(np.asarray(column)[real])
    table = {name: np.concatenate(parts) for name, parts in rows.items()}
    worst = np.argsort(-table["loss"], kind="stable")[:WORST]
    table["wrong_id"] = table["id"][worst]
    wrong = data.Wanted(table["wrong_id"], np.ones(len(worst), np.float32))
    table |= _worst(data.fetch(part, wrong)["inputs"], opened.schema)
    if split == "test":
        _write_table(run_dir / "evaluation.npz", table)
    return results(opened.task, sums) | {"examples": len(table["loss"])}


def _worst(inputs: Any, schema: Schema) -> dict[str, np.ndarray]:
    """The examples of the highest loss, for a report; of pairs both halves."""
    if schema.input_kind != "pair":
        return {"wrong_inputs": shown(inputs, schema)}
    texts = shown(inputs["text"], schema.half("text"))[:, 0]
    return {"wrong_inputs": np.asarray(inputs["image"]), "wrong_texts": texts}


def shown(inputs: Any, schema: Schema) -> np.ndarray:
    """Inputs as one array: of a table the columns that a model saw, in words, of a window its past.

    Of texts what their tokens tell.
    """
    if schema.input_kind == "text":
        return np.array(text_inputs.decode(np.asarray(inputs), schema), np.str_)[:, None]
    if schema.input_kind == "window":
        return np.asarray(inputs["past"])
    if schema.input_kind != "table":
        return np.asarray(inputs)
    rows = decode(schema.columns, inputs)
    return np.array([[row[name] for name in schema.feature_names] for row in rows], np.str_)


def _each_token_once(split: Split) -> Split:
    """The train split of a text has a window at every token; for figures one after the other is enough."""
    if split.window is None or split.stride == split.window:
        return split
    length = (len(split.arrays["tokens"]) - split.window - 1) // split.window + 1
    return split._replace(stride=split.window, length=length)


def _write_table(path: Path, table: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    columns: dict[str, Any] = table
    np.savez_compressed(buffer, **columns)
    write_atomically(path, buffer.getvalue())


def predict(run_dir: Path | str, inputs: Any, *, batch_size: int = 256) -> dict[str, np.ndarray]:
    """Predictions for raw inputs (b …), as the user reads them: probabilities and class, or values in their unit.

    A run on a table takes a pandas, polars or Arrow table, a list of rows as dicts, or a dict of columns, and a run on
    texts a list of them. One on time series takes a table, too, and forecasts what comes behind the last row with a
    target of each series, in the order of their names; rows behind it say what is known ahead.

    A run on pairs takes {"image": (n …), "text": m of them} or one of the two, and gives embeddings; of both it tells
    how alike they are: similarity (n m), a cosine, and probabilities (n m) of the texts for each image.

    Tokens (b t) with t up to the run's context give the probabilities of the token after each. Raises DataError if the
    inputs are none, or are not what the run was trained on: shape, NaN, images that are not whole 0..255, tokens.
    """
    with remote.reading(run_dir) as folder:
        return _predict(folder, inputs, batch_size)


def _predict(run_dir: Path, inputs: Any, batch_size: int) -> dict[str, np.ndarray]:
    opened = open_run(run_dir)
    inputs = raw_inputs(inputs, opened.schema)
    if opened.schema.input_kind == "pair":
        return _compared(forward.load(run_dir), inputs, opened.schema, batch_size)
    length = inputs.shape[1] if opened.schema.input_kind == "token" else None
    if length is not None:  # what stands behind the last token is not seen by those before it
        inputs = np.pad(inputs, ((0, 0), (0, opened.schema.input_shape[0] - length)))
    apply = forward.load(run_dir)
    call = jax.jit(opened.task.predict)
    parts = []
    for start in range(0, len(jax.tree.leaves(inputs)[0]), batch_size):
        part = jax.tree.map(lambda leaf, start=start: leaf[start : start + batch_size], inputs)
        parts.append(jax.device_get(call(apply(part))))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return whole if length is None else {name: column[:, :length] for name, column in whole.items()}


def _compared(apply: Any, given: dict[str, Any], schema: Schema, batch_size: int) -> dict[str, np.ndarray]:
    """Embeddings of what is given of pairs, and of both how alike each image and each text are."""
    found, scale = {}, 1.0
    for name, rows in given.items():
        parts = []
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            blank = {n: np.zeros(one.shape, one.dtype) for n, one in schema.inputs(len(part)).items()}
            outputs = apply(blank | {name: part})  # a tower knows nothing of the other
            parts.append(np.asarray(normalized(outputs[name])))
            scale = float(outputs["scale"][0])
        found[f"{name}_embedding"] = np.concatenate(parts)
    if len(given) == len(data.HALVES):
        found["similarity"] = found["image_embedding"] @ found["text_embedding"].T
        found["probabilities"] = np.asarray(jax.nn.softmax(scale * found["similarity"], axis=-1))
    return found


def _halves(inputs: Any, schema: Schema) -> dict[str, Any]:
    """Raw images and texts, of which there may be different numbers, or one kind alone."""
    if not isinstance(inputs, dict) or not inputs or not set(inputs) <= set(data.HALVES):
        keys = ", ".join(map(str, inputs)) if isinstance(inputs, dict) else type(inputs).__name__
        raise DataError(
            f"the inputs are {keys or 'empty'}; this run takes {{'image': …, 'text': …}}, or one of the two"
        )
    return {name: raw_inputs(inputs[name], schema.half(name)) for name in data.HALVES if name in inputs}


def raw_inputs(inputs: Any, schema: Schema) -> Any:
    """`inputs` (b …) in the dtype of the run's data, a table encoded; DataError says what does not fit."""
    if schema.input_kind == "table":
        return encode_frame(inputs, schema)
    if schema.input_kind == "text":
        return text_inputs.encode(inputs, schema)
    if schema.input_kind == "window":
        return encode_history(inputs, schema)
    if schema.input_kind == "pair":
        return _halves(inputs, schema)
    inputs = np.asarray(inputs)
    shape = tuple(schema.input_shape)
    words = f"this run takes (examples, {', '.join(map(str, shape))})"
    if schema.input_kind == "token":
        words = f"this run takes whole numbers (examples, 1 to {shape[0]})"
        fits = inputs.ndim == 2 and 1 <= inputs.shape[1] <= shape[0]
    else:
        fits = inputs.shape[1:] == shape
    if not fits or inputs.dtype.kind not in "biuf":
        raise DataError(f"inputs of {inputs.dtype} {inputs.shape} do not fit; {words}")
    if not len(inputs):
        raise DataError(f"the inputs hold no examples; {words}")
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        row = int(np.flatnonzero(~np.isfinite(inputs.reshape(len(inputs), -1)).all(axis=1))[0])
        raise DataError(f"row {row} of the inputs holds NaN or infinity; remove or fill it")
    most = schema.vocabulary_size - 1 if schema.input_kind == "token" else 255
    whole = schema.input_kind == "token" or (schema.input_dtype == "uint8" and inputs.dtype != np.uint8)
    if whole and (inputs.min() < 0 or inputs.max() > most or (inputs != np.round(inputs)).any()):
        raise DataError(f"the inputs are {inputs.dtype} values outside whole 0..{most}; {words} of such values")
    return inputs.astype(schema.input_dtype)
