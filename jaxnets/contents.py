"""What a source holds: counts, shapes, columns, what is wrong with it; and examples as a step will see them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnets import config, data, draft, evaluate, inspection
from jaxnets.admission import admit_data, batch_at
from jaxnets.build import model_batch
from jaxnets.columns import columns, sparkline
from jaxnets.config import Experiment
from jaxnets.data import Data, Dataset, Schema
from jaxnets.data.audio.picture import pictures, waveforms
from jaxnets.data.source import KINDS
from jaxnets.data.tfds import BUILTIN
from jaxnets.errors import UsageError, near
from jaxnets.inspection import Finding, Profile
from jaxnets.report import sheet
from jaxnets.report.document import check_out

_EXAMPLES = 16  # on the sheet
_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


class Contents(NamedTuple):
    """A source, looked at."""

    experiment: Experiment
    dataset: Dataset
    profiles: list[Profile]
    findings: list[Finding]


def of_config(experiment: Experiment) -> Contents:
    """The data of a config. Raises ConfigError or DataError as a run would, but for what the checks find."""
    own = dataclasses.replace(_bearing(experiment.data), checks="off")
    experiment = dataclasses.replace(experiment, data=own)
    return _looked_at(experiment, admit_data(experiment))


def of_source(source: str, settings: Any = (), *, target: str | None = None) -> Contents:
    """A source by its name, KIND:NAME or path; of a table without a target all rows are one split."""
    word, colon, _ = source.partition(":")
    if word not in BUILTIN and not (colon and word in KINDS):
        try:
            found = draft.find(source, as_table=target is not None)
        except UsageError as error:
            raise UsageError(f"{error}{near(source, BUILTIN)}") from error
        source = draft.outline(found).experiment.data.source if found.kind == "pictures" else found.source
    context = 64 if data.takes_context(source) else None
    own = Data(source=source, target=target, batch_size=1, context=context)
    experiment = config.assign(Experiment(data=_bearing(own)), settings)
    if source.startswith("table:") and experiment.data.target is None:
        return _looked_at(experiment, inspection.untargeted(experiment.data))
    if target is not None and not source.startswith("table:"):
        raise UsageError(f"--target {target} is for tables, but {source} is none; leave it out")
    return _looked_at(experiment, data.load(experiment.data))


def _bearing(own: Data) -> Data:
    """The data of images that are read while training, with broken ones passed over: they are told with all else."""
    passed = own.source.startswith(("images:", "pairs:"))
    return dataclasses.replace(own, on_bad="skip", most_bad=2**31 - 1) if passed else own


def _looked_at(experiment: Experiment, dataset: Dataset) -> Contents:
    seen = inspection.view(dataset, experiment.data, whole=True)
    return Contents(experiment, dataset, inspection.profiles(seen), inspection.thorough(seen))


def show(found: Contents, *, html: Path | None, as_json: bool = False) -> None:
    """Prints what a source holds, and writes the page to `html`. Raises UsageError if that cannot be a page."""
    check_out(html, option="--html")
    if as_json:
        print(json.dumps(in_json(found), indent=2))
    else:
        _print(found)
    if html is not None:
        schema = found.dataset.schema
        facts, counts, fitted = described(found.dataset), counted(found.dataset), moments(schema)
        shown = examples(found.experiment, found.dataset)
        sheet.write(html, schema, facts, counts, fitted, shown, profiles=found.profiles, findings=found.findings)
        if not as_json:
            print(f"\n{len(shown)} training examples and all of this in {html}")


def _print(found: Contents) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(columns(list(described(found.dataset).items()))))
    console.print(Text("\n" + columns(counted(found.dataset), right=(1, 2, 3))))
    if found.profiles:
        console.print(Text("\n" + columns(in_words(found.profiles), right=(2, 3, 4, 5, 6))))
    fitted = moments(found.dataset.schema)
    if len(fitted) > 1:
        console.print(Text("\n" + columns(fitted, right=(1, 2))))
    console.print()
    for finding in found.findings:
        console.print(Text(finding.line(), _STYLES[finding.severity]))
    if not found.findings:
        console.print("the checks find nothing")


def in_words(profiles: list[Profile]) -> list[tuple[str, ...]]:
    """A table with a row a column of the data."""
    rows: list[tuple[str, ...]] = [("column", "kind", "missing", "different", "least", "median", "largest", "values")]
    for one in profiles:
        common = ", ".join(f"{value[:24]} ({count:,})" if count > 1 else value[:24] for value, count in one.common[:3])
        drawn = sparkline([float(count) for count in one.counts]) if one.counts else common
        extent = one.words or ("", "", "")
        missing = f"{one.missing:,}" if one.missing else ""
        rows.append((one.name, one.kind, missing, f"{one.different:,}", *extent, drawn))
    return rows


def in_json(found: Contents) -> dict[str, Any]:
    """All of it as JSON values."""
    head, *rows = counted(found.dataset)
    return {
        **described(found.dataset),
        "counts": {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows},
        "columns": [one.to_json() for one in found.profiles],
        "findings": [finding.to_json() for finding in found.findings],
    }


def described(dataset: Dataset) -> dict[str, str]:
    """The source in words."""
    schema = dataset.schema
    size = sum(array.nbytes for split in dataset.splits.values() for array in jax.tree.leaves(split.arrays))
    targets = {
        "class": f"one of {len(schema.classes)} classes",
        "real": f"numbers: {', '.join(schema.target_names)}" if schema.target_names else "none: give --target COLUMN",
        "token": f"the next of {schema.vocabulary_size} tokens",
        "labels": f"any of {len(schema.classes)} labels",
        "mask": f"of every pixel one of {len(schema.classes)} classes",
        "series": f"the next {schema.series.horizon if schema.series else 0} steps of {', '.join(schema.target_names)}",
        "pair": "which text goes with which image",
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
    if schema.input_kind == "pair":
        image, text = (" × ".join(map(str, part.shape)) for part in schema.parts)
        return f"images of {image}, {schema.input_dtype}, with texts of up to {text} tokens"
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
    elif schema.target_kind == "mask":
        return rows
    elif schema.target_kind == "pair":
        for column, name in enumerate(data.HALVES):
            counts = (len(np.unique(split.arrays["targets"][:, column])) for split in splits)
            rows.append((f"different {name}s", *(f"{count:,}" for count in counts)))
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
    """The first examples of the first batches, as they are and as a training step sees them."""
    schema, train = dataset.schema, dataset.splits["train"]
    size = min(max(_EXAMPLES, experiment.data.batch_size), train.length)
    experiment = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, batch_size=size))
    if "targets" not in train.arrays and schema.input_kind == "table":
        rows = evaluate.shown({name: array[:_EXAMPLES] for name, array in train.arrays["inputs"].items()}, schema)
        return [sheet.Example(int(train.row(i)), row, row, None) for i, row in enumerate(rows)]
    batch = batch_at(experiment, train, 0)
    if schema.input_kind in ("table", "text", "window"):
        batch = {**batch, "inputs": evaluate.shown(batch["inputs"], schema)}
    if schema.input_kind == "pair":
        return _pairs(experiment, schema, batch)
    shown = _augmented(experiment, schema, batch) if schema.input_kind in ("image", "sound") else batch
    waves = waveforms(batch["inputs"]) if schema.sound is not None else None
    if schema.sound is not None:
        batch, shown = ({**one, "inputs": pictures(one["inputs"], schema.sound)} for one in (batch, shown))
    return [
        sheet.Example(
            int(batch["id"][i]),
            np.asarray(batch["inputs"][i]),
            np.asarray(shown["inputs"][i]),
            np.asarray(shown["targets"][i]) if "targets" in shown else None,
            None if waves is None else waves[i],
        )
        for i in range(min(_EXAMPLES, size))
    ]


def _pairs(experiment: Experiment, schema: Schema, batch: Any) -> list[sheet.Example]:
    """Images with their texts; the latter stay as they are."""
    texts = evaluate.shown(batch["inputs"]["text"], schema.half("text"))[:, 0]
    images = {**batch, "inputs": batch["inputs"]["image"]}
    after = _augmented(experiment, schema.half("image"), images)["inputs"]
    return [
        sheet.Example(int(batch["id"][i]), np.asarray(images["inputs"][i]), np.asarray(after[i]), texts[i])
        for i in range(min(_EXAMPLES, len(texts)))
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
