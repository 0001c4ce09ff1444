"""`jaxnets generate`: the text of a run folder against whole forward passes of its exported program."""

import json
import shutil

import numpy as np
import pytest
from small import experiment, loop

from jaxnets import cli, forward
from jaxnets.config import Custom
from jaxnets.data import Data
from jaxnets.models import GPT, gpt
from jaxnets.run import run
from jaxnets.tasks import LanguageModelling

CONTEXT = 16
TEXT = "to be or not to be, that is the question\n" * 80


def language_model(folder, model=None):
    (folder / "t.txt").write_text(TEXT)
    one = experiment(
        data=Data(source=f"text:{folder / 't.txt'}", batch_size=16, context=CONTEXT),
        model=model or GPT(context=CONTEXT, width=16, depth=2, heads=2, kv_heads=1),
        task=LanguageModelling(),
        loop=loop(steps=120, eval_every=60),
    )
    return run(one, folder / "run").run_dir


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return language_model(tmp_path_factory.mktemp("generate"))


def main(capsys, *words):
    code = cli.main([str(word) for word in words])
    out, errors = capsys.readouterr()
    return code, out, errors


def recomputed(run_dir, prompt, count):
    """Greedy text, the whole window through `forward.stablehlo` for every token; what is behind the last is unseen."""
    apply = forward.load(run_dir)
    tokens = list(prompt.encode())
    for _ in range(count):
        window = tokens[-CONTEXT:]
        padded = np.zeros((1, CONTEXT), np.int32)
        padded[0, : len(window)] = window
        tokens.append(int(np.asarray(apply(padded))[0, len(window) - 1].argmax()))
    return bytes(tokens).decode()


@pytest.mark.parametrize("count", [12, 30])  # within the context, where the cache serves, and beyond it
def test_greedy_text_is_that_of_full_recomputation(trained, capsys, count):
    code, out, errors = main(capsys, "generate", trained, "--prompt", "to b", "--tokens", count, "--temperature", 0)
    assert code == 0 and out == recomputed(trained, "to b", count) + "\n"
    assert f"{count} tokens in" in errors and "tokens/s, compiling not counted" in errors


def test_a_seed_writes_the_same_text_and_samples_differ(trained, capsys):
    words = ["generate", trained, "--prompt", "to", "--tokens", 40, "--temperature", 2, "--samples", 3]
    first, again, other = (main(capsys, *words, "--seed", seed)[1] for seed in (1, 1, 2))
    texts = first.removesuffix("\n").split("\n--------\n")
    assert first == again != other
    assert len(set(texts)) == 3 and all(text.startswith("to") for text in texts)


def test_what_would_steer_a_terminal_is_shown_instead(trained, capsys):
    _, out, _ = main(capsys, "generate", trained, "--prompt", "\x1b[2J\x07 to\tbe", "--tokens", 1, "--temperature", 0)
    assert out.startswith("\ufffd[2J\ufffd to\tbe")


def test_bytes_that_are_no_utf8_may_be_continued(trained, capsys):
    code, out, _ = main(capsys, "generate", trained, "--prompt", b"\xff to".decode("utf-8", "surrogateescape"))
    assert code == 0 and out.startswith("\ufffd to")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--prompt", ""], "--prompt is empty"),
        (["--prompt", "x" * 17], "--prompt has 17 bytes, but this run reads 16 at once; give its last 16 or fewer"),
        (["--prompt", "x", "--tokens", "0"], "--tokens 0 is not allowed"),
        (["--prompt", "x", "--samples", "0"], "--samples 0 is not allowed"),
        (["--prompt", "x", "--temperature", "-1"], "--temperature -1.0 is not allowed"),
        (["--prompt", "x", "--temperature", "nan"], "--temperature nan is not allowed"),
        (["--prompt", "x", "--temperature", "1e-30"], "--temperature 1e-30 is not allowed"),
        (["--prompt", "x", "--top-k", "0"], "--top-k 0 is not allowed"),
        (["--prompt", "x", "--top-p", "1.5"], "--top-p 1.5 is not allowed; give a number above 0 and up to 1"),
        (["--prompt", "x", "--seed", "-1"], "--seed -1 is not allowed"),
    ],
)
def test_mistakes_exit_2(trained, capsys, words, told):
    code, out, errors = main(capsys, "generate", trained, *words)
    assert code == 2 and told in errors and not out


def test_runs_that_write_no_text_are_refused(tmp_path, capsys):
    run(experiment(loop=loop(steps=2, log_every=2, eval_every=2)), tmp_path / "wine")
    code, _, errors = main(capsys, "generate", tmp_path / "wine", "--prompt", "x")
    assert code == 2 and "learned classification and writes no text" in errors
    code, _, errors = main(capsys, "generate", tmp_path / "nowhere", "--prompt", "x")
    assert code == 2 and "is not a run folder" in errors


def test_a_model_of_the_users_own_is_refused(tmp_path, capsys):
    folder = language_model(tmp_path, Custom(model=gpt(256, context=CONTEXT, width=8, depth=1, heads=2)))
    code, _, errors = main(capsys, "generate", folder, "--prompt", "x")
    assert code == 2 and "holds a model of your own" in errors


def test_weights_of_another_model_or_damaged_ones_are_an_error(trained, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    settings = json.loads((folder / "config.json").read_text())
    settings["model"]["width"] = 32
    (folder / "config.json").write_text(json.dumps(settings))
    code, _, errors = main(capsys, "generate", folder, "--prompt", "x")
    assert code == 4 and "does not fit the model of config.json" in errors
    (folder / "weights.safetensors").write_bytes(b"nothing")
    code, _, errors = main(capsys, "generate", folder, "--prompt", "x")
    assert code == 4 and "is damaged" in errors
    (folder / "weights.safetensors").unlink()
    code, _, errors = main(capsys, "generate", folder, "--prompt", "x")
    assert code == 4 and "has not finished" in errors
