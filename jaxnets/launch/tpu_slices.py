"""TPU slices of Google Kubernetes Engine: the label of each chip, the topologies of a slice, and its hosts.

Source: cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus, and the pages of each chip under
cloud.google.com/tpu/docs; a slice of several hosts has four chips on each.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from jaxnets.errors import UsageError, near

_CHIPS_PER_HOST = 4
_PLANE = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")  # all that there are
_CUBE = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4")  # larger ones are multiples of four
_ONE = "1x1x1"


class Chip(NamedTuple):
    """One generation of chips."""

    label: str  # of cloud.google.com/gke-tpu-accelerator
    dimensions: int
    most: int  # chips of one slice
    alone: bool = True  # whether a host with one chip can be had


CHIPS = {
    "v4": Chip("tpu-v4-podslice", 3, 4096, alone=False),
    "v5e": Chip("tpu-v5-lite-podslice", 2, 256),
    "v5p": Chip("tpu-v5p-slice", 3, 6144, alone=False),
    "v6e": Chip("tpu-v6e-slice", 2, 256),
    "tpu7x": Chip("tpu7x", 3, 9216),  # Ironwood; on GKE alone
}


class Slice(NamedTuple):
    """The chips that one job of a JobSet gets."""

    label: str
    topology: str
    hosts: int
    chips_per_host: int


def of(text: str) -> Slice:
    """The slice of `CHIP:TOPOLOGY`.

    >>> of("v6e:4x4")
    Slice(label='tpu-v6e-slice', topology='4x4', hosts=4, chips_per_host=4)

    Raises UsageError with what there is.
    """
    name, _, topology = text.partition(":")
    if name not in CHIPS:
        raise UsageError(
            f"--tpu {text!r} names no chip; give CHIP:TOPOLOGY with one of {', '.join(CHIPS)}, "
            f"as in v6e:4x4{near(name, CHIPS)}"
        )
    chip = CHIPS[name]
    if not _exists(chip, topology):
        raise UsageError(f"--tpu {text!r} is no topology of {name}; there are {_words(chip)}")
    chips = math.prod(map(int, topology.split("x")))
    return Slice(chip.label, topology, max(1, chips // _CHIPS_PER_HOST), min(chips, _CHIPS_PER_HOST))


def _exists(chip: Chip, topology: str) -> bool:
    if chip.dimensions == 2:
        return topology in _PLANE
    if topology == _ONE:
        return chip.alone
    if topology in _CUBE:
        return True
    if not re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3}){2}", topology, re.ASCII):
        return False
    sides = [int(side) for side in topology.split("x")]
    return sides == sorted(sides) and all(side % 4 == 0 for side in sides) and math.prod(sides) <= chip.most


def _words(chip: Chip) -> str:
    if chip.dimensions == 2:
        return ", ".join(_PLANE)
    small = (_ONE, *_CUBE) if chip.alone else _CUBE
    return f"{', '.join(small)}, and AxBxC of multiples of 4, A ≤ B ≤ C, with {chip.most} chips at most"
