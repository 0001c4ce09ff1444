"""Commands on finished runs: test, predict, generate, report."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

from jaxnets import remote
from jaxnets.cli.command import Command, Parser, Settings, place
from jaxnets.errors import UsageError


def _test_options(test: Parser) -> None:
    test.add_argument("run", type=place)
    test.add_argument("--split", default="test", help="train, valid or test (default: test)")


def _test(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets import compilation, evaluate, report

    with compilation.cache(), remote.reading(given.run) as run:
        figures = evaluate.test(run, given.split)
        print(json.dumps({given.split: figures}, indent=2))
        if given.split == "test":
            report.write(run)
    return 0


def _predict_options(predict: Parser) -> None:
    predict.add_argument("run", type=place)
    predict.add_argument("inputs", nargs="+", type=Path, help=".npy, .csv, .parquet, .jsonl or image files")
    predict.add_argument(
        "--text", action="append", default=[], help="of a run on pairs: what images are compared with; may be repeated"
    )
    predict.add_argument("--out", type=Path, help=".jsonl or .csv (default: JSON lines on the terminal)")


def _predict(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets import compilation, predictions

    with compilation.cache(), remote.reading(given.run) as run:
        predictions.predict_files(run, given.inputs, out=given.out, texts=given.text)
    return 0


def _generate_options(generate: Parser) -> None:
    generate.add_argument("run", type=place)
    generate.add_argument("--prompt", required=True, metavar="TEXT", help="at most as long as the context of the run")
    generate.add_argument("--tokens", type=int, default=200, help="written after the prompt (default: 200)")
    generate.add_argument("--temperature", type=float, default=0.8, help="0 = the likeliest token (default: 0.8)")
    generate.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens alone")
    generate.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest that reach probability P")
    generate.add_argument("--samples", type=int, default=1, help="continuations of the prompt (default: 1)")
    generate.add_argument("--seed", type=int, default=0, help="the same seed writes the same text (default: 0)")


def _generate(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets import compilation, continuations

    sampling = continuations.Sampling(
        tokens=given.tokens,
        temperature=given.temperature,
        top_k=given.top_k,
        top_p=given.top_p,
        samples=given.samples,
        seed=given.seed,
    )
    with compilation.cache(), remote.reading(given.run) as run:
        continuations.show(run, given.prompt, sampling)
    return 0


def _report_options(report: Parser) -> None:
    report.add_argument("runs", nargs="+", type=place, metavar="RUN", help="one run, or those to compare")
    report.add_argument(
        "--out", type=Path, metavar="FILE.html", help="the page of a comparison (default: comparison.html)"
    )


def _report(given: argparse.Namespace, settings: Settings) -> int:
    from jaxnets import report

    if len(given.runs) > 1:
        out = given.out or Path("comparison.html")
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(remote.reading(run)) for run in given.runs]
            print(report.compare(runs, out))
        print(out)
        return 0
    if given.out is not None:
        raise UsageError(
            f"--out {given.out} is for a comparison of two runs or more; name another run, or leave it out"
        )
    with remote.reading(given.runs[0]) as run:
        report.write(run)
    print(f"{given.runs[0]}/report.html")
    return 0


COMMANDS = (
    Command("test", "test a finished run on a split", ("jaxnets test runs/digits_cnn",), _test_options, _test),
    Command(
        "predict",
        "predictions of a finished run for files or arrays",
        (
            "jaxnets predict runs/digits_cnn digit.png --out predictions.csv",
            "jaxnets predict runs/photos photo.jpg --text 'a dog' --text 'a cat'",
        ),
        _predict_options,
        _predict,
    ),
    Command(
        "generate",
        "continue a text with a finished language-model run",
        ("jaxnets generate runs/python_text_gpt --prompt 'def ' --tokens 100",),
        _generate_options,
        _generate,
        notes="The context is that of the training windows (data.context). A longer prompt is refused;"
        "\nwhat is written beyond it is slower, since the last of it is then read anew for every token.",
    ),
    Command(
        "report",
        "write report.html of a run again, or a page that compares runs",
        ("jaxnets report runs/digits_cnn", "jaxnets report runs/digits_cnn runs/short"),
        _report_options,
        _report,
        notes="The page of one run lies in its folder. A comparison holds the test figures with their"
        "\nintervals, paired differences, the curves over each other, and the configs where they differ.",
    ),
)
