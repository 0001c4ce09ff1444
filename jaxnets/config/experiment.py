"""The experiment: one frozen tree of dataclasses.

Every stage's dataclass lives beside its code; here they are put together. A union of dataclasses is a choice of
variants.
"""

from __future__ import annotations

from jaxnets import models, optim, tasks
from jaxnets.data import Data
from jaxnets.loop import Loop
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
