"""The command line: parsing only; nothing heavy is imported until a command runs.

jaxnets train CONFIG [--run-dir DIR] [--allow PATH …] [--tensorboard] [--profile A:B] [--a.b.c VALUE …]
jaxnets train CONFIG --seeds N | --folds N | --splits N …
jaxnets lr-find CONFIG [--low 1e-7] [--high 10] [--steps 100] [--out FILE] [--a.b.c VALUE …]
jaxnets batch-find CONFIG [--memory 16GiB] [--largest N] [--a.b.c VALUE …]
jaxnets watch RUN [--once]
jaxnets test RUN [--split test]
jaxnets predict RUN FILE [--out FILE]
jaxnets generate RUN --prompt TEXT [--tokens N] [--temperature T] [--top-k K] [--top-p P] [--samples N] [--seed S]
jaxnets report RUN [RUN …] [--out FILE.html]
jaxnets config CONFIG|RUN [RUN]
jaxnets data CONFIG [--out FILE] [--a.b.c VALUE …]
jaxnets models [NAME|CONFIG] [--input H,W,C] [--outputs N] [--json] [--a.b.c VALUE …]
jaxnets doctor [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from jaxnets import __version__
from jaxnets.errors import JaxnetsError, UsageError
from jaxnets.folders import refuse_series
from jaxnets.memory import keep_pages


class _Parser(argparse.ArgumentParser):
    """Keeps the options that it was given by name, and raises in place of printing and ending."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.options: set[str] = set()
        super().__init__(*args, **settings)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        self.options |= {name for name in names if name.startswith("--")}
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def _parser() -> tuple[_Parser, dict[str, _Parser]]:
    """The parser of all commands, and each command's own by name."""
    parser = _Parser(prog="jaxnets", description="Train, test and use models on JAX.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"jaxnets {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    train = _command(commands, "train", "train a config, or continue its run", "jaxnets train configs/digits_cnn.py")
    train.add_argument("config", help="a Python file that ends in experiment = Experiment(...)")
    train.add_argument("--run-dir", type=Path, help="the run's folder (default: runs/<name of the config>)")
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
    train.add_argument("--folds", type=int, metavar="N", help="N runs of a cross-validation: each row is tested once")
    train.add_argument("--splits", type=int, metavar="N", help="N runs, each on other random splits")
    train.epilog = (
        f"{train.epilog}\n\nAny value of the config can be set: --optim.lr 0.01 --optim lion --loop.steps 500"
    )

    find = _command(
        commands,
        "lr-find",
        "try rising learning rates and suggest one",
        "jaxnets lr-find configs/digits_cnn.py --steps 60",
    )
    find.add_argument("config")
    find.add_argument("--low", type=float, default=1e-7, help="the first rate (default: 1e-7)")
    find.add_argument("--high", type=float, default=10.0, help="the last rate (default: 10)")
    find.add_argument("--steps", type=int, default=100, help="one rate each (default: 100)")
    find.add_argument("--out", type=Path, help="an .html page with the loss over the rate")

    batch = _command(
        commands,
        "batch-find",
        "compile ever larger batches and say which is the largest that fits",
        "jaxnets batch-find configs/digits_cnn.py --memory 100MiB",
    )
    batch.add_argument("config")
    batch.add_argument("--memory", metavar="SIZE", help="of one device (default: 0.9 of what is free)")
    batch.add_argument("--largest", type=int, metavar="N", help="examples at most (default: the train split)")

    test = _command(commands, "test", "test a finished run on a split", "jaxnets test runs/digits_cnn")
    test.add_argument("run", type=Path)
    test.add_argument("--split", default="test", help="train, valid or test (default: test)")

    predict = _command(
        commands,
        "predict",
        "predictions of a finished run for files or arrays",
        "jaxnets predict runs/digits_cnn digit.png --out predictions.csv",
    )
    predict.add_argument("run", type=Path)
    predict.add_argument("inputs", nargs="+", type=Path, help=".npy, .csv, .parquet, .jsonl or image files")
    predict.add_argument("--out", type=Path, help=".jsonl or .csv (default: JSON lines on the terminal)")

    _add_report(commands)

    show = _command(
        commands,
        "config",
        "print a config with every value, or the difference of two runs",
        "jaxnets config configs/digits_cnn.py --optim lion",
    )
    show.add_argument("config", help="a config file or a run folder")
    show.add_argument("other", nargs="?", help="another one, to compare with")
    for add in (_add_generate, _add_models, _add_doctor, _add_data, _add_watch):
        add(commands)
    return parser, commands.choices


def _add_report(commands: Any) -> None:
    report = _command(
        commands,
        "report",
        "write report.html of a run again, or a page that compares runs",
        "jaxnets report runs/digits_cnn",
        "jaxnets report runs/digits_cnn runs/short",
    )
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="one run, or those to compare")
    report.add_argument(
        "--out", type=Path, metavar="FILE.html", help="the page of a comparison (default: comparison.html)"
    )
    report.epilog = (
        f"{report.epilog}\n\nThe page of one run lies in its folder. A comparison holds the test figures with their"
        "\nintervals, paired differences, the curves over each other, and the configs where they differ."
    )


def _add_generate(commands: Any) -> None:
    generate = _command(
        commands,
        "generate",
        "continue a text with a finished language-model run",
        "jaxnets generate runs/python_text_gpt --prompt 'def ' --tokens 100",
    )
    generate.add_argument("run", type=Path)
    generate.add_argument("--prompt", required=True, metavar="TEXT", help="at most as long as the context of the run")
    generate.add_argument("--tokens", type=int, default=200, help="written after the prompt (default: 200)")
    generate.add_argument("--temperature", type=float, default=0.8, help="0 = the likeliest token (default: 0.8)")
    generate.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens alone")
    generate.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest that reach probability P")
    generate.add_argument("--samples", type=int, default=1, help="continuations of the prompt (default: 1)")
    generate.add_argument("--seed", type=int, default=0, help="the same seed writes the same text (default: 0)")
    generate.epilog = (
        f"{generate.epilog}\n\nThe context is that of the training windows (data.context). A longer prompt is refused;"
        "\nwhat is written beyond it is slower, since the last of it is then read anew for every token."
    )


def _add_models(commands: Any) -> None:
    models = _command(
        commands,
        "models",
        "list the models with their sizes, or show one layer by layer",
        "jaxnets models resnet50 --input 224,224,3 --outputs 1000",
    )
    models.add_argument("model", nargs="?", metavar="NAME|CONFIG", help="a model's name or a config file")
    models.add_argument("--input", type=_shape, metavar="H,W,C", help="one example: H,W,C of images, or a length")
    models.add_argument("--outputs", type=int, help="classes, targets or tokens")
    models.add_argument("--json", action="store_true", help="as JSON")


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give whole numbers, as in 224,224,3") from error


def _add_doctor(commands: Any) -> None:
    doctor = _command(commands, "doctor", "say whether this machine can train, and what it lacks", "jaxnets doctor")
    doctor.add_argument("--json", action="store_true", help="as JSON")


def _add_data(commands: Any) -> None:
    data = _command(
        commands,
        "data",
        "say what the source of a config holds, and show examples",
        "jaxnets data configs/digits_cnn.py --out digits.html",
    )
    data.add_argument("config", help="a config file; its values can be set as for train")
    data.add_argument("--out", type=Path, help="an .html page of training examples, before and after augmentation")


def _add_watch(commands: Any) -> None:
    watch = _command(
        commands, "watch", "follow a run from another terminal until it ends", "jaxnets watch runs/digits_cnn"
    )
    watch.add_argument("run", type=Path)
    watch.add_argument("--once", action="store_true", help="print where it stands and end")


def _command(commands: Any, name: str, words: str, *examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=words,
        description=words[0].upper() + words[1:] + ".",
        epilog="\n".join(f"example: {example}" for example in examples),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code. What went wrong is one message on stderr, never a trace."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        parser, commands = _parser()
        words, settings = _settings(words, commands)
        given = parser.parse_args(words)
        keep_pages()
        return _COMMANDS[given.command](given, settings)
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


def _settings(words: list[str], commands: dict[str, _Parser]) -> tuple[list[str], list[tuple[str, str]]]:
    """(what argparse reads, the settings `--a.b.c VALUE` and `--a.b.c=VALUE` as pairs).

    Only commands that read a config take settings. They are taken out first, wherever they stand: argparse would hand
    their values to the positional arguments.
    """
    command = words[0] if words else ""
    if command not in _TAKE_SETTINGS:
        return words, []
    left, pairs = [], []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or word == "--" or f"--{name}" in commands[command].options:
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


def _experiment(path: str, settings: list[tuple[str, str]]) -> Any:
    from jaxnets import config

    experiment = config.assign(config.load(path), settings)
    config.check(experiment)
    return experiment


def _train(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    settings += [("loop.limit_steps", given.limit_steps)] if given.limit_steps is not None else []
    settings += [("loop.overfit_batch", "true")] if given.overfit_batch else []
    experiment = _experiment(given.config, settings)
    repeats: dict[Any, int] = {by: count for by in _REPEATS if (count := getattr(given, by)) is not None}
    if repeats:
        return _series(given, experiment, repeats)
    if given.dry_run:
        from jaxnets.rehearsal import rehearse

        print(rehearse(experiment))
        return 0
    run_dir = given.run_dir or Path("runs") / Path(given.config).stem
    from jaxnets import compilation, profiling
    from jaxnets.progress import Progress
    from jaxnets.run import run
    from jaxnets.tensorboard import tensorboard

    with compilation.cache():
        result = run(
            experiment,
            run_dir,
            allow=given.allow,
            progress=Progress(quiet=given.quiet),
            sinks=[tensorboard(run_dir / "tb")] if given.tensorboard else [],
            profile=None if given.profile is None else profiling.window(given.profile),
        )
    figures = result.figures
    shown = "  ".join(f"{name} {value:.4f}" for name, value in figures["test"].items())
    print(f"\ntest ({figures['test_examples']} examples): {shown}")
    print(
        f"{figures['steps']} steps in {figures['seconds']:.1f} s; tested the weights of step {figures['tested_step']}"
    )
    print(f"data         {figures['data']['source']}, sha256 {figures['data']['sha256'][:16]}…")
    print(f"run folder   {run_dir}\nreport       {run_dir / 'report.html'}\nnext         jaxnets test {run_dir}")
    print(f"             jaxnets predict {run_dir} FILE\n             jaxnets config {given.config}")
    return 0


def _series(given: argparse.Namespace, experiment: Any, repeats: dict[Any, int]) -> int:
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

        name, first = next(iter(series.members(experiment, by=by, count=count).items()))
        print(f"{count} runs; this is the first of them, {name}\n{rehearse(first)}")
        return 0
    folder = given.run_dir or Path("runs") / f"{Path(given.config).stem}_{by}"
    with compilation.cache():
        figures = series.series(
            experiment,
            folder,
            by=by,
            count=count,
            allow=given.allow,
            progress=Progress(quiet=given.quiet),
            sinks=lambda run_dir: [tensorboard(run_dir / "tb")] if given.tensorboard else [],
        ).figures
    print(f"\ntest figures over {count} {by}\n{series.text(figures)}")
    print(f"series       {folder / 'series.json'}\nreport       {folder / 'series.html'}")
    print(f"runs         {folder / figures['runs'][0]['name']} … {figures['runs'][-1]['name']}")
    return 0


def _lr_find(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    experiment = _experiment(given.config, settings)
    from jaxnets import compilation, range_test

    with compilation.cache():
        range_test.show(experiment, low=given.low, high=given.high, steps=given.steps, out=given.out)
    return 0


def _batch_find(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    experiment = _experiment(given.config, settings)
    from jaxnets import batch_size, compilation

    limit = None if given.memory is None else batch_size.parse_bytes(given.memory)
    with compilation.cache():
        found = batch_size.batch_sizes(experiment, limit=limit, largest=given.largest)
    print(batch_size.text(found))
    return 0 if found.largest else 1


def _test(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    from jaxnets import compilation, evaluate, report

    with compilation.cache():
        figures = evaluate.test(given.run, given.split)
    print(json.dumps({given.split: figures}, indent=2))
    if given.split == "test":
        report.write(given.run)
    return 0


def _predict(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    from jaxnets import compilation, predictions

    with compilation.cache():
        predictions.predict_files(given.run, given.inputs, out=given.out)
    return 0


def _report(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    from jaxnets import report

    if len(given.runs) > 1:
        out = given.out or Path("comparison.html")
        print(report.compare(given.runs, out))
        print(out)
        return 0
    if given.out is not None:
        raise UsageError(
            f"--out {given.out} is for a comparison of two runs or more; name another run, or leave it out"
        )
    print(report.write(given.runs[0]))
    return 0


def _config(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    from jaxnets import config

    first = _settings_of(given.config, settings)
    if given.other is None:
        print(json.dumps(first, indent=2))
        return 0
    for path, (old, new) in config.difference(first, _settings_of(given.other, [])).items():
        print(f"{path}: {json.dumps(old)} -> {json.dumps(new)}")
    return 0


def _settings_of(path: str, settings: list[tuple[str, str]]) -> Any:
    from jaxnets import config

    refuse_series(Path(path))
    stored = Path(path) / "config.json"
    if not Path(path).is_dir():
        return config.to_json(_experiment(path, settings))
    if settings:
        raise UsageError(f"a run's config cannot be changed: --{settings[0][0]}; give its config file instead")
    if not stored.is_file():
        raise UsageError(f"{path} is not a run folder: it has no config.json; give the folder that train named")
    from jaxnets.files import read_json

    return read_json(stored)


def _generate(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    from jaxnets import compilation, continuations

    sampling = continuations.Sampling(
        tokens=given.tokens,
        temperature=given.temperature,
        top_k=given.top_k,
        top_p=given.top_p,
        samples=given.samples,
        seed=given.seed,
    )
    with compilation.cache():
        continuations.show(given.run, given.prompt, sampling)
    return 0


def _models(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    from jaxnets import catalogue

    if given.model is not None and given.model.endswith(".py"):
        if given.input is not None or given.outputs is not None:
            raise UsageError("--input and --outputs follow from the data of a config; leave them out, or give a name")
        experiment = _experiment(given.model, settings)
        catalogue.show_config(Path(given.model), experiment, as_json=given.json)
        return 0
    if settings:
        raise UsageError(f"--{settings[0][0]} is a value of a config; give a config file instead of a name")
    if given.model is not None:
        catalogue.show(given.model, shape=given.input, outputs=given.outputs, as_json=given.json)
        return 0
    if given.input is not None or given.outputs is not None:
        raise UsageError("--input and --outputs are for one model; name it, as in jaxnets models resnet50")
    catalogue.show_all(as_json=given.json)
    return 0


def _doctor(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    from jaxnets import doctor

    return doctor.show(as_json=given.json)


def _data(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    experiment = _experiment(given.config, settings)
    from jaxnets import contents

    contents.show(experiment, out=given.out)
    return 0


def _watch(given: argparse.Namespace, settings: list[tuple[str, str]]) -> int:
    from jaxnets import watch

    watch.watch(given.run, once=given.once)
    return 0


_REPEATS = ("seeds", "folds", "splits")
_TAKE_SETTINGS = ("train", "lr-find", "batch-find", "config", "models", "data")
_COMMANDS = {
    "train": _train,
    "lr-find": _lr_find,
    "batch-find": _batch_find,
    "watch": _watch,
    "test": _test,
    "predict": _predict,
    "generate": _generate,
    "report": _report,
    "config": _config,
    "data": _data,
    "models": _models,
    "doctor": _doctor,
}

if __name__ == "__main__":
    sys.exit(main())
