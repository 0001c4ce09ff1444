"""`jaxnets launch local`."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from jaxnets.cli.command import Parser
from jaxnets.cli.launch.place import Place


def _options(local: Parser) -> None:
    local.add_argument("--processes", type=int, required=True, metavar="N")
    local.add_argument(
        "--devices-per-process", type=int, metavar="D", help="GPUs of each process, or virtual devices of a CPU"
    )
    local.add_argument("--dry-run", action="store_true", help="print what would run, and run nothing")


def _run(given: argparse.Namespace) -> int:
    from jaxnets.launch import local

    sizes: dict[str, Any] = {"processes": given.processes, "devices_per_process": given.devices_per_process}
    if not given.dry_run:
        return local.launch(given.program, **sizes)
    for command in local.commands(given.program, **sizes, port=local.free_port()):
        variables = [f"{name}={shlex.quote(value)}" for name, value in command.variables.items()]
        print(*variables, shlex.join(command.words))
    return 0


PLACE = Place("local", "processes on this machine", _options, _run)
