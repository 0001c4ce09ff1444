"""How a command is told that its process is one of several."""

from __future__ import annotations

import argparse

from jaxnets import distributed
from jaxnets.cli.command import Parser

NAMES = ("coordinator", "processes", "index", "heartbeat")


def options(parser: Parser, *, lost: str) -> None:
    """lost: what happens to the others when a process is"""
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of several processes: where process 0 is")
    parser.add_argument("--processes", type=int, metavar="N", help="of several processes: how many there are")
    parser.add_argument("--index", type=int, metavar="I", help="of several processes: which one this is, from 0")
    parser.add_argument(
        "--heartbeat",
        type=float,
        default=distributed.HEARTBEAT,
        metavar="SECONDS",
        help=f"after which a process without a sign of life is lost, and {lost} (default: {distributed.HEARTBEAT:g})",
    )


def given(given: argparse.Namespace) -> distributed.Place | None:
    """The place that these options give."""
    return distributed.given(given.coordinator, given.processes, given.index)
