"""Commands around training: train, lr-find, batch-find, compile, watch."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from jaxnets import distributed
from jaxnets.cli import processes
from jaxnets.cli.apart import apart
from jaxnets.cli.command import Command, Parser, Settings, experiment, place
from jaxnets.errors import UsageError
from jaxnets.remote import is_url

_REPEATS = ("seeds", "folds", "splits")


def _train_options(train: Parser) -> None:
    train.add_argument("config", nargs="?", help="a Python file that ends in experiment = Experiment(...)")
    train.add_argument(
        "--from-sweep", metavar="SWEEP", help="in place of a config: a trial of this sweep, by name or folder"
    )
    train.add_argument("--best", action="store_true", help="of the sweep: its best trial")
    train.add_argument("--trial", type=int, metavar="N", help="of the sweep: this trial")
    train.add_argument(
        "--run-dir",
        type=place,
        help="the run's folder, or a URL (default: runs/<name of the config>)",
    )
    train.add_argument(
        "--allow",
        nargs="+",
        default=[],
        metavar="PATH",
        help="config paths that may differ from the run's when it continues",
    )
    train.add_argument("--quiet", action="store_true", help="print the result alone")
    train.add_argument(
        "--tensorboard", action="store_true", help="the log as TensorBoard files in RUN/tb as well (extra tensorboard)"
    )
    train.add_argument(
        "--profile", metavar="A:B", help="write a trace of steps A to B, which opens in ui.perfetto.dev, to RUN/profile"
    )
    train.add_argument("--limit-steps", metavar="N", help="end after N steps, with the schedule of the whole run")
    train.add_argument(
        "--overfit-batch", action="store_true", help="every step sees the first batch, which must be learnt by heart"
    )
    train.add_argument(
        "--dry-run", action="store_true", help="show data, shapes, memory and schedule, and write nothing"
    )
    train.add_argument("--seeds", type=int, metavar="N", help="N runs, each with another seed, and their mean")
    train.add_argument(
        "--form",
        default="auto",
        choices=("auto", "lanes", "queue"),
        help="of --seeds: all at once, one after the other, or the faster one (default: auto)",
    )
    train.add_argument("--folds", type=int, metavar="N", help="N runs of a cross-validation: each row is tested once")
    train.add_argument("--splits", type=int, metavar="N", help="N runs, each on other random splits")
    processes.options(train, lost="all end")


def _train(given: argparse.Namespace, settings: Settings) -> int:
    place = processes.given(given)
    if given.dry_run:
        return _train_here(given, settings)
    with distributed.processes(place, heartbeat=given.heartbeat):
        return _train_here(given, settings)


def _train_here(given: argparse.Namespace, settings: Settings) -> int:
    """`train` in this process, which may be one of several."""
    settings += [("loop.limit_steps", given.limit_steps)] if given.limit_steps is not None else []
    settings += [("loop.overfit_batch", "true")] if given.overfit_batch else []
    of_config = _given(given, settings)
    repeats: dict[Any, int] = {by: count for by in _REPEATS if (count := getattr(given, by)) is not None}
    if repeats and distributed.count() > 1:
        raise UsageError(
            f"--{next(iter(repeats))} over {distributed.count()} processes is not supported; "
            "start one process, or launch the runs one by one"
        )
    if repeats:
        return _series(given, of_config, repeats)
    if given.dry_run:
        from jaxnets.rehearsal import rehearse

        print(rehearse(of_config))
        return 0
    run_dir = given.run_dir or Path("runs") / Path(given.config).stem
    from jaxnets import compilation, profiling
    from jaxnets.progress import Progress
    from jaxnets.run import run
    from jaxnets.tensorboard import tensorboard

    with compilation.cache():
        result = run(
            of_config,
            run_dir,
            allow=given.allow,
            progress=Progress(quiet=given.quiet or not distributed.first()),
            sinks=lambda folder: [tensorboard(folder / "tb")] if given.tensorboard else [],
            profile=None if given.profile is None else profiling.window(given.profile),
        )
    if not distributed.first():
        return 0
    figures = result.figures
    shown = "  ".join(f"{name} {value:.4f}" for name, value in figures["test"].items())
    print(f"\ntest ({figures['test_examples']} examples): {shown}")
    print(
        f"{figures['steps']} steps in {figures['seconds']:.1f} s; tested the weights of step {figures['tested_step']}"
    )
    print(f"data         {figures['data']['source']}, sha256 {figures['data']['sha256'][:16]}…")
    print(f"run folder   {run_dir}\nreport       {run_dir}/report.html\nnext         jaxnets test {run_dir}")
    print(f"             jaxnets predict {run_dir} FILE\n             jaxnets config {run_dir}")
    return 0


def _given(given: argparse.Namespace, settings: Settings) -> Any:
    """The experiment of a config, or of a trial of a sweep, with settings; `given.config` names it from here on."""
    if (given.config is None) == (given.from_sweep is None):
        raise UsageError(
            "give a config, or --from-sweep SWEEP with --best or --trial N: one of the two; see jaxnets train --help"
        )
    if given.from_sweep is None:
        if given.best or given.trial is not None:
            raise UsageError("--best and --trial choose from a sweep; give it with --from-sweep SWEEP")
        return experiment(given.config, settings)
    if given.best == (given.trial is not None):
        raise UsageError(f"--from-sweep {given.from_sweep} needs one of --best and --trial N")
    from jaxnets import config
    from jaxnets.sweep.promotion import promoted

    found, words = promoted(given.from_sweep, trial=given.trial)
    if not given.quiet:
        print(words)
    found = config.assign(found, settings)
    config.check(found)
    given.config = f"{Path(given.from_sweep).name}_{'best' if given.best else given.trial}"
    return found


def _series(given: argparse.Namespace, of_config: Any, repeats: dict[Any, int]) -> int:
    """`train` with one of --seeds, --folds and --splits: a folder of runs."""
    if len(repeats) > 1:
        words = " and ".join(f"--{by} {count}" for by, count in repeats.items())
        raise UsageError(f"{words} cannot go together; give one of them")
    if given.profile is not None:
        raise UsageError(f"--profile {given.profile} is for one run; give it without --{next(iter(repeats))}")
    by, count = next(iter(repeats.items()))
    from jaxnets import compilation, series
    from jaxnets.progress import Progress
    from jaxnets.tensorboard import tensorboard

    if given.dry_run:
        from jaxnets.rehearsal import rehearse

        name, first = next(iter(series.members(of_config, by=by, count=count).items()))
        print(f"{count} runs; this is the first of them, {name}\n{rehearse(first)}")
        return 0
    folder = given.run_dir or Path("runs") / f"{Path(given.config).stem}_{by}"
    if is_url(folder):
        raise UsageError(f"--{by} with --run-dir {folder} is not supported; train its runs one by one")
    with compilation.cache():
        figures = series.series(
            of_config,
            folder,
            by=by,
            count=count,
            allow=given.allow,
            progress=Progress(quiet=given.quiet),
            sinks=lambda run_dir: [tensorboard(run_dir / "tb")] if given.tensorboard else [],
            ahead=partial(_together, given) if by == "seeds" else lambda *_: None,
        ).figures
    print(f"\ntest figures over {count} {by}\n{series.text(figures)}")
    print(f"series       {folder / 'series.json'}\nreport       {folder / 'series.html'}")
    print(f"runs         {folder / figures['runs'][0]['name']} … {figures['runs'][-1]['name']}")
    return 0


def _together(given: argparse.Namespace, runs: dict[str, Any], folder: Path, signals: Any) -> None:
    """Seeds in lanes, where that is faster."""
    from jaxnets.sweep.seeds import train_together

    train_together(runs, folder, form=given.form, signals=signals, say=(lambda line: None) if given.quiet else print)


def _lr_find_options(find: Parser) -> None:
    find.add_argument("config")
    find.add_argument("--low", type=float, default=1e-7, help="the first rate (default: 1e-7)")
    find.add_argument("--high", type=float, default=10.0, help="the last rate (default: 10)")
    find.add_argument("--steps", type=int, default=100, help="one rate each (default: 100)")
    find.add_argument("--out", type=Path, help="an .html page with the loss over the rate")


def _lr_find(given: argparse.Namespace, settings: Settings) -> int:
    of_config = experiment(given.config, settings)
    from jaxnets import compilation, range_test

    with compilation.cache():
        range_test.show(of_config, low=given.low, high=given.high, steps=given.steps, out=given.out)
    return 0


def _batch_find_options(batch: Parser) -> None:
    batch.add_argument("config")
    batch.add_argument("--memory", metavar="SIZE", help="of one device (default: 0.9 of what is free)")
    batch.add_argument("--largest", type=int, metavar="N", help="examples at most (default: the train split)")


def _batch_find(given: argparse.Namespace, settings: Settings) -> int:
    of_config = experiment(given.config, settings)
    from jaxnets import batch_size, compilation

    limit = None if given.memory is None else batch_size.parse_bytes(given.memory)
    with compilation.cache():
        found = batch_size.batch_sizes(of_config, limit=limit, largest=given.largest)
    print(batch_size.text(found))
    return 0 if found.largest else 1


def _compile_options(compile: Parser) -> None:
    compile.add_argument("config")
    compile.add_argument("--topology", metavar="CHIP:SLICE", help="as in v5e:16x16 (default: the devices at hand)")
    compile.add_argument("--batch", type=_batch, metavar="N|auto", help="examples a step; auto = the most that fit")
    compile.add_argument("--json", action="store_true", help="as JSON")


def _batch(text: str) -> int | str:
    if text != "auto" and not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give auto, or a whole number of at least 1")
    return text if text == "auto" else int(text)


def _compile(given: argparse.Namespace, settings: Settings) -> int:
    def show() -> int:
        of_config = experiment(given.config, settings)
        from jaxnets import forecast

        fits = forecast.show(of_config, topology=given.topology, batch=given.batch, as_json=given.json)
        return 0 if fits else 1

    if given.topology is None:
        return show()
    advice = "its trace stands above; give another --topology, --batch or model, or another version of libtpu"
    return apart(show, what=f"libtpu, compiling for {given.topology},", advice=advice)


def _watch_options(watch: Parser) -> None:
    watch.add_argument("run", type=place)
    watch.add_argument("--once", action="store_true", help="print where it stands and end")


def _watch(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets import watch

    watch.watch(given.run, once=given.once)
    return 0


COMMANDS = (
    Command(
        "train",
        "train a config, or continue its run",
        ("jaxnets train configs/digits_cnn.py",),
        _train_options,
        _train,
        notes=(
            "Any value of the config can be set: --optim.lr 0.01 --optim lion --loop.steps 500\n\n"
            "Under Slurm, Open MPI, Kubernetes and on TPUs the processes of a run find each other; elsewhere each is\n"
            "given --coordinator, --processes and --index, as `jaxnets launch` does."
        ),
        takes_settings=True,
    ),
    Command(
        "lr-find",
        "try rising learning rates and suggest one",
        ("jaxnets lr-find configs/digits_cnn.py --steps 60",),
        _lr_find_options,
        _lr_find,
        takes_settings=True,
    ),
    Command(
        "batch-find",
        "compile ever larger batches and say which is the largest that fits",
        ("jaxnets batch-find configs/digits_cnn.py --memory 100MiB",),
        _batch_find_options,
        _batch_find,
        takes_settings=True,
    ),
    Command(
        "compile",
        "compile the step for a TPU slice without having it, and say whether it fits and how fast it could be",
        ("jaxnets compile configs/digits_cnn.py --batch 256",),
        _compile_options,
        _compile,
        notes=(
            "A topology needs the extra tpu, as in --topology v5e:16x16. Files of tokens or text may be missing; of\n"
            "other data that is not here give the shape: --data.source synthetic:image/224x224x3/1000.\n"
            "Exit code 1: it does not fit."
        ),
        takes_settings=True,
    ),
    Command(
        "watch",
        "follow a run from another terminal until it ends",
        ("jaxnets watch runs/digits_cnn",),
        _watch_options,
        _watch,
    ),
)
