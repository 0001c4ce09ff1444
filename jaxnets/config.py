"""The experiment: one frozen tree of dataclasses, from a Python file, from JSON, from dotted paths; checked, compared.

Every stage's dataclass lives beside its code; here they are put together. A union of dataclasses is a choice of
variants, written in JSON and on the command line by the class name in lower case: `{"variant": "adamw", "lr": 0.001}`.
Nothing is executed when JSON or a command line is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import runpy
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from jaxnets import models, optim, tasks
from jaxnets.data import Data, Noise, RandomErasing, RepeatedAugmentation
from jaxnets.errors import ConfigError, near
from jaxnets.loop import Loop
from jaxnets.models.layers import TRANSFERS
from jaxnets.parallel import Plan
from jaxnets.types import Model, experiment_dataclass, number, stage


@experiment_dataclass
class Custom:
    """A model of the user's own, as a pair of pure functions. Its run can be tested and used from its folder alone."""

    model: Model  # from_linen(...), from_nnx(...), or written by hand
    name: str = "custom"


@experiment_dataclass
class Experiment:
    """All that a run depends on. Numbers are traced, everything else is structure."""

    data: Data = stage(Data())
    model: (
        models.MLP
        | models.CNN
        | models.ResNet9
        | models.ResNet18
        | models.ResNet34
        | models.ResNet50
        | models.ViT
        | models.GPT
        | models.UNet
        | models.Autoencoder
        | models.TabularMLP
        | models.FTTransformer
        | models.AudioResNet
        | models.WaveformResNet
        | models.TextEncoder
        | models.PatchTST
        | models.TSMixer
        | models.R2Plus1D
        | models.TwoTower
        | Custom
    ) = stage(models.MLP())
    task: (
        tasks.Classification
        | tasks.Regression
        | tasks.LanguageModelling
        | tasks.MultiLabel
        | tasks.Ordinal
        | tasks.QuantileRegression
        | tasks.Segmentation
        | tasks.Autoencoding
        | tasks.Forecasting
        | tasks.Contrastive
    ) = stage(tasks.Classification())
    optim: optim.Optim = stage(optim.AdamW())
    plan: Plan = stage(Plan())
    loop: Loop = stage(Loop())
    seed: int = number(0)  # init, dropout, augmentation and data order
    init_from: str | None = None  # a run's folder or a safetensors file: weights to begin with, where they fit


# What each number may be: (test, words). Looked up by the field's name, since a name means the same everywhere.
_POSITIVE = (lambda x: x > 0, "a number above 0")
_NOT_NEGATIVE = (lambda x: x >= 0, "a number of at least 0")
_SHARE = (lambda x: 0 <= x < 1, "a number of at least 0 and below 1")
_PART = (lambda x: 0 <= x <= 1, "a number from 0 to 1")
_COUNT = (lambda x: x >= 1, "a whole number of at least 1")
_RULES: dict[str, tuple[Any, str]] = {
    "lr": _POSITIVE,
    "adam_lr": _POSITIVE,
    "lr_multiple": _NOT_NEGATIVE,
    "class_weights": _NOT_NEGATIVE,
    "start": _PART,
    "end": _PART,
    "rise": _PART,
    "decay_share": _PART,
    "weight_decay": _NOT_NEGATIVE,
    "dropout": _SHARE,
    "word_dropout": _SHARE,
    "depth": _NOT_NEGATIVE,
    "drop_path": _SHARE,
    "cell_dropout": _SHARE,
    "sigma": _POSITIVE,
    "label_smoothing": _SHARE,
    "temperature": _POSITIVE,
    "weight": _PART,
    "quantiles": (lambda x: 0 < x < 1, "levels above 0 and below 1"),
    "positive_weight": _POSITIVE,
    "noise": _NOT_NEGATIVE,
    "ignore_index": _NOT_NEGATIVE,
    "q": (lambda x: 0 < x <= 1, "a number above 0 and at most 1"),
    "cross_weight": _NOT_NEGATIVE,
    "reverse_weight": _NOT_NEGATIVE,
    "log_zero": (lambda x: x < 0, "a number below 0"),
    "momentum": _SHARE,
    "beta1": _SHARE,
    "beta2": _SHARE,
    "b1": _SHARE,
    "b2": _SHARE,
    "beta": _SHARE,
    "decay": _SHARE,
    "ema_decay": _SHARE,
    "eps": _POSITIVE,
    "clip_norm": _POSITIVE,
    "sam_rho": _POSITIVE,
    "loss_scale": (lambda x: 1 <= x <= 2**24, "a number from 1 to 16777216"),
    "initial_sum": _NOT_NEGATIVE,
    "initial_estimate": _POSITIVE,
    "alpha": _POSITIVE,
    "brightness": _NOT_NEGATIVE,
    "contrast": _PART,
    "saturation": _PART,
    "hue": (lambda x: 0 <= x <= 0.5, "a number from 0 to 0.5"),
    "probability": _PART,
    "smallest": _PART,
    "largest": _PART,
    "area": (lambda x: 0 < x <= 1, "a number above 0 and at most 1"),
    "centre": (lambda x: 0 < x <= 1, "a number above 0 and at most 1"),
    "aspect": (lambda x: 0 < x <= 1, "a number above 0 and at most 1"),
    "bits": (lambda x: 1 <= x <= 8, "a whole number from 1 to 8"),
    "threshold": (lambda x: 0 <= x <= 256, "a number from 0 to 256"),
    "change": _PART,
    "magnitude": (lambda x: 0 <= x <= 10, "a number from 0 to 10"),
    "warmup_steps": _NOT_NEGATIVE,
    "seed": (lambda x: 0 <= x < 2**31, "a whole number from 0 to 2147483647"),
    "split_seed": (lambda x: 0 <= x < 2**31, "a whole number from 0 to 2147483647"),
    "valid": _SHARE,
    "test": _SHARE,
    "folds": (lambda x: x >= 2, "a whole number of at least 2"),
    "fold": _NOT_NEGATIVE,
    "workers": _NOT_NEGATIVE,
    "most_bad": _NOT_NEGATIVE,
    "words": _NOT_NEGATIVE,
    "epochs": _POSITIVE,
    "decibels": _NOT_NEGATIVE,
    **dict.fromkeys(("least_db", "most_db"), (lambda x: -100 <= x <= 100, "a number from -100 to 100")),
    **dict.fromkeys(("share", "time_share", "mel_share"), _PART),
    **dict.fromkeys(("time_change", "mel_change"), _SHARE),
    **dict.fromkeys(("seconds", "frame_seconds", "hop_seconds", "range_db"), _POSITIVE),
    "save_minutes": _POSITIVE,
    **dict.fromkeys(
        ("data", "fsdp", "tensor"),
        (lambda x: x == -1 or x >= 1, "a whole number of at least 1, or -1 for all devices that are left"),
    ),
}


_WORDS = {"activation": tuple(TRANSFERS), "dtype": ("float32", "bfloat16", "float16")}


def variant_name(kind: type) -> str:
    """The word for a variant in JSON and on the command line.

    >>> variant_name(models.ResNet18), variant_name(optim.AdamW)
    ('resnet18', 'adamw')
    """
    return kind.__name__.lower()


def load(path: str | Path) -> Experiment:
    """The `experiment` of a config file, which is Python and is run.

    Raises ConfigError if the file is missing, fails, or has no `experiment = Experiment(...)`.
    """
    path = Path(path)
    if not path.is_file():
        hint = near(str(path), [str(other) for other in path.parent.glob("*.py")])
        raise ConfigError(f"config {str(path)!r} is not a file{hint}; give a Python file that ends in an Experiment")
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise ConfigError(f"config {path} fails with {type(error).__name__}: {error}; it must run as Python") from error
    experiment = names.get("experiment")
    if not isinstance(experiment, Experiment):
        raise ConfigError(
            f"config {path} holds experiment = {type(experiment).__name__}; it must end in experiment = Experiment(...)"
        )
    return experiment


def to_json(value: Any) -> Any:
    """A config as JSON values; variants carry their name. A user's own functions are named, not stored."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"variant": variant_name(type(value))} | fields
    if isinstance(value, Model):
        return "a model of the user's own"
    if isinstance(value, tuple):
        return [to_json(element) for element in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"{getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', type(value).__name__)}"


def from_json(value: Any) -> Experiment:
    """The experiment of a `config.json`, every value typed; raises ConfigError naming the dotted path."""
    return _convert(Experiment, value, "", text=False)


def filled(value: Any, kind: Any = Experiment) -> Any:
    """A stored config with the fields that it does not have, since they are newer than it, at their defaults.

    >>> old = to_json(Experiment()) | {"init_from": "a run"}
    >>> del old["loop"]["limit_steps"], old["seed"]
    >>> filled(old) == to_json(Experiment(init_from="a run"))
    True
    """
    if isinstance(value, list):
        elements = [typing.get_args(member)[0] for member in _members(kind) if typing.get_origin(member) is tuple]
        return [filled(one, elements[0]) for one in value] if elements else value
    named = {variant_name(one): one for one in _stages(kind)}
    if not isinstance(value, Mapping) or value.get("variant") not in named:
        return value
    stage = named[value["variant"]]
    kinds = _field_types(stage)
    known = {field.name: to_json(field.default) for field in dataclasses.fields(stage) if _has_default(field)}
    return known | {name: filled(one, kinds.get(name)) for name, one in value.items()}


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING


def assign(experiment: Experiment, settings: Iterable[tuple[str, str]]) -> Experiment:
    """The experiment with leaves set by dotted path from text, and variants switched, in the order given.

    >>> changed = assign(Experiment(), [("optim", "sgd"), ("optim.lr", "0.5"), ("model.widths", "64,64")])
    >>> type(changed.optim).__name__, float(changed.optim.lr), changed.model.widths
    ('SGD', 0.5, (64, 64))
    """
    for path, text in settings:
        experiment = _assign(experiment, path.split("."), path, text)
    return experiment


def _assign(node: Any, keys: list[str], path: str, text: str) -> Any:
    kinds = _field_types(type(node))
    name = keys[0].replace("-", "_")
    if name not in kinds:
        raise ConfigError(_unknown(node, keys[0], path))
    value = getattr(node, name)
    if len(keys) == 1:
        variants = _stages(kinds[name])
        without = text.lower() == "none" and type(None) in _members(kinds[name])
        if variants and not _is_tuple(kinds[name]) and not without:
            return dataclasses.replace(node, **{name: _switch(value, variants, path, text)})
        return dataclasses.replace(node, **{name: _convert(kinds[name], text, path, text=True)})
    if isinstance(value, tuple) and keys[1].isdigit():
        index = int(keys[1])
        if index >= len(value):
            raise ConfigError(f"{path}: there are {len(value)} elements in {name}; count from 0")
        if len(keys) > 2:
            changed = _assign(value[index], keys[2:], path, text)
        else:
            changed = _convert(typing.get_args(kinds[name])[0], text, path, text=True)
        return dataclasses.replace(node, **{name: (*value[:index], changed, *value[index + 1 :])})
    if not dataclasses.is_dataclass(value):
        raise ConfigError(f"{path}: {'.'.join(keys[:1])} is {value!r} and has no parts; set {keys[0]} itself")
    try:
        return dataclasses.replace(node, **{name: _assign(value, keys[1:], path, text)})
    except ConfigError as error:
        others = [k for k in _stages(kinds[name]) if keys[1] in _field_types(k)]
        if keys[1] not in _field_types(type(value)) and others:
            names = f"{', '.join(variant_name(kind) for kind in others)} {'has' if len(others) == 1 else 'have'}"
            prefix = path.rsplit("." + ".".join(keys[1:]), 1)[0]
            raise ConfigError(
                f"{path}: {variant_name(type(value))} has no {keys[1]}, but {names}; "
                f"switch with --{prefix} {variant_name(others[0])}"
            ) from error
        raise


def _switch(value: Any, variants: list[type], path: str, text: str) -> Any:
    """Another variant, keeping what both share by the name of a nested stage or `None`-able field set by the user."""
    wanted = text.lower().replace("_", "").replace("-", "")
    names = {variant_name(kind): kind for kind in variants}
    if text.lower() == "none" and value is None:
        return None
    if wanted not in names:
        raise ConfigError(_choice(path, text, names))
    kind = names[wanted]
    if kind is type(value):
        return value
    try:
        new = kind()
    except TypeError as error:
        raise ConfigError(f"{path}: {wanted} holds functions of your own; set it in the config file") from error
    shared = (
        "schedule",
        "clip_norm",
        "ema_decay",
        "groups",
        "accumulate",
        "loss_scale",
        "sam_rho",
        "warmup_steps",
        "dtype",
    )
    kept = {n: getattr(value, n) for n in shared if n in _field_types(kind) and hasattr(value, n)}
    return dataclasses.replace(new, **kept)


def _field_types(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}


def _members(kind: Any) -> tuple[Any, ...]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return (kind,)


def _stages(kind: Any) -> list[type]:
    """The dataclasses among the members of a union."""
    return [member for member in _members(kind) if isinstance(member, type) and dataclasses.is_dataclass(member)]


def _is_tuple(kind: Any) -> bool:
    return any(typing.get_origin(member) is tuple for member in _members(kind))


def _unknown(node: Any, key: str, path: str) -> str:
    names = list(_field_types(type(node)))
    hint = near(key, names) or f"; it has {', '.join(names)}"
    return f"{path}: {variant_name(type(node))} has no {key!r}{hint}"


def _choice(path: str, given: Any, allowed: Iterable[str]) -> str:
    allowed = list(allowed)
    return f"{path} {given!r} is not allowed; use one of {', '.join(allowed)}{near(str(given), allowed)}"


def _convert(kind: Any, value: Any, path: str, *, text: bool) -> Any:
    """`value` (JSON, or text of a command line) as a `kind`; ConfigError says what was given and what is allowed."""
    members = _members(kind)
    if type(None) in members and (value is None or (text and value.lower() == "none")):
        return None
    members = tuple(member for member in members if member is not type(None))
    stages = _stages(kind)
    if stages:
        return _convert_stage(stages, value, path, text=text)
    errors = []
    for member in members:
        try:
            return _convert_plain(member, value, path, text=text)
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def _convert_stage(kinds: list[Any], value: Any, path: str, *, text: bool) -> Any:
    names = {variant_name(kind): kind for kind in kinds}
    if text:
        return _switch(None, kinds, path, value)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path or 'the config'} {value!r} is not allowed; give an object with a variant")
    name = value.get("variant", variant_name(kinds[0]) if len(kinds) == 1 else None)
    if not isinstance(name, str) or name not in names:
        raise ConfigError(_choice(f"{path}.variant".lstrip("."), name, names))
    kind = names[name]
    if kind in (Custom, optim.Custom):
        raise ConfigError(f"{path}: a run with functions of the user's own needs its config file; give it to train")
    fields = _field_types(kind)
    for key in value:
        if key not in fields and key != "variant":
            raise ConfigError(_unknown(kind(), key, f"{path}.{key}".lstrip(".")))
    converted = {
        key: _convert(fields[key], element, f"{path}.{key}".lstrip("."), text=False)
        for key, element in value.items()
        if key != "variant"
    }
    return kind(**converted)


def _convert_plain(kind: Any, value: Any, path: str, *, text: bool) -> Any:
    origin = typing.get_origin(kind)
    if origin is Literal:
        allowed = typing.get_args(kind)
        if value in allowed and not isinstance(value, bool):
            return value
        raise ConfigError(_choice(path, value, [str(word) for word in allowed]))
    if origin is tuple:
        return _convert_tuple(kind, value, path, text=text)
    if kind is bool:
        words: dict[Any, bool] = {"true": True, "false": False} if text else {}
        if isinstance(value, bool):
            return value
        if text and value.lower() in words:
            return words[value.lower()]
        raise ConfigError(f"{path} {value!r} is not allowed; use true or false")
    if kind is int:
        return _whole(value, path, text=text)
    if kind is float:
        return _real(value, path, text=text)
    if kind is str:
        if isinstance(value, str):
            return value
        raise ConfigError(f"{path} {value!r} is not allowed; give text")
    raise ConfigError(f"{path} can only be set in the config file")


def _convert_tuple(kind: Any, value: Any, path: str, *, text: bool) -> tuple[Any, ...]:
    element = typing.get_args(kind)[0]
    if text:
        inner = value.strip().removeprefix("(").removesuffix(")")
        if not inner and inner == value:
            raise ConfigError(f"{path} '' is not allowed; give values with commas between them, or () for none")
        value = [part.strip() for part in inner.removesuffix(",").split(",")] if inner.strip() else []
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path} {value!r} is not allowed; give a list")
    return tuple(_convert(element, part, f"{path}.{i}", text=text) for i, part in enumerate(value))


def _whole(value: Any, path: str, *, text: bool) -> int:
    if text:
        try:
            return int(value)
        except ValueError:
            pass
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ConfigError(f"{path} {value!r} is not allowed; give a whole number")


def _real(value: Any, path: str, *, text: bool) -> float:
    if text:
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ConfigError(f"{path} {value!r} is not allowed; give a finite number")


def check(experiment: Experiment) -> None:
    """Raises ConfigError if a value has the wrong type or is out of range, or if two stages do not fit each other."""
    for path, value, kind in _leaves(experiment, ""):
        if isinstance(value, list):
            raise ConfigError(f"{path} {value!r} is a list; give a tuple: ({', '.join(map(repr, value))},)")
        if not (kind is None or _is_functions(value)):
            _convert(kind, to_json(value) if isinstance(value, tuple) else value, path, text=False)
        name = path.rsplit(".", 1)[-1]
        if name in _WORDS and isinstance(value, str) and value not in _WORDS[name]:
            raise ConfigError(_choice(path, value, _WORDS[name]))
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, bool) or not isinstance(one, int | float):
                continue
            test, words = _RULES.get(name, _COUNT if isinstance(one, int) else (lambda x: True, ""))
            if not test(one):
                raise ConfigError(f"{path} {one!r} is not allowed; give {words}")
    _check_fit(experiment)


def _check_fit(experiment: Experiment) -> None:
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
        path, remedy = ("optim.accumulate", "1") if accumulate > 1 else ("plan.mode", "jit")
        raise ConfigError(
            f"{path} {accumulate if accumulate > 1 else 'pmap'} takes a batch in parts, but the loss of task "
            f"contrastive is of a whole one; set {path} to {remedy}"
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


def _is_functions(value: Any) -> bool:
    return isinstance(value, Model) or callable(value) or (isinstance(value, tuple) and any(map(callable, value)))


def _leaves(value: Any, path: str, kind: Any = None) -> Iterable[tuple[str, Any, Any]]:
    if dataclasses.is_dataclass(value):
        members = [m for m in _members(kind) if m is not type(None)]
        if kind is not None and type(value) not in members:
            names = [variant_name(m) for m in _stages(kind)]
            raise ConfigError(_choice(path, variant_name(type(value)), names))
        for name, annotation in _field_types(type(value)).items():
            yield from _leaves(getattr(value, name), f"{path}.{name}".lstrip("."), annotation)
    elif isinstance(value, tuple) and value and all(map(dataclasses.is_dataclass, value)):
        element = typing.get_args(next(m for m in _members(kind) if typing.get_origin(m) is tuple))[0]
        for index, part in enumerate(value):
            yield from _leaves(part, f"{path}.{index}", element)
    else:
        yield path, value, kind


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """JSON values by dotted path, for a comparison."""
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(element, Mapping) for element in value):
        items = ((str(index), element) for index, element in enumerate(value))
    else:
        return {path: value}
    flat: dict[str, Any] = {}
    for key, element in items:
        flat |= flatten(element, f"{path}.{key}".lstrip("."))
    return flat


def difference(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """What differs between two configs in JSON, by dotted path.

    >>> difference({"optim": {"lr": 0.1, "eps": 1}}, {"optim": {"lr": 0.2, "eps": 1}})
    {'optim.lr': (0.1, 0.2)}
    """
    before, after = flatten(old), flatten(new)
    absent = "absent"
    paths = [*before, *(path for path in after if path not in before)]
    pairs = {path: (before.get(path, absent), after.get(path, absent)) for path in paths}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def dump(experiment: Experiment) -> str:
    """The text of `config.json`."""
    return json.dumps(to_json(experiment), indent=2) + "\n"
