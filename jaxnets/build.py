"""From an experiment to its parts: model, task and optimizer, built inside the trace from traced numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from jaxnets import models, optim, tasks
from jaxnets.config import Custom, Experiment, variant_name
from jaxnets.data import (
    Augmentation,
    ColorJitter,
    CutMix,
    LevelOperation,
    Mixup,
    RandAugment,
    RepeatedAugmentation,
    Schema,
    SpectrumOperation,
    WaveOperation,
    augment,
    by_spectrogram,
    preprocess,
)
from jaxnets.data.timeseries.fitting import by_series
from jaxnets.errors import ConfigError
from jaxnets.models.tables import flatten
from jaxnets.optim.loss_scale import FIRST
from jaxnets.step import Sums, init_state, make_step, merge_params
from jaxnets.tasks import Distillation, Teacher
from jaxnets.types import Array, Batch, Model, Optimizer, PyTree, Task, TrainState

_FACTORIES: dict[type, Any] = {
    models.MLP: models.mlp,
    models.CNN: models.cnn,
    models.ResNet9: models.resnet9,
    models.ResNet18: models.resnet18,
    models.ResNet34: models.resnet34,
    models.ResNet50: models.resnet50,
    models.ViT: models.vit,
    models.GPT: models.gpt,
    models.UNet: models.unet,
    models.Autoencoder: models.autoencoder,
    models.TabularMLP: models.tabular_mlp,
    models.FTTransformer: models.ft_transformer,
    models.AudioResNet: models.audio_resnet,
    models.WaveformResNet: models.waveform_resnet,
    models.TextEncoder: models.text_encoder,
    models.PatchTST: models.patchtst,
    models.TSMixer: models.tsmixer,
    models.R2Plus1D: models.r2plus1d,
    models.TwoTower: models.two_tower,
}
_TABULAR: tuple[type, ...] = (models.TabularMLP, models.FTTransformer)  # they take the parts of a table as they are


_MIXING = (Mixup, CutMix, RepeatedAugmentation)


class Parts(NamedTuple):
    """What `make_step` takes."""

    model: Model
    task: Task
    optimizer: Optimizer


def build(experiment: Experiment, schema: Schema, teacher: Teacher | None = None) -> Parts:
    """The parts of an experiment on data of this schema; its numbers may be tracers.

    teacher: whom the task listens to while it trains; without one it is the task that evaluation knows
    """
    task = _on_raw_data(build_task(experiment, schema), experiment, schema)
    distill = _distillation(experiment)
    return Parts(
        build_model(experiment, schema),
        task if distill is None or teacher is None else tasks.distilled(task, distill, teacher),
        optim.optimizer(_scaled(experiment), total_steps=total_steps(experiment, schema)),
    )


def _scaled(experiment: Experiment) -> optim.Optim:
    """The optimizer's config, with a loss scale where the model computes in float16 and none is given."""
    config = experiment.optim
    if config.loss_scale is not None or getattr(experiment.model, "dtype", None) != "float16":
        return config
    return dataclasses.replace(config, loss_scale=FIRST)


def experiment_step(
    train_state: TrainState,
    batch: Batch,
    experiment: Experiment,
    *,
    schema: Schema,
    teacher: Teacher | None = None,
    axis: str | None = None,
) -> tuple[TrainState, Sums]:
    """One step of an experiment, pure in all three: `jax.vmap` over (train_state, experiment) trains many trials.

    axis:    the device axis that batch norm and sums must know of, under `jax.pmap` or `jax.shard_map`
    teacher: `jaxnets.teacher.load(experiment, schema)`; ConfigError if `task.distill` names one and none is given.
    """
    distill = _distillation(experiment)
    if distill is not None and teacher is None:
        raise ConfigError(
            f"task.distill.teacher {distill.teacher!r} is not loaded; "
            "give teacher=jaxnets.teacher.load(experiment, schema)"
        )
    return make_step(
        *build(experiment, schema, teacher),
        axis=axis,
        accumulate=experiment.optim.accumulate,
        skip_nonfinite=experiment.loop.nonfinite == "skip",
    )(train_state, batch)


def _distillation(experiment: Experiment) -> Distillation | None:
    return getattr(experiment.task, "distill", None)


def build_model(experiment: Experiment, schema: Schema) -> Model:
    """The model alone; it takes preprocessed inputs."""
    config = experiment.model
    if isinstance(config, Custom):
        return config.model
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    if schema.input_kind == "window":
        return _on_windows(experiment, schema, fields)
    if schema.input_kind == "table" and isinstance(config, _TABULAR):
        return _FACTORIES[type(config)](outputs_of(experiment, schema), cardinalities=schema.cardinalities, **fields)
    if isinstance(config, models.TwoTower):
        return models.two_tower(vocabulary_size=schema.vocabulary_size, **fields)
    model = _FACTORIES[type(config)](outputs_of(experiment, schema), **fields, **_of_data(config, schema))
    return models.on_table(model, schema.cardinalities) if schema.input_kind == "table" else model


def _of_data(config: Any, schema: Schema) -> dict[str, Any]:
    """What a model must know of its data beside the number of outputs."""
    match config:
        case models.TextEncoder():
            return {"vocabulary_size": schema.vocabulary_size}
        case models.GPT():
            return {"separator": schema.separator}
    return {}


def outputs_of(experiment: Experiment, schema: Schema) -> int:
    """How many numbers a model gives for what the task reads: classes, targets, quantiles, or an example's values.

    Of pairs, how many numbers tell an image, or a text; 0 where only a model of the user's own knows.
    """
    match experiment.task:
        case tasks.Ordinal():
            return len(schema.classes) - 1
        case tasks.QuantileRegression(quantiles=quantiles):
            return len(quantiles) * len(schema.target_names)
        case tasks.Contrastive():
            return getattr(experiment.model, "embedding", 0)
        case tasks.Autoencoding():
            return jax.eval_shape(_flat(schema), schema.inputs(1, raw=False)).shape[-1]
    return schema.num_outputs


def _flat(schema: Schema) -> Any:
    """The inputs of any data as one array (b n)."""
    if schema.input_kind == "table":
        return lambda inputs: flatten(inputs, schema.cardinalities)
    return lambda inputs: inputs.reshape(inputs.shape[0], -1)


def _on_windows(experiment: Experiment, schema: Schema, fields: dict[str, Any]) -> Model:
    """A model of time series: forecasts in the user's unit."""
    assert schema.series is not None
    flat = isinstance(experiment.model, models.MLP)
    quantiles = max(1, len(getattr(experiment.task, "quantiles", ())))
    outputs = schema.series.horizon * quantiles * (len(schema.target_names) if flat else 1)
    how = {"horizon": schema.series.horizon, "series": len(schema.series.names), "quantiles": quantiles, "flat": flat}
    anchor = "level" if fields.get("revin") else "last"  # a model that moves the level out and back in needs no other
    return models.on_windows(_FACTORIES[type(experiment.model)](outputs, **fields), anchor=anchor, **how)


def build_task(experiment: Experiment, schema: Schema) -> Task:
    """The task alone, without its teacher; it takes preprocessed inputs and raw targets."""
    match experiment.task:
        case tasks.Classification() as config:
            fields = _own_fields(config)
            return tasks.classification(len(schema.classes), **fields)
        case tasks.Regression(loss=loss, transform=transform):
            return tasks.regression(schema.target_mean, schema.target_std, loss=loss, transform=transform)
        case tasks.LanguageModelling() as config:
            fields = _own_fields(config)
            return tasks.language_modelling(schema.vocabulary_size, separator=schema.separator, **fields)
        case tasks.MultiLabel(positive_weight=positive_weight):
            return tasks.multi_label(positive_weight=positive_weight)
        case tasks.Ordinal():
            return tasks.ordinal(len(schema.classes))
        case tasks.QuantileRegression(quantiles=quantiles):
            return tasks.quantile_regression(schema.target_mean, schema.target_std, quantiles=quantiles)
        case tasks.Segmentation(ignore_index=ignore_index):
            return tasks.segmentation(len(schema.classes), ignore_index=ignore_index)
        case tasks.Autoencoding(noise=noise):
            return tasks.autoencoding(noise=noise, flat=_flat(schema))
        case tasks.Forecasting(loss=loss, quantiles=quantiles):
            assert schema.series is not None
            scales = (schema.target_std, schema.series.naive_errors)
            scales = (by_series(part, len(schema.target_names)) for part in scales)
            return tasks.forecasting(*scales, loss=loss, quantiles=quantiles)
        case tasks.Contrastive(recall=recall):
            return tasks.contrastive(recall=recall)
    raise ConfigError(f"task {type(experiment.task).__name__} cannot be built")


def _own_fields(config: tasks.Classification | tasks.LanguageModelling) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.name != "distill"}


def model_batch(experiment: Experiment, schema: Schema, batch: Batch, *, key: Array | None) -> Batch:
    """A batch of the source as a step sees it: preprocessed, and augmented where there is a key to do it with."""
    stages: tuple[Augmentation, ...] = () if key is None else experiment.data.augment
    if schema.input_kind == "pair" and stages:  # of which texts stay as they are
        image = model_batch(experiment, schema.half("image"), {"inputs": batch["inputs"]["image"]}, key=key)["inputs"]
        return {**batch, "inputs": {"image": image, "text": batch["inputs"]["text"]}}
    if schema.input_kind == "sound" and key is not None:
        waves, stages = by_spectrogram(stages)
        key, own = jax.random.split(key)
        batch = augment(waves, own, batch, num_classes=len(schema.classes))
    batch = {**batch, "inputs": preprocess(schema, batch["inputs"])}
    if key is None or not stages:
        return batch
    moments: dict[str, Any] = {"mean": schema.input_mean, "std": schema.input_std}
    if schema.target_kind == "mask":
        moments["outside"] = _outside(experiment)
    return augment(stages, key, batch, num_classes=len(schema.classes), **moments)


def _outside(experiment: Experiment) -> int:
    """The class of what a mask shows beyond its picture: that which does not count, or the first, the background."""
    return getattr(experiment.task, "ignore_index", None) or 0


def _on_raw_data(task: Task, experiment: Experiment, schema: Schema) -> Task:
    """The task on batches as the source holds them: preprocessing first, augmentation while training."""

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[PyTree, PyTree, PyTree]:
        augment_key = None
        if train and experiment.data.augment and key is not None:
            augment_key, key = jax.random.split(key)
        return task.prepare(model_batch(experiment, schema, batch, key=augment_key), train=train, key=key)

    return task._replace(prepare=prepare)


def total_steps(experiment: Experiment, schema: Schema) -> int:
    """Optimizer steps of the whole run: as given, or epochs × train examples / batch size, rounded up."""
    loop = experiment.loop
    if loop.steps is not None:
        return loop.steps
    examples = dict(schema.counts)["train"]
    return max(1, math.ceil((loop.epochs or 0) * examples / experiment.data.batch_size))


def check_model(parts: Parts, schema: Schema, experiment: Experiment, batch: PyTree) -> TrainState:
    """The shapes of the train state; raises ConfigError if the model cannot take the data or gives other outputs."""
    name, source = variant_name(type(experiment.model)), schema.source
    try:
        state = jax.eval_shape(lambda: init_state(*parts, key=jax.random.key(0), batch=batch))
        outputs = jax.eval_shape(_outputs(parts), state, batch)
    except (ValueError, TypeError, IndexError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"model {name} does not fit {source}, whose inputs are {schema.input_shape}: {first}; "
                          "change the model's sizes") from error  # fmt: skip
    if schema.target_kind == "pair":
        _check_towers(outputs, batch["weight"].shape[0], name)
        return state
    found = getattr(outputs, "shape", None)
    if schema.target_kind == "series":  # the model's own outputs were looked at when they became values
        return state
    needed = outputs_of(experiment, schema)
    if found is not None and (len(found) < 2 or found[-1] != needed):
        raise ConfigError(
            f"model {name} gives outputs of {found}, but {source} needs {needed} an example: "
            f"({found[0] if found else 'b'}, …, {needed}); change its last layer"
        )
    return state


def _check_towers(outputs: PyTree, size: int, name: str) -> None:
    """ConfigError unless a model gives what the contrastive task reads."""
    shapes = {key: getattr(outputs[key], "shape", ()) for key in outputs} if isinstance(outputs, Mapping) else {}
    image = shapes.get("image", ())
    if len(image) != 2 or shapes != {"image": image, "text": image, "scale": (size,)}:
        raise ConfigError(
            f'model {name} gives {shapes or "no dict"}, but task contrastive reads {{"image": (b, d), "text": (b, d), '
            '"scale": (b,)}; change its outputs'
        )


def _outputs(parts: Parts) -> Any:
    def outputs(state: TrainState, batch: PyTree) -> PyTree:
        inputs, _, _ = parts.task.prepare(batch, train=False, key=None)
        return parts.model.apply(merge_params(state.params, state.frozen), state.state, inputs)[0]

    return outputs


_TASKS: dict[str, tuple[str, ...]] = {  # of a kind of target
    "class": ("classification", "ordinal", "autoencoding"),
    "labels": ("multilabel", "autoencoding"),
    "real": ("regression", "quantileregression", "autoencoding"),
    "token": ("languagemodelling",),
    "mask": ("segmentation", "autoencoding"),
    "series": ("forecasting",),
    "pair": ("contrastive",),
}


def check_schema(experiment: Experiment, schema: Schema) -> None:
    """Raises ConfigError if model, task or augmentation do not fit the data."""
    kinds = _TASKS[schema.target_kind]
    given = type(experiment.task).__name__.lower()
    if given not in kinds:
        raise ConfigError(
            f"task {given} does not fit {schema.source}, whose targets are {schema.target_kind}; "
            f"use {' or '.join(kinds)}"
        )
    name = type(experiment.model).__name__.lower()
    images = (models.CNN, models.ResNet9, models.ResNet18, models.ResNet34, models.ResNet50, models.ViT, models.UNet)
    if isinstance(experiment.model, images) and schema.input_kind != "image":
        raise ConfigError(f"model {name} takes images, but {schema.source} holds {schema.input_kind}s; use mlp or gpt")
    if isinstance(experiment.task, tasks.Autoencoding) and schema.input_kind not in ("image", "row", "table"):
        raise ConfigError(
            f"task autoencoding takes images, rows and tables, but {schema.source} holds {schema.input_kind}s; "
            "give other data or another task"
        )
    if isinstance(experiment.model, models.TwoTower) and schema.input_kind != "pair":
        raise ConfigError(f"model twotower takes pairs, but {schema.source} holds {schema.input_kind}s; use mlp or cnn")
    _check_sound(experiment, schema, name)
    _check_windows(experiment, schema)
    if isinstance(experiment.model, models.R2Plus1D) and schema.input_kind != "video":
        raise ConfigError(f"model {name} takes videos, but {schema.source} holds {schema.input_kind}s; use mlp")
    if isinstance(experiment.model, models.MLP) and schema.input_kind == "token":
        raise ConfigError(f"model mlp takes rows or images, but {schema.source} holds tokens; use gpt")
    if isinstance(experiment.model, _TABULAR) and schema.input_kind not in ("table", "row"):
        raise ConfigError(
            f"model {name} takes tables and rows, but {schema.source} holds {schema.input_kind}s; use mlp or gpt"
        )
    if isinstance(experiment.model, models.GPT) and schema.input_kind == "table":
        raise ConfigError(f"model gpt takes tokens, but {schema.source} is a table; use mlp")
    if isinstance(experiment.model, models.ViT) and any(n % experiment.model.patch for n in schema.input_shape[:2]):
        raise ConfigError(
            f"model.patch {experiment.model.patch} does not divide images of {schema.input_shape[:2]}; use a divisor"
        )
    if isinstance(experiment.model, models.GPT) and (experiment.data.context or 0) > experiment.model.context:
        raise ConfigError(
            f"data.context {experiment.data.context} is more than model.context {experiment.model.context}; "
            "make them equal"
        )
    _check_augment(experiment, schema)
    _check_words(experiment, schema)
    if experiment.data.context is not None and schema.input_kind not in ("token", "text", "window", "pair"):
        raise ConfigError(
            f"data.context {experiment.data.context} says nothing about {schema.source}, which holds "
            f"{schema.input_kind}s; set it to none"
        )
    if experiment.data.vocabulary not in (None, schema.vocabulary_size):
        raise ConfigError(
            f"data.vocabulary {experiment.data.vocabulary} is not that of {schema.source}, which has "
            f"{schema.vocabulary_size} tokens; set it to none"
        )
    weights = getattr(experiment.task, "class_weights", None)
    if weights is not None and len(weights) != len(schema.classes):
        raise ConfigError(
            f"task.class_weights has {len(weights)} values for {len(schema.classes)} classes; give one each"
        )


def _check_sound(experiment: Experiment, schema: Schema, name: str) -> None:
    """Raises ConfigError if a model of sound gets something else, or the other view of it."""
    if not isinstance(experiment.model, models.AudioResNet | models.WaveformResNet):
        return
    if schema.sound is None:
        raise ConfigError(f"model {name} takes sounds, but {schema.source} holds {schema.input_kind}s; use mlp or cnn")
    if isinstance(experiment.model, models.AudioResNet) != bool(schema.sound.mels):
        raise ConfigError(
            f"model {name} does not fit data.audio.mels {schema.sound.mels or None}; audioresnet takes a spectrogram "
            "of some mels, waveformresnet the samples: set it to none"
        )


def _check_words(experiment: Experiment, schema: Schema) -> None:
    texts, encoder = schema.input_kind == "text", isinstance(experiment.model, models.TextEncoder)
    if texts != encoder and not isinstance(experiment.model, Custom):
        name = variant_name(type(experiment.model))
        raise ConfigError(
            f"model {name} does not fit {schema.source}, which holds {schema.input_kind}s; "
            f"{'use textencoder' if texts else 'textencoder takes texts:PATTERN'}"
        )


def _check_windows(experiment: Experiment, schema: Schema) -> None:
    name, forecasters = type(experiment.model).__name__.lower(), (models.PatchTST, models.TSMixer)
    if schema.input_kind != "window":
        if isinstance(experiment.model, forecasters):
            raise ConfigError(
                f"model {name} takes windows of time series, but {schema.source} holds {schema.input_kind}s; use mlp"
            )
        return
    if not isinstance(experiment.model, (*forecasters, models.MLP, Custom)):
        raise ConfigError(
            f"model {name} does not forecast, but {schema.source} holds windows of time series; use patchtst, tsmixer "
            "or mlp"
        )
    if isinstance(experiment.model, models.PatchTST):
        if schema.feature_names:
            raise ConfigError(
                f"model patchtst sees no columns that are known ahead, but data.series.future names "
                f"{', '.join(schema.feature_names)}; use tsmixer or mlp, or leave them out"
            )
        if experiment.model.patch > schema.input_shape[0]:
            raise ConfigError(
                f"model.patch {experiment.model.patch} is longer than data.context {schema.input_shape[0]}; make it "
                "shorter"
            )


def _check_augment(experiment: Experiment, schema: Schema) -> None:
    stages = experiment.data.augment
    if schema.input_kind == "pair":
        together = [f"data.augment.{i} {variant_name(type(s))}" for i, s in enumerate(stages) if isinstance(s, _MIXING)]
        if together:
            raise ConfigError(
                f"{together[0]} mixes or repeats examples, but an image of {schema.source} goes with its text; use "
                "what changes each image alone: crop, colorjitter, randaugment"
            )
        schema = schema.half("image")
    if stages and schema.input_kind in ("token", "text", "window"):
        raise ConfigError(
            f"data.augment holds image operations, but {schema.source} holds {schema.input_kind}s; use an empty tuple"
        )
    for index, stage in enumerate(stages):
        name = type(stage).__name__.lower()
        taken = "sound" if isinstance(stage, WaveOperation | SpectrumOperation) else "image"
        if schema.input_kind != taken and not isinstance(stage, Mixup | RepeatedAugmentation):
            raise ConfigError(
                f"data.augment.{index} {name} takes {taken}s, but {schema.source} holds {schema.input_kind}s; "
                "use mixup or repeatedaugmentation"
            )
        if schema.target_kind == "mask" and isinstance(stage, Mixup):
            raise ConfigError(
                f"data.augment.{index} mixup blends pictures, but in the masks of {schema.source} a pixel has one "
                "class; use cutmix"
            )
        if isinstance(stage, SpectrumOperation) and schema.sound is not None and not schema.sound.mels:
            raise ConfigError(
                f"data.augment.{index} {name} takes spectrograms, but data.audio.mels is none; set it, or leave it out"
            )
        if isinstance(stage, LevelOperation | RandAugment) and schema.input_dtype != "uint8":
            raise ConfigError(
                f"data.augment.{index} {name} takes images of uint8, whose levels are known, but {schema.source} holds "
                f"{schema.input_dtype}; leave it out, or use colorjitter"
            )
        if isinstance(stage, ColorJitter) and stage.hue is not None and schema.input_shape[-1] != 3:
            raise ConfigError(
                f"data.augment.{index}.hue {stage.hue} needs images of three channels, but {schema.source} has "
                f"{schema.input_shape[-1]}; set it to none"
            )
