"""`jaxnets launch tpu-vm`."""

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
    from jaxnets.launch.tpu_vm import Job

_DRY = "COMMIT"  # stands for the code where there is no repository


def _options(tpu: Parser) -> None:
    tpu.add_argument("--name", required=True, help="of the launch and of the TPU VM")
    tpu.add_argument("--zone", required=True, help="as us-west4-a")
    tpu.add_argument("--accelerator", required=True, metavar="TYPE", help="as v5litepod-16 or v6e-8; v6e is the last")
    tpu.add_argument("--project", help="default: gcloud's own")
    tpu.add_argument("--runtime-version", dest="runtime", metavar="VERSION", help="default: the usual one of the chip")
    tpu.add_argument("--spot", action="store_true", help="cheaper; may be preempted, and is created again then")
    tpu.add_argument("--queued", action="store_true", help="wait in the queue until there is capacity")
    tpu.add_argument("--labels", metavar="KEY=VALUE,…")
    tpu.add_argument("--network")
    tpu.add_argument("--subnetwork")
    tpu.add_argument("--service-account", metavar="ADDRESS", help="which the run has the rights of")
    tpu.add_argument("--commit", help="of the code that is copied (default: HEAD, where nothing differs from it)")
    tpu.add_argument("--install", action="append", default=[], metavar="PACKAGE", help="beside the code and jax[tpu]")
    tpu.add_argument("--allow-local-runs", action="store_true", help="what a run leaves may be deleted with the TPU VM")
    tpu.add_argument("--retries", type=int, default=3, metavar="N", help="creations after it was lost (default: 3)")
    tpu.add_argument("--keep", action="store_true", help="do not delete it at the end; it costs money until you do")
    tpu.add_argument("--ready-within", type=float, metavar="SECONDS", help="default: an hour, with --queued a day")
    tpu.add_argument("--poll", type=float, default=20.0, metavar="SECONDS", help="between two looks at its state")
    tpu.add_argument("--launch-dir", type=Path, default=record.FOLDER, help="where launches are kept")
    tpu.add_argument("--dry-run", action="store_true", help="print the commands that would run, and run nothing")


def _job(given: argparse.Namespace) -> Job:
    from jaxnets.launch import code, tpu_vm
    from jaxnets.launch.gcloud import Node

    values = vars(given)
    dry = given.dry_run and given.commit is None
    return tpu_vm.check(
        tpu_vm.Job(
            Node(**{name: values[name] for name in Node._fields}),
            tuple(given.program),
            _DRY if dry else code.commit_of(Path(), given.commit),
            install=tuple(given.install),
            local=given.allow_local_runs,
            retries=given.retries,
            keep=given.keep,
            within=(86400.0 if given.queued else 3600.0) if given.ready_within is None else given.ready_within,
            poll=given.poll,
        )
    )


def _run(given: argparse.Namespace) -> int:
    from jaxnets.launch import attended, tpu_vm

    job = _job(given)
    if not given.dry_run:
        return attended.launch(job, given.launch_dir, Path())
    for words in tpu_vm.commands(job, tpu_vm.identity(job)):
        print(shlex.join(words))
    return 0


def _status(launch: Record) -> int:
    from jaxnets.launch import lease, tpu_vm

    node = tpu_vm.node_of(launch)
    found = lease.state(node)
    print(f"{launch.name} ({node.accelerator} in {node.zone}) is {found or 'gone'}", flush=True)
    return tpu_vm.on_workers(launch, "status") if found == lease.READY else 0


def _logs(launch: Record) -> int:
    from jaxnets.launch import tpu_vm

    try:
        return tpu_vm.on_workers(launch, "logs")
    except KeyboardInterrupt:
        return 130


def _stop(launch: Record) -> int:
    from jaxnets.launch import tpu_vm

    tpu_vm.stop(launch)
    return 0


PLACE = Place("tpu-vm", "a run on a Cloud TPU VM (gcloud)", _options, _run, Verbs(_status, _logs, _stop))
