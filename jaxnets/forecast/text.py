"""A forecast in words, for a terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

from jaxnets.columns import columns, scaled
from jaxnets.config import Experiment
from jaxnets.forecast.search import largest
from jaxnets.forecast.step import Forecast, forecast


def to_json(found: Forecast) -> dict[str, Any]:
    """Every figure, JSON values."""
    values = found._asdict() | {"flops_per_chip": found.flops_per_step / found.devices}
    seconds = None if found.seconds is None else found.seconds._asdict() | {"step": max(found.seconds)}
    return values | {"seconds": seconds}


def text(found: Forecast) -> str:
    """For a terminal."""
    where = f"{found.topology or 'at hand'}: {found.devices} × {found.device}"
    verdict = "fits" if found.fits else "does not fit"
    rows = [(name, f"{size / 2**20:,.1f} MiB") for name, size in found.bytes_per_chip.items()]
    rows += [("a program may have", f"{found.limit / 2**20:,.1f} MiB")]
    lines = [
        f"{where}, batches of {found.batch_size} from {found.source}: {verdict}",
        f"\nbytes a chip\n{columns(rows, right=(1,))}",
        f"\nFLOPs a step {scaled(found.flops_per_step)}, a chip {scaled(found.flops_per_step / found.devices)}",
        f"compiled in {found.compile_seconds:.1f} s",
    ]
    if found.fits:
        told = [(kind, f"{size / 2**20:,.1f} MiB") for kind, size in found.collective_bytes.items()] or [("none", "")]
        lines.insert(2, f"\nbytes a chip tells others\n{columns(told, right=(1,))}")
    return "\n".join([*lines, *_speed_lines(found)])


def _speed_lines(found: Forecast) -> list[str]:
    if not found.fits:
        return ["give a smaller --data.batch_size, --batch auto, --model.remat full, --plan.fsdp -1 or more chips"]
    if found.seconds is None or found.mfu is None:
        return [f"{found.device} is in no table of chips: no time is estimated"]
    bound = max(zip(found.seconds, found.seconds._fields, strict=True))[1]
    rows = [(name, f"{1e3 * value:.3f} ms") for name, value in found.seconds._asdict().items()]
    step = max(found.seconds)
    return [
        f"\na step takes about\n{columns(rows, right=(1,))}",
        f"so {1e3 * step:.3f} ms, bound by {bound}: {found.batch_size / step:,.0f} examples a second, "
        f"MFU about {100 * found.mfu:.1f} %: FLOPs of the model / (chips × peak × seconds)",
    ]


def show(experiment: Experiment, *, topology: str | None, batch: int | Literal["auto"] | None, as_json: bool) -> bool:
    """Prints the forecast of a batch size, or of the largest that fits; returns whether it fits."""
    if isinstance(batch, int):
        experiment = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, batch_size=batch))
    found, tried = largest(experiment, topology=topology) if batch == "auto" else (None, [])
    found = forecast(experiment, topology=topology) if found is None else found
    if as_json:
        sizes = {"tried": {str(one.batch_size): one.fits for one in tried}} if tried else {}
        print(json.dumps(to_json(found) | sizes, indent=2))
        return found.fits
    for one in tried:
        print(f"batch size {one.batch_size}: {'fits' if one.fits else 'too large'}, {one.compile_seconds:.1f} s")
    print(text(found))
    return found.fits
