"""A JobSet in its cluster, by kubectl: applied, looked at, followed, deleted."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets.errors import UsageError
from jaxnets.launch import gke, manifest, record, tool
from jaxnets.launch.record import Record

_POLL = 5.0  # seconds between two looks
_OF_JOBSET = "jobset.sigs.k8s.io/jobset-name"


class State(NamedTuple):
    """How a JobSet stands."""

    words: str  # Pending, Running, Completed, Failed
    restarts: int
    pods: dict[str, int]  # how many are in each phase
    reasons: tuple[str, ...]  # what Kubernetes says of those that do not run

    @property
    def ended(self) -> bool:
        """Whether it will do nothing more."""
        return self.words in ("Completed", "Failed")


def where(*, context: str | None, namespace: str | None) -> tuple[str, ...]:
    """The words of kubectl that say which cluster and namespace; None is what kubectl is set to. Raises UsageError."""
    if namespace is not None:
        record.check_name(namespace, "--namespace")
    if context == "":
        raise UsageError("--context '' names no cluster; give one of kubectl config get-contexts")
    options = {"context": context, "namespace": namespace}
    return tuple(f"--{name}={value}" for name, value in options.items() if value is not None)


def application(place: tuple[str, ...]) -> tuple[str, ...]:
    """The command that takes the manifest from its stdin."""
    return ("kubectl", *place, "apply", "-f", "-")


def apply(job: gke.Job, place: tuple[str, ...], folder: Path) -> Record:
    """Starts the JobSet and keeps its name. Raises UsageError if there is one of this name, JaxnetsError if refused."""
    text = manifest.to_yaml(gke.jobset(job))
    launch = Record(job.name, "gke", {"place": list(place), "processes": gke.processes(job)})
    if _found(launch) is not None:
        raise UsageError(
            f"there is a JobSet {job.name} in the cluster; give another --name, "
            f"or delete it first: jaxnets launch stop {job.name}"
        )
    record.save(launch, folder)
    tool.read(application(place), stdin=text)
    return launch


def state(launch: Record) -> State | None:
    """How it stands; None if the cluster has no such JobSet (any more)."""
    found = _found(launch)
    if found is None:
        return None
    listed = _kubectl(launch, "get", "pods", f"--selector={_OF_JOBSET}={launch.name}", "--output=json")
    pods = json.loads(listed or "{}").get("items", [])
    phases = Counter(pod["status"].get("phase", "Unknown") for pod in pods)
    status = found.get("status", {})
    return State(
        status.get("terminalState") or ("Running" if phases.get("Running") else "Pending"),
        status.get("restarts", 0),
        dict(sorted(phases.items())),
        tuple(sorted(set(_reasons(status, pods)))),
    )


def follow(launch: Record) -> State | None:
    """Prints what all pods say as it comes, over restarts, until the JobSet has ended or is gone (None)."""
    since: tuple[str, ...] = ()
    while (found := state(launch)) is not None:
        if found.ended or found.pods.get("Running"):
            tool.show((*logs(launch), *since))
            since = (f"--since-time={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",)
        if found.ended:
            return found
        time.sleep(_POLL)
    return None


def logs(launch: Record) -> tuple[str, ...]:
    """The command that prints what the pods say until they end."""
    lines = ("--follow", "--prefix", "--ignore-errors", "--tail=-1", f"--max-log-requests={launch.values['processes']}")
    return (*_words(launch), "logs", f"--selector={_OF_JOBSET}={launch.name}", *lines)


def delete(launch: Record) -> bool:
    """Deletes it; its pods are told to end and may save. Whether there was one."""
    gone = _kubectl(launch, "delete", "jobset", launch.name, "--wait=false", "--ignore-not-found") or ""
    return bool(gone.strip())


def _found(launch: Record) -> dict[str, Any] | None:
    text = _kubectl(launch, "get", "jobset", launch.name, "--output=json", missing="NotFound")
    return None if text is None else json.loads(text)


def _kubectl(launch: Record, *words: str, missing: str | None = None) -> str | None:
    return tool.read((*_words(launch), *words), missing=missing)


def _words(launch: Record) -> tuple[str, ...]:
    return ("kubectl", *launch.values["place"])


def _reasons(status: dict[str, Any], pods: list[dict[str, Any]]) -> list[str]:
    """What Kubernetes says of the JobSet once it failed, and of each pod that waits."""
    found = [
        condition["message"]
        for condition in status.get("conditions", [])
        if condition["type"] == "Failed" and condition["status"] == "True"
    ]
    for pod in pods:
        for condition in pod["status"].get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                found.append(condition.get("message", "a pod finds no node"))
        for container in pod["status"].get("containerStatuses", []):
            waiting = container.get("state", {}).get("waiting")
            if waiting and waiting.get("reason") != "ContainerCreating":
                found.append(f"{waiting.get('reason')}: {waiting.get('message', '')}".strip(": "))
    return found
