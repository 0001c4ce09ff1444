"""TPU VMs in the words of gcloud: what is asked for, checked, and each command as a list of words.

Sources: cloud.google.com/sdk/gcloud/reference/compute/tpus (commands and flags), cloud.google.com/tpu/docs/runtimes
(software of each chip). The Cloud TPU API behind them gets no new chips: v6e is the last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from jaxnets.errors import UsageError, near
from jaxnets.launch.record import check_name
from jaxnets.launch.settings import check_form

_TPUS = ("gcloud", "compute", "tpus")
_SIZES = (1, 4, 8, 16, 32, 64, 128, 256)  # chips
_LAST = 6  # generation that the Cloud TPU API knows


class Chip(NamedTuple):
    """One generation, as accelerator types are named after it."""

    runtime: str
    by_core: bool  # whether the number of a type counts cores, eight a host; else chips


CHIPS = {
    "v2": Chip("tpu-ubuntu2204-base", True),
    "v3": Chip("tpu-ubuntu2204-base", True),
    "v4": Chip("tpu-ubuntu2204-base", True),
    "v5litepod": Chip("v2-alpha-tpuv5-lite", False),
    "v5p": Chip("v2-alpha-tpuv5", True),
    "v6e": Chip("v2-alpha-tpuv6e", False),
}


class Node(NamedTuple):
    """One TPU VM of one or more workers; with `queued` it comes from a queued resource of the same name."""

    name: str
    zone: str
    accelerator: str
    project: str | None = None  # None: gcloud's own
    runtime: str | None = None  # None: the usual one of the chip
    spot: bool = False
    queued: bool = False
    labels: str | None = None  # KEY=VALUE,…
    network: str | None = None
    subnetwork: str | None = None
    service_account: str | None = None


_LABEL = r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}"
_PATH = r"[a-z][a-z0-9_.:-]*(?:/[a-z][a-z0-9_.:-]*)*"
_ADDRESS = r"[a-z0-9][a-z0-9.-]*@[a-z0-9][a-z0-9.-]*"
_ALLOWED = {  # field: (what it must be, in words)
    "zone": (r"[a-z]+-[a-z]+\d{1,2}-[a-z]", "a zone, as us-central1-a"),
    "project": (r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", "the id of a project, as my-project-1"),
    "runtime": (r"[a-z0-9][a-z0-9.-]{0,62}", "a version that `gcloud compute tpus versions list` names"),
    "labels": (rf"{_LABEL}(?:,{_LABEL})*", "KEY=VALUE,… of small letters, digits, _ and -, as team=vision,stage=dev"),
    "network": (_PATH, "a network, as default"),
    "subnetwork": (_PATH, "a subnetwork, as default"),
    "service_account": (_ADDRESS, "an address, as runs@my-project-1.iam.gserviceaccount.com"),
}
_OPTIONS = {"runtime": "--runtime-version", "service_account": "--service-account"}


def check(node: Node) -> Node:
    """The node as it was given. Raises UsageError with the option that is not allowed, and what is."""
    check_name(node.name)
    hosts(node.accelerator)
    for field, (pattern, words) in _ALLOWED.items():
        check_form(_OPTIONS.get(field, f"--{field}"), getattr(node, field), pattern, words)
    return node


def hosts(accelerator: str) -> int:
    """How many workers an accelerator type has.

    >>> [hosts(name) for name in ("v5litepod-8", "v5litepod-16", "v4-8", "v5p-32")]
    [1, 4, 1, 4]

    Raises UsageError if there is no such type.
    """
    name, _, number = accelerator.partition("-")
    if (later := re.match(r"(?:tpu|v)(\d+)", accelerator)) and int(later[1]) > _LAST:
        raise UsageError(
            f"--accelerator {accelerator!r} is not served by the Cloud TPU API, whose last chip is v6e; "
            "use GKE for later ones: jaxnets launch gke"
        )
    if name not in CHIPS or not re.fullmatch(r"[1-9]\d{0,4}", number, re.ASCII):
        name = {"v5e": "v5litepod", "v5lite": "v5litepod"}.get(name, name)
        raise UsageError(
            f"--accelerator {accelerator!r} is no type of TPU; give CHIP-NUMBER with one of {', '.join(CHIPS)}, "
            f"as v5litepod-16{near(name, CHIPS)}"
        )
    count, by_core = int(number), CHIPS[name].by_core
    if count % 8 if by_core else count not in _SIZES:
        allowed = "multiples of 8 (cores)" if by_core else ", ".join(map(str, _SIZES))
        raise UsageError(f"--accelerator {accelerator!r} has no such size; {name} has {allowed}")
    if by_core:
        return count // 8
    return 1 if count <= 8 else count // 4


def create(node: Node) -> tuple[str, ...]:
    """Asks for the node: at once, or by a queue.

    >>> create(Node("vit", "us-west4-a", "v5litepod-16", spot=True))[3:7]
    ('tpu-vm', 'create', 'vit', '--zone=us-west4-a')
    """
    runtime = node.runtime or CHIPS[node.accelerator.partition("-")[0]].runtime
    kind = ("queued-resources", "create", node.name) if node.queued else ("tpu-vm", "create", node.name)
    given = {"--labels": node.labels, "--network": node.network, "--subnetwork": node.subnetwork}
    given["--service-account"] = node.service_account
    return (
        *_TPUS,
        *kind,
        *_where(node),
        *((f"--node-id={node.name}",) if node.queued else ()),
        f"--accelerator-type={node.accelerator}",
        f"--runtime-version={runtime}" if node.queued else f"--version={runtime}",
        *(("--spot",) if node.spot else ()),
        *(f"{option}={value}" for option, value in given.items() if value is not None),
        "--quiet",
    )


def describe(node: Node) -> tuple[str, ...]:
    """Prints the state of the node alone."""
    return (*_TPUS, "tpu-vm", "describe", node.name, *_where(node), "--format=value(state)")


def describe_queue(node: Node) -> tuple[str, ...]:
    """Prints the state of the queued resource alone."""
    return (*_TPUS, "queued-resources", "describe", node.name, *_where(node), "--format=value(state.state)")


def delete(node: Node) -> tuple[str, ...]:
    """Deletes the node."""
    return (*_TPUS, "tpu-vm", "delete", node.name, *_where(node), "--quiet")


def delete_queue(node: Node) -> tuple[str, ...]:
    """Deletes the queued resource, whatever its state, with its node."""
    return (*_TPUS, "queued-resources", "delete", node.name, *_where(node), "--force", "--quiet")


def copy(node: Node, files: Sequence[str]) -> tuple[str, ...]:
    """Copies files to the home folder of every worker."""
    return (*_TPUS, "tpu-vm", "scp", *files, f"{node.name}:", *_where(node), "--worker=all", "--quiet")


def ssh(node: Node, command: str) -> tuple[str, ...]:
    """Runs a command line of a remote shell on every worker: its words must have been quoted."""
    return (*_TPUS, "tpu-vm", "ssh", node.name, *_where(node), "--worker=all", "--quiet", f"--command={command}")


def _where(node: Node) -> tuple[str, ...]:
    return (f"--zone={node.zone}", *((f"--project={node.project}",) if node.project else ()))
