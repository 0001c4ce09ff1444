"""Whether the stages of an experiment, and the fields of one stage, fit each other."""

from __future__ import annotations

from typing import Any

from jaxnets import models, tasks
from jaxnets.config.experiment import Custom, Experiment
from jaxnets.config.kinds import variant_name
from jaxnets.data import Data, Noise, RandomErasing, RepeatedAugmentation
from jaxnets.errors import ConfigError


def check_fit(experiment: Experiment) -> None:
    """Raises ConfigError if two stages, or two fields of one, do not go together."""
    loop, model = experiment.loop, experiment.model
    if (loop.steps is None) == (loop.epochs is None):
        raise ConfigError(f"loop.steps {loop.steps} and loop.epochs {loop.epochs}: give exactly one of the two")
    if experiment.data.valid + experiment.data.test >= 1:
        raise ConfigError(
            f"data.valid {experiment.data.valid} and data.test {experiment.data.test} leave nothing to train on; "
            "their sum must be below 1"
        )
    _check_folds(experiment.data)
    accumulate = getattr(experiment.optim, "accumulate", 1)
    if experiment.data.batch_size % accumulate:
        raise ConfigError(
            f"optim.accumulate {accumulate} does not divide data.batch_size {experiment.data.batch_size}; "
            f"use one of {[n for n in range(1, 65) if experiment.data.batch_size % n == 0]}"
        )
    _check_augment(experiment.data)
    _check_loss(experiment.task)
    _check_own_model(experiment)
    _check_heads(model)
    _check_depth(model)
    _check_joint(experiment, accumulate)
    weights = getattr(experiment.task, "class_weights", None)
    if weights is not None and not any(weights):
        raise ConfigError(f"task.class_weights {weights} leave nothing to learn; give at least one above 0")
    if isinstance(model, models.GPT) != isinstance(experiment.task, tasks.LanguageModelling) and not isinstance(
        model, Custom
    ):
        raise ConfigError(
            f"task {variant_name(type(experiment.task))} does not fit model {variant_name(type(model))}; "
            "gpt goes with languagemodelling, and only with it"
        )


def _check_heads(model: Any) -> None:
    if (
        isinstance(model, models.ViT | models.GPT | models.FTTransformer | models.PatchTST)
        and model.width % model.heads
    ):
        raise ConfigError(f"model.width {model.width} does not divide over model.heads {model.heads}")
    if isinstance(model, models.ViT) and model.positions == "sincos2d" and (model.width % 4 or model.width < 8):
        raise ConfigError(
            f"model.width {model.width} cannot hold sincos2d positions; use a multiple of 4 from 8 on, "
            "or learned positions"
        )
    if isinstance(model, models.GPT) and model.positions == "rotary" and (model.width // model.heads) % 2:
        raise ConfigError(
            f"model.width {model.width} over model.heads {model.heads} is {model.width // model.heads} a head; "
            "rotary positions need an even number: change one of the two, or use learned positions"
        )
    if isinstance(model, models.GPT) and model.kv_heads is not None and model.heads % model.kv_heads:
        raise ConfigError(f"model.heads {model.heads} do not divide over model.kv_heads {model.kv_heads}")


def _check_own_model(experiment: Experiment) -> None:
    """Models whose outputs only one task reads, which reads no others."""
    model, task = experiment.model, experiment.task
    for kind, own in (
        (models.UNet, tasks.Segmentation),
        (models.Autoencoder, tasks.Autoencoding),
        (models.TwoTower, tasks.Contrastive),
    ):
        if isinstance(model, kind) != isinstance(task, own) and not isinstance(model, Custom):
            raise ConfigError(
                f"task {variant_name(type(task))} does not fit model {variant_name(type(model))}; "
                f"{variant_name(kind)} goes with {variant_name(own)}, and only with it"
            )
    levels = getattr(task, "quantiles", (0.5,))
    none = not levels and isinstance(task, tasks.QuantileRegression)
    if none or list(levels) != sorted(set(levels)):
        raise ConfigError(f"task.quantiles {levels} do not rise; give levels in order, as in 0.05,0.5,0.95")


def _check_joint(experiment: Experiment, accumulate: int) -> None:
    """A pair is told from the others of its batch: the batch stays whole, and holds others."""
    if not isinstance(experiment.task, tasks.Contrastive):
        return
    if accumulate > 1 or experiment.plan.mode == "pmap":
        path, given, remedy = ("optim.accumulate", accumulate, "1") if accumulate > 1 else ("plan.mode", "pmap", "jit")
        raise ConfigError(
            f"{path} {given} takes a batch in parts, but the loss of task contrastive is of a whole one; "
            f"set {path} to {remedy}"
        )
    if experiment.data.batch_size < 2:
        raise ConfigError(
            f"data.batch_size {experiment.data.batch_size} leaves task contrastive nothing to tell a pair from; give "
            "at least 2"
        )
    if not experiment.task.recall or list(experiment.task.recall) != sorted(set(experiment.task.recall)):
        raise ConfigError(f"task.recall {experiment.task.recall} does not rise; give numbers in order, as in 1,5")


def _check_depth(model: Any) -> None:
    depth = getattr(model, "depth", 1)
    if not isinstance(model, models.TextEncoder | models.TwoTower):
        if depth < 1:
            raise ConfigError(f"model.depth {depth} is not allowed; give a whole number of at least 1")
        return
    if depth and (model.width % model.heads or (model.width // model.heads) % 2):
        raise ConfigError(
            f"model.width {model.width} does not divide over model.heads {model.heads} into even numbers, as rotary "
            f"positions need; use a multiple of {2 * model.heads}"
        )
    if not depth and getattr(model, "pool", "mean") == "cls":
        raise ConfigError("model.pool cls gathers nothing at model.depth 0; use mean, or a depth of at least 1")


def _check_folds(data: Data) -> None:
    folds = data.folds
    if folds is None and data.fold:
        raise ConfigError(f"data.fold {data.fold} says nothing without data.folds; give both, or neither")
    if folds is not None and data.fold >= folds:
        raise ConfigError(f"data.fold {data.fold} is not one of the {folds} folds; give 0 to {folds - 1}")
    if folds is not None and data.valid + 1 / folds >= 1:
        raise ConfigError(
            f"data.valid {data.valid} and one of {folds} data.folds leave nothing to train on; "
            "give a smaller data.valid or more folds"
        )


def _check_augment(data: Data) -> None:
    for index, operation in enumerate(data.augment):
        path = f"data.augment.{index}"
        match operation:
            case RepeatedAugmentation() if index:
                raise ConfigError(f"{path} is repeatedaugmentation, which must come first; give it as data.augment.0")
            case RepeatedAugmentation(times=times) if data.batch_size % times:
                raise ConfigError(
                    f"{path}.times {times} does not divide data.batch_size {data.batch_size}; "
                    f"use one of {[n for n in range(2, 65) if data.batch_size % n == 0]}"
                )
            case Noise(least_db=least, most_db=most) if least > most:
                raise ConfigError(f"{path}.least_db {least} is more than {path}.most_db {most}; give at most {most}")
            case RandomErasing(smallest=smallest, largest=largest) if smallest > largest:
                raise ConfigError(
                    f"{path}.smallest {smallest} is more than {path}.largest {largest}; give at most {largest}"
                )


def _check_loss(task: Any) -> None:
    distill = getattr(task, "distill", None)
    if distill is not None and not distill.teacher:
        raise ConfigError("task.distill.teacher is not given; give the folder of a finished run, as in runs/digits_cnn")
    if not isinstance(task, tasks.Classification):
        return
    name = variant_name(type(task.loss))
    if task.label_smoothing is not None and not isinstance(task.loss, tasks.CrossEntropy):
        raise ConfigError(
            f"task.label_smoothing {task.label_smoothing} does not go with task.loss {name}, which bears wrong labels "
            "by itself; set it to none or use crossentropy"
        )
    if isinstance(task.loss, tasks.SymmetricCrossEntropy) and not task.loss.cross_weight + task.loss.reverse_weight:
        raise ConfigError(
            "task.loss.cross_weight and task.loss.reverse_weight are both 0, so that nothing is learned; "
            "give one of them above 0"
        )
