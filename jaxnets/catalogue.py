"""The models by name: how large each is at the size that its paper gives it, and what it is made of."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxnets import config, models
from jaxnets.admission import admit_data
from jaxnets.anatomy import Anatomy, anatomy, totals
from jaxnets.build import build_model, outputs_of
from jaxnets.columns import columns, scaled
from jaxnets.config import Experiment
from jaxnets.errors import UsageError
from jaxnets.types import Model

_COUNTED = "FLOPs: one forward pass of one example, as XLA counts its lowered program (a multiply-add is two)"


class Known(NamedTuple):
    """A model of this package at its usual size."""

    make: Callable[[int], Model]  # number of outputs -> model
    input: tuple[int, ...]  # one example: height, width, channels of an image, features of a row, or tokens
    outputs: int
    source: str
    text: int = 0  # tokens of the text that goes with an image, for models of pairs

    @property
    def dtype(self) -> str:
        return "int32" if self.make in (models.gpt, _TEXT_ENCODER) else "float32"


_TEXT_ENCODER = partial(models.text_encoder, vocabulary_size=30522, width=128, depth=2, heads=2, mlp_width=512)


def _two_tower(embedding: int) -> Model:
    return models.two_tower(embedding=embedding, vocabulary_size=256)


KNOWN = {
    "mlp": Known(models.mlp, (784,), 10, "Rumelhart et al., 1986"),
    "cnn": Known(models.cnn, (28, 28, 1), 10, "LeCun et al., 1998"),
    "resnet9": Known(models.resnet9, (32, 32, 3), 10, "Page, 2018"),
    "resnet18": Known(models.resnet18, (32, 32, 3), 10, "He et al., 2015"),
    "resnet34": Known(models.resnet34, (32, 32, 3), 10, "He et al., 2015"),
    "resnet50": Known(models.resnet50, (224, 224, 3), 1000, "He et al., 2015"),
    "vit_ti16": Known(models.vit_ti16, (224, 224, 3), 1000, "Touvron et al., 2020"),
    "vit_s16": Known(models.vit_s16, (224, 224, 3), 1000, "Touvron et al., 2020"),
    "vit_b16": Known(models.vit_b16, (224, 224, 3), 1000, "Dosovitskiy et al., 2020"),
    "unet": Known(models.unet, (256, 256, 3), 21, "Ronneberger et al., 2015"),
    "autoencoder": Known(models.autoencoder, (784,), 784, "Hinton and Salakhutdinov, 2006"),
    "tabular_mlp": Known(models.tabular_mlp, (16,), 2, "Gorishniy et al., 2022, 2024"),
    "ft_transformer": Known(models.ft_transformer, (16,), 2, "Gorishniy et al., 2021"),
    "audio_resnet": Known(models.audio_resnet, (101, 64), 35, "He et al., 2015"),
    "waveform_resnet": Known(models.waveform_resnet, (16000,), 35, "Dai et al., 2017"),
    "text_encoder": Known(_TEXT_ENCODER, (128,), 2, "Devlin et al., 2019"),
    "gpt": Known(models.gpt, (1024,), 50257, "Radford et al., 2019"),
    "patchtst": Known(models.patchtst, (336, 7), 96, "Nie et al., 2023"),
    "r2plus1d": Known(models.r2plus1d, (16, 112, 112, 3), 400, "Tran et al., 2018"),
    "two_tower": Known(_two_tower, (32, 32, 3), 64, "Radford et al., 2021", text=16),
    "tsmixer": Known(models.tsmixer, (336, 7), 96, "Chen et al., 2023"),
}


def show_all(*, as_json: bool) -> None:
    """Prints every model: its size at the inputs and outputs that are usual for it."""
    rows = [_row(name, known) for name, known in KNOWN.items()]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    head = ("name", "input", "outputs", "parameters", "FLOPs", "source")
    cells = [
        (r["name"], _shape(r["input"]), str(r["outputs"]), f"{r['parameters']:,}", scaled(r["flops"]), r["source"])
        for r in rows
    ]
    print(columns([head, *cells], right=(2, 3, 4)))
    print(f"\n{_COUNTED}\nlayer by layer: jaxnets models NAME, or jaxnets models CONFIG")


def _row(name: str, known: Known) -> dict[str, Any]:
    parameters, flops = totals(known.make(known.outputs), _example(known, known.input))
    return {"name": name, "input": list(known.input), "outputs": known.outputs, "parameters": parameters,
            "flops": flops, "source": known.source}  # fmt: skip


def show(name: str, *, shape: tuple[int, ...] | None, outputs: int | None, as_json: bool) -> None:
    """Prints a model layer by layer: one by its name, for inputs of any shape and any number of outputs.

    Raises UsageError for a name that is not known, and for a shape that the model cannot take.
    """
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, n=2, cutoff=0.5)
        hint = f"; perhaps you meant {', '.join(near)}" if near else ""
        raise UsageError(f"model {name!r} is not known; use one of {', '.join(KNOWN)}, or a config file{hint}")
    known = KNOWN[name]
    shape, outputs = shape or known.input, known.outputs if outputs is None else outputs
    _check(name, known, shape, outputs)
    try:
        found = anatomy(known.make(outputs), _example(known, shape))
    except ValueError as error:
        raise UsageError(f"--input {_comma(shape)} does not fit {name}: {error}") from error
    _print(name, shape, outputs, found, as_json=as_json)


def show_config(path: Path, experiment: Experiment, *, as_json: bool) -> None:
    """Prints the model of a config layer by layer, for the shapes of its data."""
    schema = admit_data(experiment).schema
    found = anatomy(build_model(experiment, schema), schema.inputs(1, raw=False))
    name = f"{config.variant_name(type(experiment.model))} of {path}"
    _print(name, schema.input_shape, outputs_of(experiment, schema), found, as_json=as_json)


def _check(name: str, known: Known, shape: tuple[int, ...], outputs: int) -> None:
    if outputs < 1:
        raise UsageError(f"--outputs {outputs} is not allowed; give a whole number of at least 1")
    ranks = (1, 3) if known.make is models.mlp else (len(known.input),)
    if len(shape) not in ranks or min(shape) < 1:
        raise UsageError(
            f"--input {_comma(shape)} is not allowed for {name}; give whole numbers of at least 1, "
            f"as in {_comma(known.input)}"
        )


def _print(name: str, shape: tuple[int, ...], outputs: int, found: Anatomy, *, as_json: bool) -> None:
    if as_json:
        layers = [layer._asdict() | {"shape": list(layer.shape)} for layer in found.layers]
        whole = {"name": name, "input": list(shape), "outputs": outputs, "parameters": found.parameters}
        print(json.dumps(whole | {"flops": found.flops, "layers": layers}, indent=2))
        return
    rows = [
        (layer.path or "(between its layers)", _shape(layer.shape), f"{layer.parameters:,}", scaled(layer.flops))
        for layer in found.layers
    ]
    total = ("total", _shape(found.output), f"{found.parameters:,}", scaled(found.flops))
    print(f"{name}: one example of {_shape(shape)}, {outputs} outputs\n")
    print(columns([("layer", "output", "parameters", "FLOPs"), *rows, total], right=(2, 3)))
    print(f"\n{_COUNTED}\na layer's figures leave out those of the layers inside it")


def _example(known: Known, shape: tuple[int, ...]) -> Any:
    """Shapes of a batch of one."""
    example = jax.ShapeDtypeStruct((1, *shape), known.dtype)
    return {"image": example, "text": jax.ShapeDtypeStruct((1, known.text), "int32")} if known.text else example


def _shape(shape: Any) -> str:
    return " × ".join(map(str, shape))


def _comma(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))
