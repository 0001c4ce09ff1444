"""A forecast: what a run would need and how fast it could be, on chips that nobody has started yet.

The whole train step is compiled for them, from shapes. What it needs is the compiler's word; how long it takes is an
estimate, from what the chip's maker publishes (`jaxnets.chips`):

    seconds      = max(compute, memory, interconnect)
    compute      = FLOPs a chip / peak FLOPs a second
    memory       = bytes of HBM a chip / its bandwidth
    interconnect = bytes that a chip sends, collectives being rings / bandwidth of its links
    MFU          = FLOPs of the model / (chips × peak FLOPs a second × seconds)

Bytes of HBM: what stays is read or written once, a temporary written and read once; or what the compiler counts, which
takes loops once, if that is more. FLOPs of the model leave out what rematerialisation computes again. Most real steps
are slower, since the three do not overlap perfectly and no product runs at its peak; one that looks up or scatters
single elements may be faster, since the compiler counts a pass over all of the operand for each (RandAugment).
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from jaxnets import chips, slices
from jaxnets.admission import Admitted, admit, admit_data
from jaxnets.batch_size import device_bytes
from jaxnets.chips import Chip
from jaxnets.collectives import bytes_by_kind, bytes_sent
from jaxnets.config import Experiment
from jaxnets.data import Dataset
from jaxnets.errors import DataError
from jaxnets.parallel import bytes_on_one_device
from jaxnets.rehearsal import bytes_of, data_bytes, lowered

_NEEDED = re.compile(r"(?:temporaries \(|Used )([\d.]+)([KMGT]?)")
_POWERS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


class Seconds(NamedTuple):
    """What one step takes, by what bounds it."""

    compute: float
    memory: float
    interconnect: float


class Forecast(NamedTuple):
    """One step of an experiment on some devices.

    topology:         as given, or None: the devices at hand
    limit:            bytes that a program may have on one of them
    bytes_per_chip:   by what they hold; of a program that does not fit, what its compiler asked for
    flops_per_step:   of all chips, whatever is computed again among them
    model_flops:      of all chips, without it
    collective_bytes: payload on one chip by kind of collective (see `jaxnets.collectives`); {} if it does not fit
    seconds:          None where the chip is in no table or the program does not fit
    mfu:              1 = every chip at its peak
    """

    topology: str | None
    device: str
    devices: int
    source: str
    batch_size: int
    fits: bool
    limit: int
    bytes_per_chip: dict[str, int]
    flops_per_step: float
    model_flops: float
    collective_bytes: dict[str, int]
    compile_seconds: float
    seconds: Seconds | None = None
    mfu: float | None = None


def forecast(experiment: Experiment, *, topology: str | None = None, dataset: Dataset | None = None) -> Forecast:
    """Compiles one step for a topology, or for the devices at hand; nothing runs.

    Raises UsageError for a topology that is not known, MissingExtra without libtpu, and what a run would raise before
    its first step.
    """
    devices, limit = devices_of(topology)
    admitted = admit(experiment, admit_shapes(experiment) if dataset is None else dataset, devices=devices)
    began = time.perf_counter()
    program, flops = lowered(admitted)
    compiled, temporaries = _compiled(program)
    seconds = time.perf_counter() - began
    held = _bytes(admitted, temporaries, compiled)
    text = "" if compiled is None else compiled.as_text()
    found = Forecast(
        topology=topology,
        device=devices[0].device_kind,
        devices=admitted.layout.devices,
        source=admitted.schema.source,
        batch_size=experiment.data.batch_size,
        fits=compiled is not None and sum(held.values()) <= limit,
        limit=limit,
        bytes_per_chip=held | {"together": sum(held.values())},
        flops_per_step=flops,
        model_flops=_model_flops(admitted, flops),
        collective_bytes=bytes_by_kind(text),
        compile_seconds=seconds,
    )
    chip = chips.chip_of(found.device)
    if chip is None or compiled is None:
        return found
    return _timed(found, _seconds(found, chip, compiled, bytes_sent(text, devices=found.devices)), chip)


def _compiled(program: Any) -> tuple[Any, int]:
    """(the compiled program, bytes of its temporaries); None in place of one that asks for more than there is."""
    try:
        compiled: Any = program.compile()
    except jax.errors.JaxRuntimeError as error:
        needed = needed_bytes(str(error))
        if needed is None:
            raise
        return None, needed
    return compiled, compiled.memory_analysis().temp_size_in_bytes


def admit_shapes(experiment: Experiment) -> Dataset:
    """The data of an experiment, or noise in its shape where its files are not here: shapes are all that is needed."""
    try:
        return admit_data(experiment)
    except DataError as error:
        source = stand_in(experiment)
        if source is None:
            raise DataError(
                f"{error}; to compile without the data, say what it looks like: "
                "--data.source synthetic:image/224x224x3/1000"
            ) from error
        data = dataclasses.replace(experiment.data, source=source)
        return admit_data(dataclasses.replace(experiment, data=data))


def stand_in(experiment: Experiment) -> str | None:
    """The source of noise in the shape of text whose files are not here; of images the classes are not known."""
    kind = experiment.data.source.partition(":")[0]
    sizes = {"tokens": experiment.data.vocabulary, "text": 256}
    return f"synthetic:tokens/{sizes[kind]}" if sizes.get(kind) else None


def devices_of(topology: str | None) -> tuple[Sequence[Any], int]:
    """The devices, and the bytes that a program may have on one."""
    if topology is None:
        return jax.devices(), device_bytes()
    wanted = chips.topology(topology)
    return slices.devices(wanted), wanted.chip.usable


def needed_bytes(message: str) -> int | None:
    """What the compiler's refusal says that a program needs; None if it refuses something else.

    >>> needed_bytes("RESOURCE_EXHAUSTED: … required for HLO temporaries (2.50G) exceeds available HBM (15.75G).")
    2684354560
    """
    found = _NEEDED.search(message) if "RESOURCE_EXHAUSTED" in message else None
    return None if found is None else int(float(found[1]) * 2 ** _POWERS[found[2]])


def _bytes(admitted: Admitted, temporaries: int, compiled: Any) -> dict[str, int]:
    """What one chip holds while it trains."""
    state = admitted.layout.shapes(admitted.shapes)
    parts = {
        "params": bytes_on_one_device((state.params, state.frozen)),
        "optimizer": bytes_on_one_device(state.opt_state),
        "average": bytes_on_one_device(state.average),
        "state": bytes_on_one_device((state.state, state.step, state.key)),
        "teacher": bytes_of(admitted.teacher),
        "batches": data_bytes(admitted),
        "activations and temporaries": temporaries,
        "program": 0 if compiled is None else compiled.memory_analysis().generated_code_size_in_bytes,
    }
    return {name: int(size) for name, size in parts.items() if size}


def _model_flops(admitted: Admitted, flops: float) -> float:
    """FLOPs without what is computed again."""
    model: Any = admitted.experiment.model
    if getattr(model, "remat", "none") == "none":
        return flops
    kept = dataclasses.replace(admitted.experiment, model=dataclasses.replace(model, remat="none"))
    devices = list(admitted.layout.mesh.devices.flat)
    return lowered(admit(kept, admitted.dataset, devices=devices))[1]


def _seconds(found: Forecast, chip: Chip, compiled: Any, sent: float) -> Seconds:
    memory, counted = compiled.memory_analysis(), compiled.cost_analysis() or {}
    once = memory.argument_size_in_bytes + memory.output_size_in_bytes + 2 * memory.temp_size_in_bytes
    return Seconds(
        found.flops_per_step / found.devices / chip.flops,
        max(once, counted.get("bytes accessed", 0.0)) / chip.bandwidth,
        sent / chip.interconnect,
    )


def _timed(found: Forecast, seconds: Seconds, chip: Chip) -> Forecast:
    return found._replace(seconds=seconds, mfu=found.model_flops / (found.devices * chip.flops * max(seconds)))
