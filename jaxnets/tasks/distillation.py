"""Knowledge distillation: a student learns from what a teacher says of its inputs as well (Hinton et al., 2015).

Symbols: z the student's logits, v the teacher's, both (… c); T the temperature; w the weight; L the task's own loss:

    (1 - w)·L + w·T²·KL(softmax(v / T) ‖ softmax(z / T))

T² keeps the gradients of both parts of one size at any temperature. The paper's cross-entropy with soft targets is
this divergence plus the teacher's entropy, on which no gradient depends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.tasks.mean import mean_metric
from jaxnets.types import Array, Batch, Metric, PyTree, Task, experiment_dataclass, number


@experiment_dataclass
class Distillation:
    """Config of `distilled`: who teaches, and how much the student listens."""

    teacher: str = ""  # the folder of a finished run over the same inputs and classes
    temperature: float = number(2.0)  # T: above 1 the teacher's unlikely classes count more
    weight: float = number(0.5)  # w: the teacher's share of the loss


@partial(jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["apply", "run", "sha256", "words"])
@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """Logits for a student's inputs. Its weights are leaves, and so inputs of a compiled step; nothing moves them.

    apply:  `(weights, inputs as the student's model takes them) -> logits`
    run:    its folder, as given
    sha256: of the weights
    words:  what a user may want to know of it
    """

    weights: PyTree
    apply: Callable[[PyTree, PyTree], Array]
    run: str = ""
    sha256: str = ""
    words: str = ""

    def __call__(self, inputs: PyTree) -> Array:
        return self.apply(*jax.lax.stop_gradient((self.weights, inputs))).astype(jnp.float32)


class Taught(NamedTuple):
    """Targets of a training step: the task's own, and the teacher's logits (… c)."""

    own: PyTree
    logits: Array


def distilled(task: Task, config: Distillation, teacher: Teacher) -> Task:
    """`task` whose training steps listen to `teacher`, which sees their inputs as they are: augmented, mixed, masked.

    For any task with logits over the last axis and a loss of their other axes. Evaluation is the task's own. One more
    metric while training: teacher_kl, the divergence without T².
    """

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[PyTree, PyTree, PyTree]:
        inputs, targets, weight = task.prepare(batch, train=train, key=key)
        return inputs, Taught(targets, teacher(inputs)) if train else targets, weight

    def apart(outputs: PyTree, targets: Taught) -> Array:
        return divergence(targets.logits, outputs, temperature=config.temperature)

    def loss(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> tuple[Array, Array]:
        if not isinstance(targets, Taught):
            return task.loss(outputs, targets, weight)
        losses, weights = task.loss(outputs, targets.own, weight)
        taught = jnp.square(jnp.asarray(config.temperature, jnp.float32)) * apart(outputs, targets)
        return (1.0 - config.weight) * losses + config.weight * taught, weights

    metrics = {name: metric._replace(update=_on_own(metric)) for name, metric in task.metrics.items()}
    return task._replace(prepare=prepare, loss=loss, metrics=metrics | {"teacher_kl": mean_metric(apart)})


def divergence(teacher: Any, student: Any, *, temperature: Any = 1.0) -> Array:
    """KL(softmax(teacher / T) ‖ softmax(student / T)) over the last axis, in nats.

    >>> round(float(divergence(jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.25, 0.75])))), 4)
    0.1438
    """
    wanted, said = (jax.nn.log_softmax(logits.astype(jnp.float32) / temperature) for logits in (teacher, student))
    return (jnp.exp(wanted) * (wanted - said)).sum(axis=-1)


def _on_own(metric: Metric) -> Any:
    def update(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> PyTree:
        return metric.update(outputs, targets.own if isinstance(targets, Taught) else targets, weight)

    return update
