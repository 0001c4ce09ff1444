"""`jaxnets launch gke`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnets.cli.command import Parser
from jaxnets.cli.launch.place import Place, Verbs
from jaxnets.launch import record
from jaxnets.launch.record import Record

if TYPE_CHECKING:
    from jaxnets.launch.gke import Job


def _options(gke: Parser) -> None:
    gke.add_argument("--name", required=True, help="of the launch and of the JobSet")
    gke.add_argument("--image", required=True, help="with jaxnets, jax for the accelerator, and what the program names")
    gke.add_argument("--tpu", metavar="CHIP:TOPOLOGY", help="of a slice, as in v6e:4x4 or tpu7x:4x4x4")
    gke.add_argument("--slices", type=int, default=1, metavar="N", help="TPU slices (default: 1)")
    gke.add_argument("--gpus-per-node", metavar="[TYPE:]G", help="as in 8 or nvidia-h100-80gb:8")
    gke.add_argument("--nodes", type=int, default=1, metavar="N", help="with GPUs (default: 1)")
    gke.add_argument("--spot", action="store_true", help="machines that can be taken away, and cost less")
    gke.add_argument("--retries", type=int, default=3, metavar="N", help="restarts at most (default: 3)")
    gke.add_argument("--service-account", metavar="NAME", help="of Kubernetes, with the right to use the buckets")
    gke.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="may be given many times")
    gke.add_argument("--python", default="python3", help="of the image (default: python3)")
    gke.add_argument("--context", help="the cluster, as kubectl calls it (default: its current one)")
    gke.add_argument("--namespace", help="(default: kubectl's current one)")
    gke.add_argument("--launch-dir", type=Path, default=record.FOLDER, help="where launches are kept")
    gke.add_argument("--dry-run", action="store_true", help="print the manifest and how it is applied")


def _job(given: argparse.Namespace) -> Job:
    from jaxnets.launch import membership
    from jaxnets.launch.gke import Job

    values = vars(given)
    same = {name: values[name] for name in Job._fields if name in values}
    return Job(**same | {"program": tuple(given.program), "variables": membership.variables(given.env)})


def _run(given: argparse.Namespace) -> int:
    from jaxnets.launch import gke, kubernetes, manifest

    job = _job(given)
    place = kubernetes.where(context=given.context, namespace=given.namespace)
    if given.dry_run:
        text = manifest.to_yaml(gke.jobset(job))
        print(f"{text}# applied by: {shlex.join(kubernetes.application(place))}")
        return 0
    launch = kubernetes.apply(job, place, given.launch_dir)
    print(f"{launch.name} is applied: {gke.processes(job)} pods; next: jaxnets launch logs {launch.name}")
    return 0


def _status(launch: Record) -> int:
    from jaxnets.launch import kubernetes

    found = kubernetes.state(launch)
    if found is None:
        print(f"{launch.name}: the cluster has no such JobSet any more")
        return 0
    pods = ", ".join(f"{count} {phase}" for phase, count in found.pods.items())
    print(f"{launch.name} {found.words} after {found.restarts} restarts; pods: {pods or 'none yet'}")
    for reason in found.reasons:
        print(f"  {reason}")
    return 0


def _logs(launch: Record) -> int:
    from jaxnets.launch import kubernetes

    found = kubernetes.follow(launch)
    if found is None:
        print(f"{launch.name}: the cluster has no such JobSet any more")
        return 0
    print(f"{launch.name} {found.words} after {found.restarts} restarts")
    return int(found.words == "Failed")


def _stop(launch: Record) -> int:
    from jaxnets.launch import kubernetes

    there = kubernetes.delete(launch)
    print(f"{launch.name} is {'told to end and will be deleted' if there else 'gone already'}")
    return 0


PLACE = Place("gke", "TPU slices or GPUs of a Kubernetes cluster", _options, _run, Verbs(_status, _logs, _stop))
