"""What makers publish of their chips: the only place where such numbers stand, each chip with its source.

Numbers are for one chip, which is one device of JAX: the two cores of a v4 and of a v5p work as one (megacore).
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from jaxnets.errors import UsageError, near

_GB, _GIB = 10**9, 2**30
_CLOUD = "https://docs.cloud.google.com/tpu/docs/"
_NVIDIA = "https://www.nvidia.com/en-us/data-center/"


class Chip(NamedTuple):
    """One chip.

    kind:         as `device_kind` begins with in JAX
    flops:        a second at most, dense products of bfloat16
    memory:       bytes of HBM
    usable:       bytes of it that a program may have, as XLA's refusals of larger ones say (libtpu 0.0.42)
    bandwidth:    of HBM, bytes a second
    interconnect: bytes a second that a chip can send to its neighbours over all links: half of what is published as
                  bidirectional
    host:         chips of one host in a slice of several
    axes:         of a topology
    cores:        that share the memory and work as one device
    """

    kind: str
    flops: float
    memory: int
    usable: int
    bandwidth: float
    interconnect: float
    host: int
    axes: int
    cores: int
    source: str


CHIPS = {
    "v4": Chip("TPU v4", 275e12, 32 * _GIB, int(30.75 * _GIB), 1228e9, 300e9, 4, 3, 2, _CLOUD + "v4"),
    "v5e": Chip("TPU v5 lite", 197e12, 16 * _GIB, int(15.75 * _GIB), 819e9, 200e9, 4, 2, 1, _CLOUD + "v5e"),
    "v5p": Chip("TPU v5", 459e12, 96 * _GIB, int(95.74 * _GIB), 2765e9, 600e9, 4, 3, 2, _CLOUD + "v5p"),
    "v6e": Chip("TPU v6 lite", 918e12, 32 * _GIB, int(31.25 * _GIB), 1638e9, 400e9, 4, 2, 1, _CLOUD + "v6e"),
    "a100-40gb": Chip("NVIDIA A100-SXM4-40GB", 312e12, 40 * _GIB, 40 * _GIB, 1555e9, 300e9, 8, 0, 1, _NVIDIA + "a100/"),
    "a100": Chip("NVIDIA A100", 312e12, 80 * _GB, 80 * _GB, 2039e9, 300e9, 8, 0, 1, _NVIDIA + "a100/"),
    "h100": Chip("NVIDIA H100", 989.4e12, 80 * _GB, 80 * _GB, 3350e9, 450e9, 8, 0, 1, _NVIDIA + "h100/"),
    "h200": Chip("NVIDIA H200", 989.4e12, 141 * _GB, 141 * _GB, 4800e9, 450e9, 8, 0, 1, _NVIDIA + "h200/"),
}
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_DEEP = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")


def chip_of(kind: str) -> Chip | None:
    """The chip of a `device_kind`, None if it is in no table; the longest name that fits is meant.

    >>> chip_of("TPU v5 lite").source.endswith("v5e"), chip_of("NVIDIA H100 80GB HBM3").cores, chip_of("cpu")
    (True, 1, None)
    """
    fitting = [chip for chip in CHIPS.values() if kind.startswith(chip.kind)]
    return max(fitting, key=lambda chip: len(chip.kind), default=None)


class Topology(NamedTuple):
    """A slice of TPU chips, as in v5e:4x4."""

    name: str
    chip: Chip
    shape: tuple[int, ...]

    @property
    def host(self) -> tuple[int, ...]:
        """Chips of one host along each of three axes: 2 × 2, or fewer where the slice has fewer."""
        return (*(min(2, size) for size in self.shape[:2]), 1)


def topology(name: str) -> Topology:
    """The slice of a name. Raises UsageError naming the nearest ones.

    >>> topology("v5e:4x4").shape, math.prod(topology("v5p:4x4x4").shape)
    ((4, 4), 64)
    """
    family, _, sizes = name.partition(":")
    chip = CHIPS.get(family)
    shape = tuple(map(int, sizes.split("x"))) if re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3})*", sizes) else ()
    odd = math.prod(shape) > 1 and any(size % 2 for size in shape[:2])
    if chip is None or not chip.axes or len(shape) != chip.axes or odd:
        known = topologies()
        raise UsageError(
            f"--topology {name!r} is not known{near(name, known)}; give a chip and its slice, as in "
            f"{', '.join(known[:: len(_FLAT)])}; each of the first two axes is even"
        )
    return Topology(name, chip, shape)


def topologies() -> list[str]:
    """The slices that are published, smallest first, chip by chip.

    >>> topologies()[0], len(topologies())
    ('v4:2x2x1', 36)
    """
    shapes = {2: _FLAT, 3: _DEEP}
    return [f"{name}:{shape}" for name, chip in CHIPS.items() for shape in shapes.get(chip.axes, ())]
