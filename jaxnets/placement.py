"""The layout of an experiment: its plan on devices, with its model's rules; refused where they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxnets import parallel
from jaxnets.axes import Divided
from jaxnets.config import Experiment, variant_name
from jaxnets.data import Schema
from jaxnets.models import GPT, FTTransformer, PatchTST, ViT
from jaxnets.models.ft_transformer import RULES as ft_rules
from jaxnets.models.gpt import RULES as gpt_rules
from jaxnets.models.patchtst import RULES as patchtst_rules
from jaxnets.models.vit import RULES as vit_rules
from jaxnets.parallel import Layout

_RULES: dict[type, tuple[Divided, ...]] = {
    GPT: gpt_rules,
    ViT: vit_rules,
    FTTransformer: ft_rules,
    PatchTST: patchtst_rules,
}


def layout_of(experiment: Experiment, schema: Schema, *, devices: Sequence[Any] | None = None) -> Layout:
    """Where everything of a run lives, on the devices at hand or on those given, which may be a topology's.

    Raises ConfigError with the nearest values that work if axes, batch or model do not fit.
    """
    rules = _RULES.get(type(experiment.model), ())
    found = parallel.layout(experiment.plan, rules=rules, devices=devices)
    parallel.check_batch(experiment.data.batch_size, unit=batch_unit(experiment, found))
    parallel.check_tensor(
        found.mesh.shape["tensor"], rules, _sizes(experiment, schema), model=variant_name(type(experiment.model))
    )
    return found


def batch_unit(experiment: Experiment, layout: Layout) -> dict[str, int]:
    """What every batch size must be a multiple of, by what asks for it: devices, micro-batches, repeated examples."""
    repeats = 1
    for operation in experiment.data.augment:
        repeats *= getattr(operation, "times", 1)
    unit = {"devices": layout.batch_devices, "micro-batches (optim.accumulate)": experiment.optim.accumulate}
    return unit | {"repeats of an example (data.augment)": repeats}


def _sizes(experiment: Experiment, schema: Schema) -> dict[str, int]:
    """What the rules divide, in the words of the model's config."""
    model = experiment.model
    heads = getattr(model, "heads", 0)
    multiple = getattr(model, "vocabulary_multiple", 1)
    return {
        "heads": heads,
        "kv_heads": getattr(model, "kv_heads", None) or heads,
        "mlp_width": getattr(model, "mlp_width", None) or 4 * getattr(model, "width", 0),
        "vocabulary": -(-schema.num_outputs // multiple) * multiple,
    }
