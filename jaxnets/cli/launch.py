"""`jaxnets launch PLACE … -- PROGRAM …`: a command or a script as several processes."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxnets.cli.command import Command, Parser, Settings


class Place(NamedTuple):
    """One place that can start processes; `given.program` holds the words after --."""

    name: str
    words: str
    options: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]


def _local_options(local: Parser) -> None:
    local.add_argument("--processes", type=int, required=True, metavar="N")
    local.add_argument(
        "--devices-per-process", type=int, metavar="D", help="GPUs of each process, or virtual devices of a CPU"
    )
    local.add_argument("--dry-run", action="store_true", help="print what would run, and run nothing")


def _local(given: argparse.Namespace) -> int:
    from jaxnets.launch import local

    sizes: dict[str, Any] = {"processes": given.processes, "devices_per_process": given.devices_per_process}
    if not given.dry_run:
        return local.launch(given.program, **sizes)
    for command in local.commands(given.program, **sizes, port=local.free_port()):
        variables = [f"{name}={shlex.quote(value)}" for name, value in command.variables.items()]
        print(*variables, shlex.join(command.words))
    return 0


PLACES = (Place("local", "processes on this machine", _local_options, _local),)


def _launch_options(launch: Parser) -> None:
    places = launch.add_subparsers(dest="place", required=True, metavar="PLACE", parser_class=Parser)
    for place in PLACES:
        own = places.add_parser(place.name, help=place.words, description=f"Start {place.words}.", allow_abbrev=False)
        place.options(own)
        own.add_argument("program", nargs="+", metavar="-- PROGRAM", help="train CONFIG …, or a script and its words")


def _launch(given: argparse.Namespace, settings: Settings) -> int:
    return {place.name: place for place in PLACES}[given.place].run(given)


COMMANDS = (
    Command(
        "launch",
        "start a command or a script as several processes",
        (
            "jaxnets launch local --processes 2 -- train configs/digits_mlp.py --run-dir runs/two --loop.epochs 1",
            "jaxnets launch local --processes 2 --dry-run -- experiments/loop_benchmark.py",
        ),
        _launch_options,
        _launch,
    ),
)
