"""What the figures of a run depend on beside its config and data."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from jaxnets import distributed

_BITS = ("packages", "devices", "processes", "threads", "platform", "python")  # what bits depend on


def environment() -> dict[str, Any]:
    """The content of `env.json`."""
    packages = ("jaxnets", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    devices = jax.devices()
    return {
        "packages": {name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [f"{device.platform} {device.device_kind}" for device in devices],
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processes": distributed.count(),
        "git_commit": _commit(),
        "command": sys.argv,
    }


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            cwd=Path(__file__).parent,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def moved(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two environments so that bits do."""
    return [name for name in _BITS if before.get(name) != now[name]]
