"""Devices of a TPU slice that nobody has: enough to compile for, from libtpu's description of it.

libtpu belongs to one process of a machine and asks the cloud who it is; for a description neither is needed, and what
is said of it here keeps it silent and lets several processes compile at once. What the user has set stands.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import jax
from jax.experimental import topologies

from jaxnets.chips import Topology
from jaxnets.errors import MissingExtra, UsageError

_ALONE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


def devices(topology: Topology) -> list[Any]:
    """One device a chip, in the order of the slice. Raises MissingExtra without libtpu, UsageError if it refuses."""
    if importlib.util.find_spec("libtpu") is None and "TPU_LIBRARY_PATH" not in os.environ:
        raise MissingExtra("libtpu", extra="tpu", purpose=f"to compile for {topology.name}")
    for name, value in _ALONE.items():
        os.environ.setdefault(name, value)
    more: dict[str, Any] = {"chip_config_name": "megacore"} if topology.chip.cores > 1 else {}
    try:
        found = topologies.get_topology_desc(
            platform="tpu", topology_name=topology.name, chips_per_host_bounds=topology.host, **more
        )
    except jax.errors.JaxRuntimeError as error:
        raise UsageError(f"libtpu refuses --topology {topology.name}: {str(error).splitlines()[0]}") from error
    return list(found.devices)
