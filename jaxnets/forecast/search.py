"""The largest batch that fits a chip, each size compiled for it."""

from __future__ import annotations

import dataclasses
import math

from jaxnets.batch_size import most_that_fit
from jaxnets.config import Experiment
from jaxnets.forecast.step import Forecast, admit_shapes, devices_of, forecast
from jaxnets.parallel import layout
from jaxnets.placement import batch_unit


def largest(experiment: Experiment, *, topology: str | None = None) -> tuple[Forecast, list[Forecast]]:
    """(the forecast of the largest batch that fits, or of the smallest if none does; all that were compiled).

    As `batch_size.batch_sizes` searches: multiples of what the plan asks for, up to the train split.
    """
    dataset = admit_shapes(experiment)
    devices, _ = devices_of(topology)
    unit = math.prod(batch_unit(experiment, layout(experiment.plan, devices=devices)).values())
    tried: dict[int, Forecast] = {}

    def fits(units: int) -> bool:
        if units not in tried:
            data = dataclasses.replace(experiment.data, batch_size=units * unit)
            one = dataclasses.replace(experiment, data=data)
            tried[units] = forecast(one, topology=topology, dataset=dataset)
        return tried[units].fits

    best = most_that_fit(fits, max(1, dataset.splits["train"].length // unit))
    return tried[best or 1], [tried[units] for units in sorted(tried)]
