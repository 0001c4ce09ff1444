"""How much memory is at hand, of the machine and of what a container is given of it."""

from __future__ import annotations

from pathlib import Path


def bytes_at_hand() -> float:
    """The memory that may still be taken, of the machine and of what this container is given; inf = neither says.

    Sources: proc(5) of the Linux manual, `Control Group v2` and `Memory Resource Controller` of the kernel's.

    >>> bytes_at_hand() > 0
    True
    """
    machine = _numbers(Path("/proc/meminfo")).get("MemAvailable:")
    return min(float("inf") if machine is None else 1024.0 * machine, _of_container(Path("/sys/fs/cgroup")))


def _of_container(root: Path) -> float:
    """What a control group may still take; pages of files that it can let go count as free."""
    second = (root / "memory.max", root / "memory.current", root / "memory.stat")
    first = tuple(root / "memory" / f"memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat"))
    for limit, used, told in (second, first):
        try:
            free = int(limit.read_text()) - int(used.read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        return max(0.0, float(free + _numbers(told).get("inactive_file", 0)))
    return float("inf")


def _numbers(file: Path) -> dict[str, int]:
    """{first word of a line: the number that follows it}; empty where there is no such file."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
