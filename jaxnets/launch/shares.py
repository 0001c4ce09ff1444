"""What each of several workers of one machine gets of it: cores, and accelerators."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_FILLED = 0.9  # of a GPU's memory, where several share it


def of(environ: Mapping[str, str], *, workers: int, cores: int, gpus: int) -> list[dict[str, str]]:
    """The variables of each worker: an equal part of the cores, and GPUs of its own, or of one its part of the memory.

    cores, gpus: of the machine; of these only the GPUs that the variables let this process see are given away

    >>> of({}, workers=2, cores=8, gpus=2)
    [{'NPROC': '4', 'CUDA_VISIBLE_DEVICES': '0'}, {'NPROC': '4', 'CUDA_VISIBLE_DEVICES': '1'}]
    >>> of({"CUDA_VISIBLE_DEVICES": "2"}, workers=2, cores=2, gpus=4)[1]
    {'NPROC': '1', 'XLA_PYTHON_CLIENT_MEM_FRACTION': '0.45', 'CUDA_VISIBLE_DEVICES': '2'}
    """
    known = environ.get("NPROC", "")
    each = {"NPROC": str(max(1, (int(known) if known.isdigit() else cores) // workers))}
    seen = [name for name in environ.get(_VISIBLE, ",".join(map(str, range(gpus)))).split(",") if name]
    if not seen or not gpus or environ.get("JAX_PLATFORMS") == "cpu":
        return [each] * workers
    crowd = -(-workers // len(seen))
    if crowd > 1:
        each["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_FILLED / crowd:.3g}"
    own = [seen[index::workers] or [seen[index % len(seen)]] for index in range(workers)]
    return [each | {_VISIBLE: ",".join(names)} for names in own]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """NVIDIA's GPUs of this machine, counted without using one."""
    return len([path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()])
