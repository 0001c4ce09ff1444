"""What a command is, the parser of all of them, and the settings `--a.b.c VALUE` that argparse does not see."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from jaxnets import __version__
from jaxnets.errors import UsageError
from jaxnets.remote import is_url

Settings = list[tuple[str, str]]  # dotted path of the config and its value, as typed


class Parser(argparse.ArgumentParser):
    """Keeps the options that it was given by name, and raises in place of printing and ending."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.options: set[str] = set()
        super().__init__(*args, **settings)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        self.options |= {name for name in names if name.startswith("--")}
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


class Command(NamedTuple):
    """One command: its words in the help, its options, and what runs it and gives the exit code."""

    name: str
    words: str  # for `jaxnets --help`, and with a capital for its own
    examples: tuple[str, ...]  # each is run by a test
    options: Callable[[Parser], None]
    run: Callable[[argparse.Namespace, Settings], int]
    notes: str = ""  # under the examples
    takes_settings: bool = False  # whether it reads a config, whose values can be set


def parser(commands: Iterable[Command]) -> tuple[Parser, dict[str, Parser]]:
    """The parser of all commands, and each command's own by name."""
    whole = Parser(prog="jaxnets", description="Train, test and use models on JAX.", allow_abbrev=False)
    whole.add_argument("--version", action="version", version=f"jaxnets {__version__}")
    parsers = whole.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for command in commands:
        examples = "\n".join(f"example: {example}" for example in command.examples)
        own = parsers.add_parser(
            command.name,
            help=command.words,
            description=command.words[0].upper() + command.words[1:] + ".",
            epilog="\n\n".join(filter(None, (examples, command.notes))),
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.options(own)
    return whole, parsers.choices


def split_settings(words: list[str], known: set[str]) -> tuple[list[str], Settings]:
    """(what argparse reads, the settings `--a.b.c VALUE` and `--a.b.c=VALUE` as pairs); `known` are its own options.

    Settings are taken out first, wherever they stand: argparse would hand their values to the positional arguments.
    """
    left, pairs = [], []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or word == "--" or f"--{name}" in known:
            left.append(word)
            continue
        if not equals:
            value = next(rest, "--")
            if value.startswith("--"):
                raise UsageError(
                    f"--{name} needs a value, as in --{name} VALUE; see jaxnets config CONFIG for what there is"
                )
        pairs.append((name, value))
    return left, pairs


def experiment(path: str | Path, settings: Settings) -> Any:
    """The checked experiment of a config file with settings."""
    from jaxnets import config

    found = config.assign(config.load(path), settings)
    config.check(found)
    return found


def place(text: str) -> Path | str:
    """A run as typed: a URL stays a word, anything else is a path.

    >>> place("runs/x"), place("gs://bucket/runs/x")
    (PosixPath('runs/x'), 'gs://bucket/runs/x')
    """
    return text if is_url(text) else Path(text)
