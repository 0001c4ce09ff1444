"""What each optimizer is told: one frozen dataclass of traced numbers each.

Every config shares `schedule`, `weight_decay`, `clip_norm`, `ema_decay`, `groups`, `accumulate`, `loss_scale` and
`sam_rho`. Weight decay is decoupled and touches only leaves named kernel or embedding, unless a group says otherwise.
"""

from __future__ import annotations

import optax

from jaxnets.schedules import Constant, Cosine, Schedule
from jaxnets.types import experiment_dataclass, number, stage


@experiment_dataclass
class Group:
    """The leaves whose path, like `stage0/conv1/kernel`, `pattern` is found in; the first group that fits counts."""

    pattern: str = ""  # regular expression
    lr_multiple: float = number(1.0)
    weight_decay: float | None = number(None)  # None = the optimizer's, where it decays at all
    frozen: bool = False


@experiment_dataclass
class _Shared:
    schedule: Schedule = stage(Cosine())
    clip_norm: float | None = number(None)  # largest global norm of the gradient
    ema_decay: float | None = number(None)  # a moving average of the params is what is tested
    groups: tuple[Group, ...] = stage(())
    accumulate: int = 1  # micro-batches a step: less memory, the same result but for batch norm, which sees each alone
    loss_scale: float | None = number(None)  # first factor of the loss; None = 32768 for a model in float16, else 1
    sam_rho: float | None = number(None)  # radius of sharpness-aware minimisation; a step takes twice as long


@experiment_dataclass
class SGD(_Shared):
    """Stochastic gradient descent with momentum (Polyak, 1964; Nesterov, 1983)."""

    lr: float = number(0.1)
    momentum: float | None = number(0.9)
    nesterov: bool = True
    weight_decay: float | None = number(None)


@experiment_dataclass
class Adam(_Shared):
    """Kingma and Ba, 2014."""

    lr: float = number(1e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-8)
    weight_decay: float | None = number(None)


@experiment_dataclass
class AdamW(_Shared):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017)."""

    lr: float = number(1e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-8)
    weight_decay: float | None = number(0.01)


@experiment_dataclass
class Lamb(_Shared):
    """Layer-wise adaptive rates for large batches (You et al., 2019), each layer of a stack alone."""

    lr: float = number(2e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-6)
    weight_decay: float | None = number(0.01)


@experiment_dataclass
class Lion(_Shared):
    """The sign of an interpolated momentum (Chen et al., 2023)."""

    lr: float = number(3e-4)
    b1: float = number(0.9)
    b2: float = number(0.99)
    weight_decay: float | None = number(0.1)


@experiment_dataclass
class Adafactor(_Shared):
    """Factored second moments (Shazeer and Stern, 2018), without relative step sizes."""

    lr: float = number(1e-3)
    decay: float = number(0.8)  # exponent of the second moment's decay
    weight_decay: float | None = number(None)


@experiment_dataclass
class Muon(_Shared):
    """Orthogonalised momentum for matrices (Jordan, 2024), each layer of a stack on its own; AdamW for all else.

    A matrix is a leaf named kernel of two dimensions, or of three where its path holds `blocks` (stacked layers).
    Convolutions and embeddings go to AdamW.
    """

    lr: float = number(0.02)
    beta: float = number(0.95)
    adam_lr: float = number(1e-3)  # of everything that is no matrix
    weight_decay: float | None = number(0.01)


@experiment_dataclass
class ScheduleFreeAdamW(_Shared):
    """AdamW that averages instead of decaying its rate (Defazio et al., 2024); tested at its average."""

    lr: float = number(2.5e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-8)
    weight_decay: float | None = number(0.01)
    schedule: Schedule = stage(Constant(warmup_steps=50.0))


@experiment_dataclass
class NAdamW(_Shared):
    """AdamW that looks ahead along its momentum (Dozat, 2016)."""

    lr: float = number(1e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-8)
    weight_decay: float | None = number(1e-4)


@experiment_dataclass
class RAdam(_Shared):
    """Adam that adapts only once its second moment can be trusted (Liu et al., 2019)."""

    lr: float = number(1e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-8)
    weight_decay: float | None = number(None)


@experiment_dataclass
class AdaBelief(_Shared):
    """Adam with the gradient's variance around its momentum as second moment (Zhuang et al., 2020)."""

    lr: float = number(1e-3)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-16)  # inside and outside the root
    weight_decay: float | None = number(None)


@experiment_dataclass
class RMSProp(_Shared):
    """The gradient over the root of its mean square (Hinton, 2012), with momentum if wanted."""

    lr: float = number(1e-3)
    decay: float = number(0.9)  # of the mean square
    eps: float = number(1e-8)
    momentum: float | None = number(None)
    weight_decay: float | None = number(None)


@experiment_dataclass
class Adagrad(_Shared):
    """The gradient over the root of the sum of all its squares (Duchi et al., 2011)."""

    lr: float = number(1e-2)
    initial_sum: float = number(0.1)  # of squares
    eps: float = number(1e-7)
    weight_decay: float | None = number(None)


@experiment_dataclass
class NovoGrad(_Shared):
    """Momentum of gradients divided by the norm of their layer (Ginsburg et al., 2019), each layer of a stack alone.

    Weight decay goes through the momentum, as in the paper.
    """

    lr: float = number(1e-2)
    b1: float = number(0.95)
    b2: float = number(0.98)
    eps: float = number(1e-8)
    weight_decay: float | None = number(None)


@experiment_dataclass
class Prodigy(_Shared):
    """AdamW that estimates its own learning rate (Mishchenko and Defazio, 2023).

    `lr` and the schedule multiply the estimate; the authors advise to leave the one at 1 and the other a cosine or
    constant. Where the schedule warms up the estimate does not depend on it (their `safeguard_warmup`).
    """

    lr: float = number(1.0)
    b1: float = number(0.9)
    b2: float = number(0.999)
    eps: float = number(1e-8)
    initial_estimate: float = number(1e-6)  # of the learning rate; it only grows
    weight_decay: float | None = number(None)


@experiment_dataclass
class Custom(_Shared):
    """Any optax transformation of your own that gives descent updates, learning rate included."""

    transformation: optax.GradientTransformation
    lr: float = number(1.0)  # multiplies its updates, as the schedule does
    weight_decay: float | None = number(None)


Optim = (
    SGD
    | Adam
    | AdamW
    | NAdamW
    | RAdam
    | AdaBelief
    | RMSProp
    | Adagrad
    | Lamb
    | Lion
    | NovoGrad
    | Adafactor
    | Muon
    | Prodigy
    | ScheduleFreeAdamW
    | Custom
)
