"""`jaxnets launch ssh`."""

from __future__ import annotations

import argparse
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnets.cli.command import Parser
from jaxnets.cli.launch.place import Place
from jaxnets.errors import UsageError
from jaxnets.launch import record

if TYPE_CHECKING:
    from jaxnets.launch.ssh import Job


def _options(ssh: Parser) -> None:
    hosts = ssh.add_mutually_exclusive_group(required=True)
    hosts.add_argument("--hosts", metavar="A,B,…", help="[USER@]HOST[:PORT], the first has process 0")
    hosts.add_argument("--hosts-file", type=Path, metavar="FILE", help="one on each line")
    where = ssh.add_mutually_exclusive_group(required=True)
    where.add_argument("--name", help="the code is copied to launches/NAME in the home of each host, and installed")
    where.add_argument("--folder", help="one that every host has, with the code in it: nothing is copied")
    ssh.add_argument("--commit", help="of the code that is copied (default: HEAD, where nothing differs from it)")
    ssh.add_argument("--install", action="append", default=[], metavar="PACKAGE", help="beside the code: jax[cuda12]")
    ssh.add_argument("--python", help="of the hosts; nothing is installed then")
    ssh.add_argument("--coordinator", metavar="HOST:PORT", help="of the first host, as the others see it")
    ssh.add_argument("--devices-per-process", type=int, metavar="D", help="GPUs of a host that it uses (default: all)")
    ssh.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="may be given many times")
    ssh.add_argument("--dry-run", action="store_true", help="print what would run, and run nothing")


def _job(given: argparse.Namespace) -> Job:
    from jaxnets import distributed
    from jaxnets.launch import code, membership, ssh

    hosts = ssh.hosts(given.hosts if given.hosts is not None else _read(given.hosts_file))
    if given.coordinator is not None:
        distributed.given(given.coordinator, len(hosts), 0)
    copied = given.name is not None
    if unused := [name for name in ("commit", "install") if getattr(given, name) and not copied]:
        raise UsageError(f"--{unused[0]} says nothing of --folder {given.folder}; give it with --name")
    return ssh.Job(
        hosts,
        tuple(given.program),
        f"launches/{record.check_name(given.name)}" if copied else given.folder,
        commit=code.commit_of(Path(), given.commit) if copied else None,
        install=tuple(given.install),
        python=given.python,
        coordinator=given.coordinator,
        devices_per_process=given.devices_per_process,
        variables=membership.variables(given.env),
    )


def _read(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"--hosts-file {path} is no file; give one with a host on each line")
    return path.read_text()


def _run(given: argparse.Namespace) -> int:
    from jaxnets.launch import code, ssh

    job = _job(given)
    if given.dry_run:
        planned = ssh.commands(job)
        copies = [f"{shlex.join(command.words)} < code.tar.gz" for command in ssh.preparations(job)]
        print(*copies, *(shlex.join(command.words) for command in planned), sep="\n")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "code.tar.gz"
        if job.commit is not None:
            code.archive(Path(), job.commit, archive)
        return ssh.launch(job, archive)


PLACE = Place("ssh", "a process on each of a list of hosts", _options, _run)
