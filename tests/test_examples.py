"""The example in every command's --help is run, in a folder with what it names, in the order of a user's work."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import experiment, loop

from jaxnets import cli
from jaxnets.data import Data
from jaxnets.models import GPT
from jaxnets.run import run
from jaxnets.tasks import LanguageModelling

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Configs, a picture of a digit and a language model; the other run is what the example of train leaves."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "configs", folder / "configs")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "digit.png")
    (folder / "t.txt").write_text("def f(x):\n    return x\n" * 200)
    one = experiment(
        data=Data(source=f"text:{folder / 't.txt'}", batch_size=8, context=16),
        model=GPT(context=16, width=8, depth=1, heads=2),
        task=LanguageModelling(),
        loop=loop(steps=20, log_every=10, eval_every=10),
    )
    run(one, folder / "runs" / "python_text_gpt")
    return folder


def example(capsys, command):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    return shlex.split(re.search(r"^example: jaxnets (.*)$", capsys.readouterr().out, re.M)[1])


def test_the_example_of_every_command_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    shorter = {"train": ["--loop.epochs", "none", "--loop.steps", "20"]}
    for command in cli._COMMANDS:
        words = example(capsys, command)
        assert words[0] == command
        assert cli.main([*words, *shorter.get(command, [])]) == 0, capsys.readouterr().err
        assert capsys.readouterr().out
        assert all(Path(after).is_file() for option, after in zip(words, words[1:], strict=False) if option == "--out")
