"""The command that begins: init."""

from __future__ import annotations

import argparse
from pathlib import Path

from jaxnets.cli.command import Command, Parser, Settings


def _init_options(init: Parser) -> None:
    init.add_argument("path", help="a table, a text, parquet files with pictures, or a folder with one of them")
    init.add_argument("--target", metavar="COLUMN", help="of a table: what is to be learned")
    init.add_argument("--out", type=Path, metavar="FILE.py", help="the config (default: configs/NAME.py)")
    init.add_argument("--force", action="store_true", help="write over a config that is there")


def _init(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets import draft

    out, drawn = draft.write(given.path, target=given.target, out=given.out, force=given.force)
    print(drawn.title)
    for finding in drawn.findings:
        print(finding.line())
    print(f"config       {out}\nnext         jaxnets train {out}")
    return 0


COMMANDS = (
    Command(
        "init",
        "look at a file or folder and write a config that trains at once",
        ("jaxnets init flowers.csv --target species",),
        _init_options,
        _init,
        notes="The config is Python with the reason for every choice beside it: read it, change it, keep it.",
    ),
)
