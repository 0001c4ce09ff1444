"""What the source of a config holds: counts, shapes, classes, what was fitted; and examples as a step will see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnets import evaluate
from jaxnets.admission import admit_data, batch_at
from jaxnets.build import model_batch
from jaxnets.columns import columns
from jaxnets.config import Experiment
from jaxnets.data import Dataset, Schema
from jaxnets.report import sheet
from jaxnets.report.document import check_out

_EXAMPLES = 16  # on the sheet


def show(experiment: Experiment, *, out: Path | None) -> None:
    """Prints what the source holds, and writes the sheet of examples to `out`.

    Raises UsageError if `out` cannot be a page, ConfigError or DataError as a run of this config would.
    """
    check_out(out)
    dataset = admit_data(experiment)
    facts, counts, fitted = described(dataset), counted(dataset), moments(dataset.schema)
    print(columns(list(facts.items())))
    print("\n" + columns(counts, right=(1, 2, 3)))
    if len(fitted) > 1:
        print("\n" + columns(fitted, right=(1, 2)))
    if out is not None:
        sheet.write(out, dataset.schema, facts, counts, fitted, examples(experiment, dataset))
        print(f"\n{_EXAMPLES} training examples in {out}")


def described(dataset: Dataset) -> dict[str, str]:
    """The source in words."""
    schema = dataset.schema
    size = sum(array.nbytes for split in dataset.splits.values() for array in jax.tree.leaves(split.arrays))
    targets = {
        "class": f"one of {len(schema.classes)} classes",
        "real": f"numbers: {', '.join(schema.target_names)}",
        "token": f"the next of {schema.vocabulary_size} tokens",
        "labels": f"any of {len(schema.classes)} labels",
        "series": f"the next {schema.series.horizon if schema.series else 0} steps of {', '.join(schema.target_names)}",
    }
    shape = " × ".join(map(str, schema.input_shape))
    return {
        "source": schema.source,
        "fingerprint": schema.fingerprint,
        "inputs": f"{schema.input_kind}s of {shape}, {schema.input_dtype}" if not schema.parts else _parts(schema),
        "targets": targets[schema.target_kind],
        "in memory": f"{size / 1e6:,.1f} MB",
    }


def _parts(schema: Schema) -> str:
    if schema.series is not None:
        known = f", {', '.join(schema.feature_names)} known ahead" if schema.feature_names else ""
        return f"windows of {schema.input_shape[0]} steps of {len(schema.series.names)} series{known}"
    widths = ", ".join(f"{part.shape[0]} {part.name}" for part in schema.parts)
    return f"rows of {len(schema.feature_names)} columns: {widths}"


def counted(dataset: Dataset) -> list[tuple[str, ...]]:
    """A table with a column a split: its examples, those of each class, the spread of each target, or its tokens."""
    schema, splits = dataset.schema, list(dataset.splits.values())
    rows = [("", *dataset.splits), ("examples", *(f"{split.length:,}" for split in splits))]
    if schema.target_kind == "class":
        found = [np.bincount(split.arrays["targets"], minlength=len(schema.classes)) for split in splits]
        rows += [(f"class {name}", *(f"{n[i]:,}" for n in found)) for i, name in enumerate(schema.classes)]
    elif schema.target_kind == "labels":
        for index, name in enumerate(schema.classes):
            rows.append((f"label {name}", *(f"{int(s.arrays['targets'][:, index].sum()):,}" for s in splits)))
    elif schema.target_kind == "real":
        for index, name in enumerate(schema.target_names):
            values = [split.arrays["targets"][:, index] for split in splits]
            for words, measure in (("least", np.min), ("mean", np.mean), ("largest", np.max)):
                rows.append((f"{words} {name}", *(f"{measure(column):.5g}" for column in values)))
    elif schema.target_kind == "series":
        rows.append(
            ("rows of the source", *(f"{len(np.unique(split.row(np.arange(split.length)))):,}" for split in splits))
        )
    elif splits[0].reader is not None:
        rows.append(("tokens", *(f"{split.length * split.stride:,}" for split in splits)))
    else:
        rows.append(("tokens", *(f"{len(split.arrays['tokens']):,}" for split in splits)))
        rows.append(("different tokens", *(f"{len(np.unique(split.arrays['tokens'])):,}" for split in splits)))
    return rows


def moments(schema: Schema) -> list[tuple[str, ...]]:
    """A table of what was fitted on the train split: of features, of channels from 0 to 1, of targets."""
    own = schema.feature_names if schema.input_mean else ()
    names = own or tuple(f"channel {i}" for i in range(len(schema.input_mean)))
    pairs = list(zip(names, schema.input_mean, schema.input_std, strict=False))
    pairs += [
        (f"target {name}", mean, std)
        for name, mean, std in zip(_targets(schema), schema.target_mean, schema.target_std, strict=True)
    ]
    head = ("fitted on the train split", "mean", "deviation")
    return [head, *((name, f"{mean:.6g}", f"{std:.6g}") for name, mean, std in pairs)]


def _targets(schema: Schema) -> tuple[str, ...]:
    """The name of each target that has moments: of every series its own."""
    return tuple(
        f"{name} {series}".strip()
        for series in (schema.series.names if schema.series else ("",))
        for name in schema.target_names
    )


def examples(experiment: Experiment, dataset: Dataset) -> list[sheet.Example]:
    """The first examples of the first batch, as they are and as a training step sees them."""
    schema, train = dataset.schema, dataset.splits["train"]
    batch = batch_at(experiment, train, 0)
    if schema.input_kind in ("table", "window"):
        batch = {**batch, "inputs": evaluate.shown(batch["inputs"], schema)}
    shown = _augmented(experiment, schema, batch) if schema.input_kind == "image" else batch
    return [
        sheet.Example(
            int(batch["id"][i]),
            np.asarray(batch["inputs"][i]),
            np.asarray(shown["inputs"][i]),
            np.asarray(shown["targets"][i]) if "targets" in shown else None,
        )
        for i in range(min(_EXAMPLES, experiment.data.batch_size))
    ]


def _augmented(experiment: Experiment, schema: Schema, batch: Any) -> Any:
    """The batch through the step's own augmentation, with its images as they were before they were standardised."""
    seen = jax.jit(lambda given, key: model_batch(experiment, schema, given, key=key))(
        batch, jax.random.key(int(experiment.seed))
    )
    images = np.asarray(seen["inputs"], np.float64)
    if schema.input_mean:
        images = images * np.asarray(schema.input_std) + np.asarray(schema.input_mean)
    if schema.input_dtype == "uint8":
        images = np.clip(np.round(images * 255), 0, 255).astype(np.uint8)
    return {**seen, "inputs": images}
