"""The command line: parsing only; nothing heavy is imported until a command runs. One file for a group of commands.

jaxnets init PATH [--target COLUMN] [--out FILE] [--force]
jaxnets train CONFIG [--run-dir DIR] [--allow PATH …] [--tensorboard] [--profile A:B] [--a.b.c VALUE …]
jaxnets train CONFIG --seeds N | --folds N | --splits N …
jaxnets train --from-sweep SWEEP --best | --trial N [--run-dir DIR] [--a.b.c VALUE …]
jaxnets sweep CONFIG --over PATH=RANGE … --trials N [--name NAME] [--workers N [--on ray]] … [--a.b.c VALUE …]
jaxnets lr-find CONFIG [--low 1e-7] [--high 10] [--steps 100] [--out FILE] [--a.b.c VALUE …]
jaxnets batch-find CONFIG [--memory 16GiB] [--largest N] [--a.b.c VALUE …]
jaxnets compile CONFIG [--topology v5e:16x16] [--batch auto] [--json] [--a.b.c VALUE …]
jaxnets watch RUN [--once]
jaxnets test RUN [--split test]
jaxnets predict RUN FILE [--out FILE]
jaxnets generate RUN --prompt TEXT [--tokens N] [--temperature T] [--top-k K] [--top-p P] [--samples N] [--seed S]
jaxnets report RUN [RUN …] [--out FILE.html]
jaxnets config CONFIG|RUN [RUN]
jaxnets data SOURCE|CONFIG [--target COLUMN] [--html FILE] [--json] [--a.b.c VALUE …]
jaxnets models [NAME|CONFIG] [--input H,W,C] [--outputs N] [--json] [--a.b.c VALUE …]
jaxnets sweep-report NAME|FOLDER [--out FILE.html] [--dollars-per-hour PRICE]
jaxnets doctor [--json]
jaxnets launch local --processes N [--devices-per-process D] [--dry-run] -- train|sweep CONFIG … | SCRIPT.py …
jaxnets launch slurm --name NAME [--nodes N] [--gpus-per-node G] [--time LIMIT] … [--wait] [--dry-run] -- train CONFIG …
jaxnets launch slurm --name NAME --array 0-7 … -- sweep CONFIG …
jaxnets launch gke --name NAME --image IMAGE --tpu CHIP:TOPOLOGY | --gpus-per-node [TYPE:]G … [--dry-run] -- PROGRAM
jaxnets launch sky --name NAME --accelerators NAME:COUNT [--nodes N] [--spot] … [--dry-run] -- PROGRAM
jaxnets launch ssh --hosts A,B --name NAME | --folder PATH … [--dry-run] -- PROGRAM
jaxnets launch tpu-vm --name NAME --zone ZONE --accelerator TYPE [--spot] [--queued] … [--dry-run] -- PROGRAM
"""

from __future__ import annotations

import os
import sys

from jaxnets.cli import init, launch, look, sweep, train, use
from jaxnets.cli.command import parser, split_settings
from jaxnets.errors import JaxnetsError
from jaxnets.memory import keep_pages

COMMANDS = {command.name: command for group in (init, train, sweep, use, look, launch) for command in group.COMMANDS}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code. What went wrong is one message on stderr, never a trace."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        whole, parsers = parser(COMMANDS.values())
        settings = []
        if words and words[0] in COMMANDS and COMMANDS[words[0]].takes_settings:
            words, settings = split_settings(words, parsers[words[0]].options)
        given = whole.parse_args(words)
        keep_pages()
        return COMMANDS[given.command].run(given, settings)
    except JaxnetsError as error:
        print(f"jaxnets: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        print(f"jaxnets: {error.strerror or error}{place}; nothing was lost, the same command tries again",
              file=sys.stderr)  # fmt: skip
        return 1
    except KeyboardInterrupt:
        print("jaxnets: interrupted", file=sys.stderr)
        return 130
