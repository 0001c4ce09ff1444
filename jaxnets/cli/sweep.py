"""The command that searches: sweep."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxnets import distributed
from jaxnets.cli import processes, workers
from jaxnets.cli.command import Command, Parser, Settings
from jaxnets.errors import UsageError

_SEARCHERS = "random, quasi, grid, tpe, gp, cmaes or nsga2"


def _sweep_options(sweep: Parser) -> None:
    sweep.add_argument(
        "config", help="a Python file that ends in experiment = Experiment(...), and may have a space = {…}"
    )
    sweep.add_argument(
        "--over",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH=RANGE",
        help="what varies: optim.lr=log(1e-4,1e-1) model.width=choice(64,128) seed=range(5) "
        '"optim.momentum=uniform(0,0.99) if optim=sgd"',
    )
    sweep.add_argument(
        "--trials", required=True, metavar="N", help="how many there are to be; +N adds to those asked for before"
    )
    sweep.add_argument("--name", help="of the sweep (default: that of the config)")
    sweep.add_argument("--sweep-dir", type=Path, metavar="DIR", help="the sweep's folder (default: sweeps/NAME)")
    sweep.add_argument("--searcher", default="tpe", metavar="NAME", help=f"{_SEARCHERS} (default: tpe)")
    sweep.add_argument(
        "--objective",
        nargs="+",
        default=["valid.loss"],
        metavar="FIGURE",
        help="what is to be good: valid.loss, test.accuracy …; several for a Pareto front (default: valid.loss)",
    )
    sweep.add_argument(
        "--stopping", default="none", metavar="RULE", help="which trials end early: none, asha, halving, median or pbt"
    )
    sweep.add_argument("--eta", type=int, default=3, metavar="N", help="asha, halving: one of N goes on (default: 3)")
    sweep.add_argument("--least", type=int, metavar="STEPS", help="no trial ends before (default: a 27th of a trial)")
    sweep.add_argument(
        "--form", default="auto", choices=("auto", "lanes", "queue"), help="how trials of one program run"
    )
    sweep.add_argument("--lanes", type=int, metavar="N", help="trials at once, at most (default: what fits, up to 256)")
    sweep.add_argument(
        "--storage", metavar="URL", help="sqlite:///…, postgresql://… or grpc://… (default: a file in DIR)"
    )
    sweep.add_argument("--sweep-seed", type=int, default=0, metavar="S", help="of the searcher (default: 0)")
    sweep.add_argument(
        "--allow",
        nargs="+",
        default=[],
        metavar="WHAT",
        help="what may differ from the sweep that is there: space, objectives, fixed (config, data, rule)",
    )
    sweep.add_argument("--quiet", action="store_true", help="print the result alone")
    sweep.add_argument(
        "--workers", type=int, metavar="N", help="processes that share the sweep, each with its part of the machine"
    )
    sweep.add_argument("--on", choices=("ray",), help="where the workers run (default: on this machine)")
    sweep.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster (default: what Ray finds)")
    sweep.add_argument("--cpus", type=float, metavar="C", help="of each worker, on Ray (default: 1)")
    sweep.add_argument("--gpus", type=float, metavar="G", help="of each worker, on Ray (default: 0)")
    sweep.add_argument("--retries", type=int, default=3, metavar="N", help="of a worker that dies, on Ray (default: 3)")
    sweep.add_argument(
        "--no-wait",
        action="store_true",
        help="end once no trial is free; else a worker stays until all are done, to take those of one that dies",
    )
    processes.options(sweep, lost="nobody waits for it")
    sweep.add_argument("--one-of", type=int, metavar="N", help=argparse.SUPPRESS)  # this is a worker of so many


def _sweep(given: argparse.Namespace, settings: Settings) -> int:
    place = processes.given(given)
    if given.workers is not None or given.on is not None:
        if place is not None:
            option = "--on ray" if given.on else f"--workers {given.workers}"
            raise UsageError(
                f"{option} is not allowed in one of several processes: each is a worker already, with all its "
                "devices; leave it out, or give it in a command of one process"
            )
        return _workers(given, settings)
    if given.one_of is not None:  # told of by its storage alone
        return _worker(given, settings)
    with distributed.processes(place, heartbeat=given.heartbeat, apart=True):
        return _worker(given, settings)


def _worker(given: argparse.Namespace, settings: Settings) -> int:
    """The sweep, or this process' part of it."""
    from jaxnets import compilation
    from jaxnets.sweep import sweep
    from jaxnets.sweep.live import Live

    experiment, space, how = distributed.all_or_none(lambda: _asked(given, settings))
    with compilation.cache(), Live(quiet=given.quiet or not distributed.first()) as live:
        result = sweep(
            experiment,
            space,
            **how,
            workers=given.one_of or workers.expected(os.environ),
            wait=not given.no_wait,
            say=live.say,
            show=live.show,
            source=str(given.config),
        )
    if given.one_of is None and distributed.first():
        _tell(result.folder, result.figures)
    return 0


def _asked(given: argparse.Namespace, settings: Settings) -> tuple[Any, Any, dict[str, Any]]:
    """(experiment, space, the rest of what says which sweep it is)."""
    from jaxnets import config
    from jaxnets.sweep.space import of_file

    how = {
        "name": given.name or Path(given.config).stem,
        "folder": given.sweep_dir,
        "trials": _count(given.trials),
        "objectives": given.objective,
        "searcher": given.searcher,
        "stopping": given.stopping,
        "eta": given.eta,
        "least": given.least,
        "form": given.form,
        "lanes": given.lanes,
        "storage": given.storage,
        "seed": given.sweep_seed,
        "allow": given.allow,
    }
    return config.assign(config.load(given.config), settings), of_file(given.config) | _over(given.over), how


def _over(words: Sequence[str]) -> dict[str, Any]:
    """{path: dimension} of `--over`."""
    from jaxnets.errors import UsageError
    from jaxnets.sweep.space import parse

    space: dict[str, Any] = {}
    for word in words:
        path, dimension = parse(word)
        if path in space:
            raise UsageError(f"--over {path} is there twice; give one range for it")
        space[path] = dimension
    return space


def _workers(given: argparse.Namespace, settings: Settings) -> int:
    """Checks the sweep here, and starts processes that train it."""
    workers.check(given)
    import jax

    jax.config.update("jax_platforms", "cpu")  # this process computes nothing, and leaves accelerators to the workers
    from jaxnets.files import read_json
    from jaxnets.sweep.live import Live
    from jaxnets.sweep.opening import prepare
    from jaxnets.sweep.record import SWEEP

    experiment, space, how = _asked(given, settings)
    folder = given.sweep_dir or Path("sweeps") / how["name"]
    with Live(quiet=given.quiet) as live:
        trials = prepare(experiment, space, **how, say=live.say)
        words = workers.words(given, settings, trials=trials)
        code = workers.run(given, words, say=live.say, look=workers.Look(folder / SWEEP, live.show))
    if code:
        return code
    figures = read_json(folder / SWEEP)
    _tell(folder, figures)
    left = sum(one["state"] in ("waiting", "running") for one in figures["trials"])
    if left:  # of a worker that died, and nobody waited for it
        print(f"left         {left} trials are not done; the same command continues")
    return int(left > 0)


def _count(text: str) -> int | str:
    """`--trials`: a number, or +N."""
    if not text.removeprefix("+").isdecimal() or not int(text):
        raise UsageError(f"--trials {text} is not allowed; give a whole number of at least 1, or +N for N more")
    return text if text.startswith("+") else int(text)


def _tell(folder: Path, figures: dict[str, Any]) -> None:
    """The result, as a terminal shows it."""
    from jaxnets.sweep.space import as_text

    states = [one["state"] for one in figures["trials"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    seconds = figures["seconds"]
    done = sum(state in ("complete", "pruned", "failed") for state in states)
    print(f"\n{len(states)} trials ({counts}) in {seconds['wall']:.1f} s: {3600 * done / seconds['wall']:,.0f} an hour")
    parts = sorted(((value, name) for name, value in seconds.items() if name != "wall"), reverse=True)
    print("seconds      " + ", ".join(f"{name} {value:.1f}" for value, name in parts))
    best, objectives = figures["best"], figures["objectives"]
    if best is None:
        print("best         no trial was completed")
    else:
        values = ", ".join(f"{o['figure']} {v:.6g}" for o, v in zip(objectives, best["values"], strict=True))
        chosen = "  ".join(f"{path} {as_text(value)}" for path, value in best["settings"].items())
        print(f"best         trial {best['number']}: {values}\n             {chosen}")
    if len(objectives) > 1:
        print(f"front        {len(figures['front'])} trials: {', '.join(map(str, figures['front'][:12]))}")
    word = shlex.quote(str(folder))
    print(f"sweep        {folder / 'sweep.json'}\nnext         jaxnets sweep-report {word}")
    print(f"             jaxnets train --from-sweep {word} --best")


COMMANDS = (
    Command(
        "sweep",
        "try many values of a config's settings, in few compiled programs",
        ('jaxnets sweep configs/digits_mlp.py --over "optim.lr=log(1e-4,1e-1)" "seed=range(3)" --trials 8 --name few',),
        _sweep_options,
        _sweep,
        notes=(
            "Values that stay the same are set as in train: --optim.lr 0.01 --loop.steps 500\n\n"
            "The same command continues a sweep that was stopped; started again beside itself, both share the work.\n"
            "--workers 4 starts four at once; on a cluster: jaxnets launch slurm --array 0-3 … -- sweep …"
        ),
        takes_settings=True,
    ),
)
