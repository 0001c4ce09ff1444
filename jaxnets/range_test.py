"""The learning-rate range test (Smith, 2015): one short run whose rate rises from step to step, and what it suggests.

The rate is an input of the compiled step like every other number of an experiment, so nothing compiles twice.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import config, optim
from jaxnets.admission import admit, batch_at
from jaxnets.build import experiment_step
from jaxnets.columns import sparkline
from jaxnets.config import Experiment
from jaxnets.errors import UsageError
from jaxnets.report import rates as page
from jaxnets.report.document import check_out
from jaxnets.step import init_state

_SMOOTH = 0.9  # of the exponential mean of the losses
_DIVERGED = 4.0  # times the least loss
_COLUMNS = 60


class Found(NamedTuple):
    """Rates, losses smoothed to both sides up to where they diverged, the rate of their fastest fall (None: none)."""

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float | None


def show(experiment: Experiment, *, low: float, high: float, steps: int, out: Path | None) -> None:
    """Prints what a range test finds, and writes its chart to `out`. Raises UsageError if `out` cannot be a page."""
    check_out(out)
    found = range_test(experiment, low=low, high=high, steps=steps)
    told = text(found)
    print(told)
    if out is not None:
        facts = {
            "source": experiment.data.source,
            "batch size": f"{experiment.data.batch_size}",
            "model": config.variant_name(type(experiment.model)),
            "optimizer": config.variant_name(type(experiment.optim)),
            "rates": f"{low:g} to {high:g}, evenly in the logarithm, in {steps} steps",
            "ended": f"at step {len(found.rates)}" + (", where the loss diverged" if len(found.rates) < steps else ""),
        }
        page.write(out, facts, found.rates, found.losses, found.suggestion, told=told.splitlines()[-1])
        print(f"chart in {out}")


def range_test(experiment: Experiment, *, low: float = 1e-7, high: float = 10.0, steps: int = 100) -> Found:
    """Trains `steps` steps from the experiment's own start, at rates from `low` to `high`, evenly in the logarithm.

    The test ends where the running mean of the losses exceeds four times its least or is not finite. The suggestion is
    the rate of the losses' steepest fall over its logarithm, smoothed to both sides so that it does not lag. Raises
    UsageError for rates or steps that are not allowed, and what a run would raise before its first step.
    """
    if not 0 < low < high or steps < 10:
        raise UsageError(
            f"rates {low:g} to {high:g} in {steps} steps are not allowed; give 0 < --low < --high, --steps 10 or more"
        )
    flat = dataclasses.replace(experiment.optim, schedule=optim.Constant(warmup_steps=None))
    admitted = admit(dataclasses.replace(experiment, optim=flat))
    key = jax.random.key(int(experiment.seed))
    state = jax.jit(lambda: init_state(*admitted.parts, key=key, batch=admitted.batch))()
    step = jax.jit(partial(experiment_step, schema=admitted.schema), donate_argnums=0)
    numbers = jax.tree.map(jnp.asarray, admitted.experiment)
    rates = np.geomspace(low, high, steps)
    losses: list[float] = []
    means: list[float] = []
    mean = 0.0
    for number, rate in enumerate(rates):
        now = dataclasses.replace(numbers, optim=dataclasses.replace(numbers.optim, lr=jnp.asarray(rate, jnp.float32)))
        batch = batch_at(experiment, admitted.train, number)
        state, sums = step(state, batch, now, teacher=admitted.teacher)
        loss = sums["metrics"]["loss"]
        losses.append(float(loss["total"]) / float(loss["weight"]))
        mean = _SMOOTH * mean + (1 - _SMOOTH) * losses[-1]
        means.append(mean / (1 - _SMOOTH ** (number + 1)))
        if not np.isfinite(means[-1]) or means[-1] > _DIVERGED * min(means):
            losses.pop()
            break
    smooth = _smoothed(np.asarray(losses), width=steps / 40)
    return Found(rates[: len(losses)], smooth, suggest(rates[: len(losses)], smooth))


def _smoothed(values: np.ndarray, *, width: float) -> np.ndarray:
    """A Gaussian mean of this width, in places; the ends are continued."""
    if not len(values):
        return values
    reach = int(np.ceil(3 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return np.convolve(np.pad(values, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def suggest(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """The rate where the loss falls fastest over log(rate), before its least; None if it never falls.

    >>> rates = np.geomspace(1e-4, 1, 41)
    >>> suggest(rates, 1 - np.tanh(3 * (np.log10(rates) + 2)))
    0.01
    """
    if len(losses) < 3:
        return None
    slope = np.gradient(losses, np.log(rates))[: max(int(losses.argmin()), 1)]
    return float(f"{rates[slope.argmin()]:.2g}") if slope.min() < 0 else None


def text(found: Found) -> str:
    """The test for a terminal: a bar for each rate, as high as the loss, and the suggestion."""
    if not len(found.losses):
        return "the loss was not finite at the first step already; lower --low"
    low = found.losses.min()
    bars = sparkline(np.minimum(found.losses, 1.2 * found.losses[0]).tolist(), width=_COLUMNS)
    ends = f"loss {found.losses[0]:.4g} at rate {found.rates[0]:.2g}, {found.losses[-1]:.4g} at {found.rates[-1]:.2g}"
    lines = [bars, f"{ends}; least {low:.4g} at {found.rates[found.losses.argmin()]:.2g}"]
    if found.suggestion is None:
        return "\n".join([*lines, "the loss never falls: look at the data and the model, or raise --high"])
    return "\n".join([*lines, f"the loss falls fastest at --optim.lr {found.suggestion:g}"])
