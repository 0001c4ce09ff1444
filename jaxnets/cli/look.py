"""Commands that show what there is: config, data, models, sweep-report, doctor."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from jaxnets.cli.command import Command, Parser, Settings, experiment
from jaxnets.errors import UsageError
from jaxnets.folders import refuse_series


def _config_options(show: Parser) -> None:
    show.add_argument("config", help="a config file or a run folder")
    show.add_argument("other", nargs="?", help="another one, to compare with")


def _config(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets import config

    first = _values(given.config, settings)
    if given.other is None:
        print(json.dumps(first, indent=2))
        return 0
    for path, (old, new) in config.difference(first, _values(given.other, [])).items():
        print(f"{path}: {json.dumps(old)} -> {json.dumps(new)}")
    return 0


def _values(path: str, settings: Settings) -> Any:
    """Every value of a config file or of a run's config, as JSON."""
    from jaxnets import config

    refuse_series(Path(path))
    stored = Path(path) / "config.json"
    if not Path(path).is_dir():
        return config.to_json(experiment(path, settings))
    if settings:
        raise UsageError(f"a run's config cannot be changed: --{settings[0][0]}; give its config file instead")
    if not stored.is_file():
        raise UsageError(f"{path} is not a run folder: it has no config.json; give the folder that train named")
    from jaxnets.files import read_json

    return read_json(stored)


def _data_options(data: Parser) -> None:
    data.add_argument("source", metavar="SOURCE|CONFIG", help="a data set, a file or folder, or a config file")
    data.add_argument("--target", metavar="COLUMN", help="of a table: what is to be learned")
    data.add_argument("--html", type=Path, metavar="FILE", help="a page of all this and of training examples")
    data.add_argument("--json", action="store_true", help="as JSON")


def _data(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets.report.document import check_out

    check_out(given.html, option="--html")
    if given.source.endswith(".py"):
        if given.target is not None:
            raise UsageError(f"--target {given.target} is said by a config; set it there, or with --data.target")
        of_config = experiment(given.source, settings)
        from jaxnets import contents

        found = contents.of_config(of_config)
    else:
        from jaxnets import contents

        found = contents.of_source(given.source, settings, target=given.target)
    contents.show(found, html=given.html, as_json=given.json)
    return 0


def _models_options(models: Parser) -> None:
    models.add_argument("model", nargs="?", metavar="NAME|CONFIG", help="a model's name or a config file")
    models.add_argument("--input", type=_shape, metavar="H,W,C", help="one example: H,W,C of images, or a length")
    models.add_argument("--outputs", type=int, help="classes, targets or tokens")
    models.add_argument("--json", action="store_true", help="as JSON")


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give whole numbers, as in 224,224,3") from error


def _models(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets import catalogue

    if given.model is not None and given.model.endswith(".py"):
        if given.input is not None or given.outputs is not None:
            raise UsageError("--input and --outputs follow from the data of a config; leave them out, or give a name")
        of_config = experiment(given.model, settings)
        catalogue.show_config(Path(given.model), of_config, as_json=given.json)
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


def _sweep_report_options(report: Parser) -> None:
    report.add_argument("sweep", metavar="NAME|FOLDER", help="a name under sweeps/, or the folder of a sweep")
    report.add_argument("--out", type=Path, metavar="FILE.html", help="the page (default: sweep.html in its folder)")
    report.add_argument("--dollars-per-hour", type=float, metavar="PRICE", help="of one device, for the cost")


def _sweep_report(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets.report import sweep

    print(sweep.write(given.sweep, given.out, dollars_per_hour=given.dollars_per_hour))
    return 0


def _doctor_options(doctor: Parser) -> None:
    doctor.add_argument("--json", action="store_true", help="as JSON")


def _doctor(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets import doctor

    return doctor.show(as_json=given.json)


COMMANDS = (
    Command(
        "config",
        "print a config with every value, or the difference of two runs",
        ("jaxnets config configs/digits_cnn.py --optim lion",),
        _config_options,
        _config,
        takes_settings=True,
    ),
    Command(
        "data",
        "say what a source holds and what is wrong with it, and show examples",
        ("jaxnets data flowers.csv --target species", "jaxnets data configs/digits_cnn.py --html digits.html"),
        _data_options,
        _data,
        takes_settings=True,
    ),
    Command(
        "models",
        "list the models with their sizes, or show one layer by layer",
        ("jaxnets models resnet50 --input 224,224,3 --outputs 1000",),
        _models_options,
        _models,
        takes_settings=True,
    ),
    Command(
        "sweep-report",
        "write the page of a sweep: its trials, what matters, and what to try next",
        ("jaxnets sweep-report digits_sweep --dollars-per-hour 0.5",),
        _sweep_report_options,
        _sweep_report,
        notes="It is made from sweep.json alone, also while the sweep is under way or where it was copied to.",
    ),
    Command(
        "doctor", "say whether this machine can train, and what it lacks", ("jaxnets doctor",), _doctor_options, _doctor
    ),
)
