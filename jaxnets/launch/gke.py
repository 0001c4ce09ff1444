"""The manifest of a JobSet: TPU slices of Google Kubernetes Engine, or GPUs of any cluster that has JobSet.

On TPUs jax finds the other processes by what GKE writes into the pods. Elsewhere a process is told its place, because
what jax finds in Kubernetes by itself needs a package and the right to read pods. No shell stands between the words of
the program and the container; `$` is doubled, since Kubernetes puts variables in the place of `$(NAME)`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxnets.errors import NonFiniteError, UsageError
from jaxnets.launch import membership, program, tpu_slices
from jaxnets.launch.record import check_name
from jaxnets.launch.settings import check_form, check_least
from jaxnets.launch.tpu_slices import Slice

_INDEX = "JOB_COMPLETION_INDEX"
_POOL = "cloud.google.com/gke-nodepool"
_SPOT = "cloud.google.com/gke-spot"
_SAVING = 120  # seconds in which a run may save when its pod is told to end
_FINAL = (UsageError.exit_code, NonFiniteError.exit_code)  # no restart cures these
_LONGEST = 63 - len("-xxxxx")  # of the name of a pod, without what Kubernetes adds to it
_ALLOWED = {  # setting: (pattern, an example)
    "image": (r"[\w][\w.:/@-]*", "europe-docker.pkg.dev/project/repository/jaxnets:1"),
    "gpus_per_node": (r"([a-z0-9][a-z0-9-]*:)?[1-9]\d?", "8, or nvidia-h100-80gb:8 as GKE calls the GPU"),
}


class Job(NamedTuple):
    """One launch: TPU slices, or nodes with GPUs."""

    name: str
    program: tuple[str, ...]
    image: str  # holds jaxnets, jax for the accelerator, and the files that the program names
    tpu: str | None = None  # CHIP:TOPOLOGY
    slices: int = 1
    gpus_per_node: str | None = None  # [TYPE:]COUNT
    nodes: int = 1
    spot: bool = False
    retries: int = 3  # restarts at most, of all pods together
    service_account: str | None = None  # of Kubernetes; with the right to read and write the buckets
    python: str = "python3"  # of the image
    variables: dict[str, str] = {}  # noqa: RUF012


def jobset(job: Job) -> dict[str, Any]:
    """The manifest. Raises UsageError if a setting is not allowed.

    >>> spec = jobset(Job("vit", ("train", "c.py"), "image", tpu="v6e:4x4", slices=2))["spec"]
    >>> spec["replicatedJobs"][0]["replicas"], spec["replicatedJobs"][0]["template"]["spec"]["parallelism"]
    (2, 4)
    """
    _check(job)
    tpu = tpu_slices.of(job.tpu) if job.tpu else None
    metadata: dict[str, Any] = {"name": job.name}
    if tpu and tpu.hosts > 1:  # a node pool is one slice; a pool of single hosts takes many jobs
        metadata["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": _POOL}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": job.name},
            "failurePolicy": {
                "maxRestarts": job.retries,
                "rules": [{"name": "final", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
            },
            "replicatedJobs": [
                {
                    "name": _group(job),
                    "replicas": job.slices,
                    "template": {"spec": _job(job, tpu)},
                }
            ],
        },
    }


def processes(job: Job) -> int:
    """How many pods there are, each with one process."""
    return job.slices * _pods(job, tpu_slices.of(job.tpu) if job.tpu else None)


def _pods(job: Job, tpu: Slice | None) -> int:
    return tpu.hosts if tpu else job.nodes


def _group(job: Job) -> str:
    return "slice" if job.tpu else "node"


def _job(job: Job, tpu: Slice | None) -> dict[str, Any]:
    codes = {"onExitCodes": {"operator": "In", "values": list(_FINAL)}, "action": "FailJob"}
    return {
        "completionMode": "Indexed",
        "parallelism": _pods(job, tpu),
        "completions": _pods(job, tpu),
        "backoffLimit": 0,  # one that ends takes the others with it: the JobSet starts all of them again
        "podFailurePolicy": {"rules": [codes]},
        "template": {"spec": _pod(job, tpu)},
    }


def _pod(job: Job, tpu: Slice | None) -> dict[str, Any]:
    spot = {"key": _SPOT, "operator": "Equal", "value": "true", "effect": "NoSchedule"}
    optional = {
        "serviceAccountName": job.service_account,
        "nodeSelector": _selector(job, tpu),
        "tolerations": [spot] if job.spot else None,
    }
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _SAVING,
        **{name: value for name, value in optional.items() if value},
        "containers": [_container(job, tpu)],
    }


def _selector(job: Job, tpu: Slice | None) -> dict[str, str]:
    found = {_SPOT: "true"} if job.spot else {}
    if tpu:
        return {
            "cloud.google.com/gke-tpu-accelerator": tpu.label,
            "cloud.google.com/gke-tpu-topology": tpu.topology,
        } | found
    kind, _ = _gpus(job)
    return ({"cloud.google.com/gke-accelerator": kind} if kind else {}) | found


def _container(job: Job, tpu: Slice | None) -> dict[str, Any]:
    words = [_literal(word) for word in program.words(job.program, python=job.python, repeats=True)]
    variables = {"PYTHONUNBUFFERED": "1"} | {name: _literal(value) for name, value in job.variables.items()}
    if tpu is None:
        member = membership.of(
            job.program,
            coordinator=f"{job.name}-{_group(job)}-0-0.{job.name}:{membership.PORT}",
            count=job.nodes,
            index=f"$({_INDEX})",
        )
        words += member.words
        variables |= membership.devices(_gpus(job)[1]) | member.variables
    resource, count = ("google.com/tpu", tpu.chips_per_host) if tpu else ("nvidia.com/gpu", _gpus(job)[1])
    return {
        "name": "jaxnets",
        "image": job.image,
        "command": words,
        "env": [_index(), *({"name": name, "value": value} for name, value in variables.items())],
        "resources": {"requests": {resource: count}, "limits": {resource: count}},
    }


def _index() -> dict[str, Any]:
    """As Kubernetes adds it, but before the variables that are made of it."""
    path = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return {"name": _INDEX, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _literal(text: str) -> str:
    """A text in which Kubernetes finds no variable.

    >>> _literal("runs/$(HOME)-$$")
    'runs/$$(HOME)-$$$$'
    """
    return text.replace("$", "$$")


def _gpus(job: Job) -> tuple[str, int]:
    kind, _, count = (job.gpus_per_node or "").rpartition(":")
    return kind, int(count)


def _check(job: Job) -> None:
    check_name(job.name)
    if (job.tpu is None) == (job.gpus_per_node is None):
        raise UsageError("give one of --tpu CHIP:TOPOLOGY and --gpus-per-node [TYPE:]COUNT")
    unused = "nodes" if job.tpu else "slices"
    if getattr(job, unused) != 1:
        raise UsageError(f"--{unused} {getattr(job, unused)} says nothing of {'TPU slices' if job.tpu else 'GPUs'}; "
                         f"give --{'slices' if job.tpu else 'nodes'}")  # fmt: skip
    for name in ("slices", "nodes"):
        check_least(f"--{name}", getattr(job, name), least=1)
    check_least("--retries", job.retries, least=0)
    for name, (pattern, example) in _ALLOWED.items():
        check_form(f"--{name.replace('_', '-')}", getattr(job, name), pattern, f"something like {example}")
    if job.service_account is not None:
        check_name(job.service_account, "--service-account")
    _check_length(job)


def _check_length(job: Job) -> None:
    """Names of pods become names of hosts, which end at 63 letters."""
    last = f"-{_group(job)}-{job.slices - 1}-{_pods(job, tpu_slices.of(job.tpu) if job.tpu else None) - 1}"
    if len(job.name) > _LONGEST - len(last):
        raise UsageError(
            f"--name {job.name!r} is too long for pods that are called {job.name}{last}; "
            f"give {_LONGEST - len(last)} letters at most"
        )
