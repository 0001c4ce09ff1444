"""`jaxnets launch sky`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from jaxnets.cli.command import Parser
from jaxnets.cli.launch.place import Place, Verbs
from jaxnets.errors import UsageError
from jaxnets.launch import record
from jaxnets.launch.record import Record


def _options(sky: Parser) -> None:
    sky.add_argument("--name", required=True, help="of the launch and of the managed job")
    sky.add_argument("--accelerators", required=True, metavar="NAME:COUNT", help="of each node: H100:8 or tpu-v6e-8")
    sky.add_argument("--nodes", type=int, default=1, metavar="N", help="(default: 1)")
    sky.add_argument("--spot", action="store_true", help="machines that can be taken away, and cost less")
    sky.add_argument("--retries", type=int, default=3, metavar="N", help="restarts at most after an error (default: 3)")
    sky.add_argument("--infra", metavar="CLOUD[/REGION[/ZONE]]", help="(default: the cheapest that has them)")
    sky.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="may be given many times")
    sky.add_argument("--setup", type=Path, metavar="FILE", help="shell commands in place of installing the code")
    sky.add_argument("--python", help="that runs the program (default: the one that the code is installed for)")
    sky.add_argument("--commit", help="of the code that is copied (default: HEAD, where nothing differs from it)")
    sky.add_argument("--launch-dir", type=Path, default=record.FOLDER, help="where launches are kept")
    sky.add_argument("--dry-run", action="store_true", help="print the task and how it is submitted")


def _read(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"--setup {path} is no file; give one of shell commands")
    return path.read_text()


def _run(given: argparse.Namespace) -> int:
    from jaxnets.launch import code, manifest, membership, sky

    record.check_name(given.name)
    workdir = (given.launch_dir / given.name).resolve()
    job = sky.Job(
        given.name,
        tuple(given.program),
        given.accelerators,
        str(workdir),
        num_nodes=given.nodes,
        use_spot=given.spot,
        retries=given.retries,
        infra=given.infra,
        setup=None if given.setup is None else _read(given.setup),
        python=sky.PYTHON if given.python is None else given.python,
        variables=membership.variables(given.env),
    )
    if given.dry_run:
        path = given.launch_dir / f"{given.name}.yaml"
        print(f"{manifest.to_yaml(sky.task(job))}# submitted by: {shlex.join(sky.submission(job.name, path))}")
        return 0
    launch = sky.submit(job, commit=code.commit_of(Path(), given.commit), folder=given.launch_dir)
    print(f"{launch.name} is submitted; next: jaxnets launch logs {launch.name}")
    return 0


def _status(launch: Record) -> int:
    from jaxnets.launch import sky

    return sky.status(launch)


def _logs(launch: Record) -> int:
    from jaxnets.launch import sky

    return sky.logs(launch)


def _stop(launch: Record) -> int:
    from jaxnets.launch import sky

    return sky.stop(launch)


PLACE = Place("sky", "a managed job of SkyPilot, where it is cheapest", _options, _run, Verbs(_status, _logs, _stop))
