"""What a place that starts processes is to the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

from jaxnets.cli.command import Parser
from jaxnets.launch.record import Record


class Verbs(NamedTuple):
    """What can be done with a launch that goes on without this terminal; each gives the exit code."""

    status: Callable[[Record], int]
    logs: Callable[[Record], int]
    stop: Callable[[Record], int]


class Place(NamedTuple):
    """One place that can start processes; `given.program` holds the words after --."""

    name: str
    words: str
    options: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]
    verbs: Verbs | None = None  # None: the launch ends with the command
