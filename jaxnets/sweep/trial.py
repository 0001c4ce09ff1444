"""A trial of a sweep: what it is before it trains, and what it ends with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxnets.config import Experiment


class Trial(NamedTuple):
    """One experiment of a sweep, under its number."""

    number: int
    experiment: Experiment
    settings: dict[str, Any]  # dotted path: value


@dataclass
class Progress:
    """How far a trial is, on the host; what `Outcome` is made of.

    curve:   (step, figures of the validation split) of each evaluation
    history: of a population: (step, number of the trial whose weights it took, its settings from there on)
    """

    trial: Trial
    step: int = 0
    best: float | None = None
    best_step: int = 0
    waited: int = 0  # evaluations since the best
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    rungs: dict[int, float] = field(default_factory=dict)  # step: the value that a stopping rule saw
    seconds: float = 0.0
    history: list[tuple[int, int, dict[str, Any]]] = field(default_factory=list)


class Outcome(NamedTuple):
    """What a trial ended with.

    state:   complete, pruned (stopped early by the sweep's rule), or failed
    figures: of the splits valid and test, where it was tested: with the weights of `tested_step`
    why:     of what it failed, or what stopped it
    """

    trial: Trial
    state: str
    figures: dict[str, dict[str, float]]
    curve: list[tuple[int, dict[str, float]]]
    rungs: dict[int, float]
    steps: int
    tested_step: int
    seconds: float
    form: str
    history: list[tuple[int, int, dict[str, Any]]]
    why: str | None = None
