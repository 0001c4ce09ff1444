"""The largest batch that fits a device: found by compiling the step and reading what it needs, not by crashing it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxnets.admission import admit, admit_data
from jaxnets.columns import columns
from jaxnets.config import Experiment
from jaxnets.data import Dataset
from jaxnets.errors import ConfigError, UsageError
from jaxnets.parallel import layout
from jaxnets.placement import batch_unit
from jaxnets.rehearsal import data_bytes, memory

_SHARE = 0.9  # of the device's memory: the rest is left to evaluation, checkpoints and the allocator


class Tried(NamedTuple):
    """Bytes on one device while it trains with a batch of this size, and what the compiler counts for each example."""

    batch_size: int
    bytes: int
    fits: bool


class Found(NamedTuple):
    """Every size that was compiled, smallest first; `largest` is None if not even the smallest fits."""

    tried: tuple[Tried, ...]
    largest: int | None
    limit: int  # bytes on one device


def batch_sizes(experiment: Experiment, *, limit: int | None = None, largest: int | None = None) -> Found:
    """Doubles the batch from the least that the plan allows until it does not fit, then halves the gap between.

    limit:   bytes on one device; default: 0.9 of what the device has free
    largest: a bound; default: the examples of the train split

    Nothing runs, so nothing can run out of memory. Raises UsageError for bounds that are not allowed, and what a run
    would raise before its first step.
    """
    dataset = admit_data(experiment)
    limit = device_bytes() if limit is None else limit
    unit = _unit(experiment)
    bound = (dataset.splits["train"].length if largest is None else largest) // unit
    if limit < 1 or bound < 1:
        raise UsageError(f"a limit of {limit} bytes and at most {largest} examples: give both, at least 1 and {unit}")
    tried: dict[int, Tried] = {}

    def fits(units: int) -> bool:
        if units not in tried:
            tried[units] = _tried(experiment, dataset, units * unit, limit)
        return tried[units].fits

    best = most_that_fit(fits, bound)
    return Found(tuple(tried[units] for units in sorted(tried)), best * unit or None, limit)


def most_that_fit(fits: Callable[[int], bool], bound: int) -> int:
    """The largest number up to `bound` that fits, to an eighth, since batches are round numbers; 0 if 1 does not.

    Doubles from 1 until one does not fit, then halves the gap between.

    >>> most_that_fit(lambda n: n <= 21, 1000), most_that_fit(lambda n: True, 100), most_that_fit(lambda n: False, 9)
    (20, 100, 0)
    """
    good, bad = 0, 1
    while bad <= bound and fits(bad):
        good, bad = bad, 2 * bad
    if bad > bound:
        good, bad = (bound, bound + 1) if fits(bound) else (good, bound)
    while bad - good > max(1, good // 8):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _unit(experiment: Experiment) -> int:
    """What every batch size must be a multiple of: devices, micro-batches, repeated examples."""
    return math.prod(batch_unit(experiment, layout(experiment.plan)).values())


def _tried(experiment: Experiment, dataset: Dataset, size: int, limit: int) -> Tried:
    one = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, batch_size=size))
    admitted = admit(one, dataset)
    needed = sum(memory(admitted)) + data_bytes(admitted)
    return Tried(size, needed, needed <= limit)


def device_bytes() -> int:
    """0.9 of the memory that is free on the first device; on a CPU, of the machine."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return int(_SHARE * free / jax.device_count())
    stats = device.memory_stats() or {}
    if "bytes_limit" not in stats:
        raise ConfigError(f"{device.device_kind} does not say how much memory it has; give it: --memory 16GiB")
    return int(_SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))


def parse_bytes(text: str) -> int:
    """Bytes from words such as 512MiB, 16GiB or 80GB.

    >>> parse_bytes("16GiB"), parse_bytes("80 GB"), parse_bytes("1000")
    (17179869184, 80000000000, 1000)
    """
    units = {"": 1, "MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}
    digits = text.strip().rstrip("BbIiMmGg ").strip()
    unit = text.strip()[len(digits) :].strip().upper()
    try:
        value = float(digits) * units[unit]
    except (ValueError, KeyError) as error:
        raise UsageError(f"--memory {text!r} is not allowed; give a size such as 512MiB, 16GiB or 80GB") from error
    if not 1 <= value < 2**63:
        raise UsageError(f"--memory {text!r} is not allowed; give at least one byte")
    return int(value)


def text(found: Found) -> str:
    """What was tried, for a terminal, and the size to give to train."""
    rows = [("batch size", "MiB a device", "")]
    rows += [(str(one.batch_size), f"{one.bytes / 2**20:,.1f}", "" if one.fits else "too large") for one in found.tried]
    table = columns(rows, right=(0, 1))
    limit = f"{found.limit / 2**20:,.1f} MiB"
    if found.largest is None:
        return f"{table}\nnot even the smallest batch fits {limit}; try a smaller model or --model.remat full"
    return f"{table}\nthe largest that fits {limit}: --data.batch_size {found.largest}"
