"""The examples in every command's --help are run, in a folder with what it names, in the order of a user's work."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import sweeps
from PIL import Image
from small import experiment, loop

from jaxnets import cli
from jaxnets.data import Data, Texts
from jaxnets.models import GPT, TwoTower
from jaxnets.run import run
from jaxnets.tasks import Contrastive, LanguageModelling

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Configs, a table, a picture, a language model, a short run; the other is what the example of train leaves."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "configs", folder / "configs")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "digit.png")
    kinds = ("small", "large")
    rows = "".join(f"{i % 7 + 5 * (i % 2)},{i % 5},{kinds[i % 2]}\n" for i in range(60))
    (folder / "flowers.csv").write_text("length,width,species\n" + rows)
    (folder / "t.txt").write_text("def f(x):\n    return x\n" * 200)
    one = experiment(
        data=Data(source=f"text:{folder / 't.txt'}", batch_size=8, context=16),
        model=GPT(context=16, width=8, depth=1, heads=2),
        task=LanguageModelling(),
        loop=loop(steps=20, log_every=10, eval_every=10),
    )
    run(one, folder / "runs" / "python_text_gpt")
    pairs = experiment(
        data=Data(
            source="synthetic:captions/16x16/40", batch_size=16, context=12, texts=Texts(tokenizer="plain", least=1)
        ),
        model=TwoTower(embedding=4, channels=(2, 2), hidden=4, width=8, depth=1),
        task=Contrastive(recall=(1,)),
        loop=loop(steps=2, log_every=2, eval_every=2, monitor="loss"),
    )
    run(pairs, folder / "runs" / "photos")
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "photo.jpg")
    run(experiment(), folder / "runs" / "short")
    sweeps.write(folder / "sweeps" / "digits_sweep", sweeps.written(30))
    return folder


def examples(capsys, command):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    found = re.findall(r"^example: jaxnets (.*)$", capsys.readouterr().out, re.M)
    assert found, f"{command} --help shows no example"
    return [shlex.split(words) for words in found]


def test_the_examples_of_every_command_run(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    shorter = {"train": ["--loop.epochs", "none", "--loop.steps", "20"]}
    for command in cli.COMMANDS:
        for words in examples(capsys, command):
            assert words[0] == command
            assert cli.main([*words, *shorter.get(command, [])]) == 0, capsys.readouterr().err
            assert capsys.readouterr().out
            assert all(
                Path(after).is_file() for option, after in zip(words, words[1:], strict=False) if option == "--out"
            )
    assert (folder / "runs" / "digits_cnn" / "report.html").is_file() and (folder / "comparison.html").is_file()
