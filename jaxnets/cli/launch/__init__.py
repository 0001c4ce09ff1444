"""`jaxnets launch PLACE … -- PROGRAM …`: a command or a script on many devices; one file for a place.

`jaxnets launch status|logs|stop NAME` is for the places whose launches go on without this terminal.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from jaxnets.cli.command import Command, Parser, Settings
from jaxnets.cli.launch import gke, local, sky, slurm, ssh, tpu_vm
from jaxnets.errors import UsageError
from jaxnets.launch import record

PLACES = {place.name: place for place in (local.PLACE, gke.PLACE, sky.PLACE, slurm.PLACE, ssh.PLACE, tpu_vm.PLACE)}
_VERBS = {
    "status": "say how a launch stands",
    "logs": "print what a launch has said, and follow it",
    "stop": "end a launch, and delete what costs money",
}


def _options(launch: Parser) -> None:
    places = launch.add_subparsers(dest="place", required=True, metavar="PLACE", parser_class=Parser)
    for place in PLACES.values():
        own = places.add_parser(place.name, help=place.words, description=f"Start {place.words}.", allow_abbrev=False)
        place.options(own)
        own.add_argument("program", nargs="+", metavar="-- PROGRAM", help="train CONFIG …, or a script and its words")
        own.set_defaults(act=place.run)
    for verb, words in _VERBS.items():
        own = places.add_parser(verb, help=words, description=f"{words.capitalize()}.", allow_abbrev=False)
        own.add_argument("name", help="what the launch was called by --name")
        own.add_argument("--launch-dir", type=Path, default=record.FOLDER, help="where launches are kept")
        own.set_defaults(act=partial(_verb, verb))


def _verb(verb: str, given: argparse.Namespace) -> int:
    found = record.load(given.name, given.launch_dir)
    place = PLACES.get(found.place)
    if place is None or place.verbs is None:
        raise UsageError(f"{given.name} was launched by {found.place}, which has no {verb}; use its own tools")
    return getattr(place.verbs, verb)(found)


def _launch(given: argparse.Namespace, settings: Settings) -> int:
    return given.act(given)


COMMANDS = (
    Command(
        "launch",
        "start a command or a script as several processes",
        (
            "jaxnets launch local --processes 2 -- train configs/digits_mlp.py --run-dir runs/two --loop.epochs 1",
            "jaxnets launch local --processes 2 --dry-run -- experiments/loop_benchmark.py",
            "jaxnets launch slurm --name digits --time 30 --dry-run -- train configs/digits_mlp.py",
            "jaxnets launch tpu-vm --name vit --zone us-west4-a --accelerator v5litepod-16 --spot --queued --dry-run "
            "-- train configs/digits_mlp.py --run-dir gs://bucket/vit",
            "jaxnets launch gke --name vit --image jaxnets:1 --tpu v6e:4x4 --dry-run -- train configs/digits_mlp.py",
            "jaxnets launch sky --name vit --accelerators H100:8 --spot --dry-run -- train configs/digits_mlp.py",
            "jaxnets launch ssh --hosts node1,node2 --folder /shared/code --dry-run -- train configs/digits_mlp.py",
        ),
        _options,
        _launch,
    ),
)
