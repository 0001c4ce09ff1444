"""The commands as a user types them."""

import csv
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from small import command, experiment, loop

from jaxnets import cli, predictions
from jaxnets.data import Crop, Data, load
from jaxnets.errors import DataError
from jaxnets.evaluate import predict
from jaxnets.models import CNN, GPT, MLP
from jaxnets.optim import AdamW
from jaxnets.progress import Progress
from jaxnets.run import run
from jaxnets.tasks import LanguageModelling, Regression


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "digits"
    data = Data(source="digits", batch_size=64, augment=(Crop(padding=1),))
    run(experiment(data=data, model=CNN(channels=(8, 16), hidden=32), loop=loop(steps=150, eval_every=50)), folder)
    return folder


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "diabetes"
    one = experiment(
        data=Data(source="diabetes", batch_size=32),
        model=MLP(widths=(8,)),
        task=Regression(),
        loop=loop(monitor="rmse"),
    )
    run(one, folder)
    return folder


def main(capsys, *words):
    code = cli.main([str(word) for word in words])
    out, errors = capsys.readouterr()
    return code, out, errors


def test_images_arrays_and_csv_give_the_same_predictions(digits, tmp_path, capsys):
    split = load(Data(source="digits")).splits["test"].arrays
    np.save(tmp_path / "some.npy", split["inputs"][:5])
    for index in range(5):
        Image.fromarray(split["inputs"][index, :, :, 0]).save(tmp_path / f"{index}.png")
    code, out, _ = main(capsys, "predict", digits, tmp_path / "some.npy")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(rows) == 5
    assert np.mean([row["class"] == str(label) for row, label in zip(rows, split["targets"], strict=False)]) >= 0.8
    assert all(abs(sum(v for k, v in row.items() if k.startswith("p(")) - 1) < 1e-5 for row in rows)
    files = [tmp_path / f"{index}.png" for index in range(5)]
    code, out, _ = main(capsys, "predict", digits, *files, "--out", tmp_path / "found.csv")
    with open(tmp_path / "found.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert code == 0 and [row["class"] for row in found] == [row["class"] for row in rows]
    assert [float(row["p(3)"]) for row in found] == pytest.approx([row["p(3)"] for row in rows], rel=1e-5)


def test_rows_from_csv_parquet_and_json_lines(diabetes, tmp_path, capsys):
    import pyarrow
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    schema = load(Data(source="diabetes")).schema
    inputs = load(Data(source="diabetes")).splits["test"].arrays["inputs"][:4]
    columns = dict(zip(schema.feature_names, inputs.astype(float).T, strict=True))
    table = pyarrow.table({name: columns[name] for name in reversed(schema.feature_names)})
    arrow_csv.write_csv(table, tmp_path / "r.csv")
    parquet.write_table(table, tmp_path / "r.parquet")
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    found = []
    for ending in ("csv", "parquet", "jsonl"):
        code, out, errors = main(capsys, "predict", diabetes, tmp_path / f"r.{ending}")
        assert code == 0, errors
        found.append([json.loads(line)["target"] for line in out.splitlines()])
    assert found[0] == pytest.approx(found[1], rel=1e-6) and found[0] == pytest.approx(found[2], rel=1e-6)
    assert all(25 <= value <= 346 for value in found[0])  # in the user's unit: the range of the set


def test_bad_inputs_name_file_and_row_and_write_nothing(digits, diabetes, tmp_path, capsys):
    (tmp_path / "x.csv").write_text("age,sex,bmi,bp,s1,s2,s3,s4,s5,s6\n1,1,1,1,1,1,1,1,1,1\n1,1,much,1,1,1,1,1,1,1\n")
    (tmp_path / "short.csv").write_text("age,sex\n1,1\n")
    (tmp_path / "no.png").write_bytes(b"no picture")
    np.save(tmp_path / "flat.npy", np.zeros((3, 64), np.uint8))
    np.save(tmp_path / "nan.npy", np.full((2, 10), np.nan, np.float32))
    np.save(tmp_path / "real.npy", np.full((1, 8, 8, 1), 0.5))
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "bad.jsonl").write_text('{"age": 1}\n{"age"\n')
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    (tmp_path / "latin.csv").write_bytes("âge\n1\n".encode("latin-1"))
    (tmp_path / "empty.csv").write_text("age,sex,bmi,bp,s1,s2,s3,s4,s5,s6\n")
    (tmp_path / "cut.npy").write_bytes(b"")
    np.save(tmp_path / "none.npy", np.zeros((0, 10), np.float32))
    cases = [
        (diabetes, "bad.jsonl", "bad.jsonl cannot be read"),
        (diabetes, "bad.parquet", "bad.parquet cannot be read"),
        (diabetes, "latin.csv", "latin.csv cannot be read"),
        (diabetes, "empty.csv", "empty.csv holds no rows"),
        (diabetes, "none.npy", "none.npy: the inputs hold no examples"),
        (diabetes, "cut.npy", "cut.npy is not a plain array file"),
        (diabetes, "x.csv", "x.csv row 1, column bmi: 'much' is not a number"),
        (diabetes, "short.csv", "short.csv lacks the columns bmi"),
        (diabetes, "nan.npy", "row 0 of the inputs holds NaN"),
        (digits, "no.png", "no.png is not a readable image"),
        (digits, "flat.npy", "(3, 64) do not fit; this run takes (examples, 8, 8, 1)"),
        (digits, "real.npy", "values outside whole 0..255"),
        (digits, "pickle.npy", "is not a plain array file"),
        (digits, "nothing.npy", "is not a file"),
        (digits, "x.csv", "this run takes images; give .npy"),
    ]
    for folder, name, words in cases:
        code, out, errors = main(capsys, "predict", folder, tmp_path / name, "--out", tmp_path / "out.csv")
        assert code == 3 and words in errors and not out, errors
    assert not (tmp_path / "out.csv").exists()
    code, _, errors = main(capsys, "predict", digits, tmp_path / "flat.npy", "--out", tmp_path / "out.xlsx")
    assert code == 2 and "ends in .jsonl or .csv" in errors


def test_test_prints_json_of_any_split(digits, capsys):
    for split in ("train", "valid", "test"):
        code, out, _ = main(capsys, "test", digits, "--split", split)
        figures = json.loads(out)[split]
        assert code == 0 and figures["accuracy"] > 0.8 and figures["examples"] > 100
    code, _, errors = main(capsys, "test", digits, "--split", "tset")
    assert code == 2 and "use one of train, valid, test" in errors


def test_config_prints_every_value_and_differences(digits, diabetes, capsys):
    code, out, _ = main(capsys, "config", "configs/digits_cnn.py", "--optim", "lion", "--optim.lr", "3e-4")
    values = json.loads(out)
    assert code == 0 and values["optim"]["variant"] == "lion" and values["optim"]["lr"] == 3e-4
    code, out, _ = main(capsys, "config", digits, diabetes)
    assert code == 0 and 'data.source: "digits" -> "diabetes"' in out and "model.channels" in out
    code, _, errors = main(capsys, "config", digits, "--optim.lr", "1")
    assert code == 2 and "give its config file" in errors


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["test", "nowhere"], "nowhere is not a run folder"),
        (["report", "nowhere"], "nowhere is not a run folder"),
        (["predict", "nowhere", "x.npy"], "nowhere is not a run folder"),
        (["train", "configs/digits_cn.py"], "perhaps you meant configs/digits_cnn.py"),
        (["test", "nowhere", "--optim.lr", "1"], "unrecognized arguments: --optim.lr"),
        (["config", "configs"], "configs is not a run folder"),
        (["train", "--optim.lr"], "--optim.lr needs a value"),
        (["train"], "give a config, or --from-sweep"),
        (
            ["sweep", "configs/digits_mlp.py", "--trials", "1", "--over", "seed=range(2)", "seed=range(3)"],
            "seed is there twice",
        ),
        (
            ["train", "configs/digits_cnn.py", "--model.widths", "64 64", "--model", "mlp"],
            "cnn has no widths, but mlp, autoencoder, tabularmlp have; switch with --model mlp",
        ),
        (["train", "--model.widths", "64 64", "configs/digits_mlp.py"], "model.widths.0 '64 64' is not allowed"),
        (["train", "configs/digits_mlp.py", "--model.widths", ""], "model.widths '' is not allowed"),
    ],
)
def test_mistakes_exit_2_with_one_sentence(words, told, capsys):
    code, out, errors = main(capsys, *words)
    assert code == 2 and told in errors and not out and errors.startswith("jaxnets: ")


def test_an_unfinished_run_says_so(digits, tmp_path, capsys):
    for name in ("config.json", "schema.json"):
        (tmp_path / name).write_bytes((digits / name).read_bytes())
    code, _, errors = main(capsys, "test", tmp_path)
    assert code == 4 and "has not finished" in errors
    code, out, _ = main(capsys, "report", tmp_path)
    assert code == 0 and "has not finished" in (tmp_path / "report.html").read_text()


def test_a_damaged_predictor_is_an_error(digits, tmp_path):
    for name in ("config.json", "schema.json", "forward.stablehlo"):
        (tmp_path / name).write_bytes((digits / name).read_bytes())
    (tmp_path / "weights.safetensors").write_bytes((digits / "weights.safetensors").read_bytes()[:100])
    np.save(tmp_path / "x.npy", np.zeros((1, 8, 8, 1), np.uint8))
    code, _, errors = command("predict", tmp_path, tmp_path / "x.npy")
    assert code == 4 and "is damaged" in errors and "Traceback" not in errors


def test_a_pipe_that_closes_is_no_error_with_a_trace(digits):
    import subprocess
    import sys

    line = f"{sys.executable} -m jaxnets.cli config {digits} | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert "Traceback" not in done.stderr and done.stdout.strip() == "{"


def test_help_is_there_for_every_command_and_starts_no_device():
    began = time.monotonic()
    code, out, _ = command("--help")
    assert code == 0 and all(re.search(rf"^    {name}\s", out, re.M) for name in cli.COMMANDS)
    assert time.monotonic() - began < 5
    for name in cli.COMMANDS:
        code, out, _ = command(name, "--help")
        assert code == 0 and "example: jaxnets" in out


def test_a_table_that_is_empty_is_told(diabetes, tmp_path):
    (tmp_path / "none.csv").write_text("age,sex,bmi,bp,s1,s2,s3,s4,s5,s6\n")
    with pytest.raises(DataError, match="none.csv"):
        predictions.predict_files(diabetes, [tmp_path / "none.csv"])


def test_a_text_is_continued_from_its_end(tmp_path, capsys):
    (tmp_path / "abc.txt").write_bytes(b"abcdefgh" * 500)
    one = experiment(
        data=Data(source=f"text:{tmp_path / 'abc.txt'}", batch_size=16, context=8),
        model=GPT(context=8, width=16, depth=1, heads=2),
        task=LanguageModelling(label_smoothing=0.1),
        optim=AdamW(lr=1e-2),
        loop=loop(steps=150),
    )
    result = run(one, tmp_path / "run", progress=Progress(quiet=True))
    (tmp_path / "short.txt").write_bytes(b"abc")
    (tmp_path / "long.txt").write_bytes(b"cdefghab" * 3 + b"cdef")
    code, out, errors = main(capsys, "predict", tmp_path / "run", tmp_path / "short.txt", tmp_path / "long.txt")
    assert code == 0 and [json.loads(line)["token"] for line in out.splitlines()] == [ord("d"), ord("g")], errors
    np.save(tmp_path / "tokens.npy", np.array([[97, 98, 300]]))
    np.save(tmp_path / "wide.npy", np.zeros((1, 9), np.int32))
    for name, words in (("tokens.npy", "outside whole 0..255"), ("wide.npy", "whole numbers (examples, 1 to 8)")):
        code, _, errors = main(capsys, "predict", tmp_path / "run", tmp_path / name)
        assert code == 3 and words in errors and name in errors
    code, out, _ = main(capsys, "test", tmp_path / "run", "--split", "train")
    assert code == 0 and json.loads(out)["train"]["examples"] == (2800 - 9) // 8 + 1  # windows side by side
    nll = result.figures["test"]["nll"]  # without the smoothing, in the table as in the figure
    table = np.load(tmp_path / "run" / "evaluation.npz")
    assert table["loss"].mean() == pytest.approx(nll, rel=1e-4) and result.figures["test"]["loss"] > nll


def test_arrays_from_python_are_checked_as_files_are(digits):
    with pytest.raises(DataError, match="outside whole 0..255"):
        predict(digits, np.full((1, 8, 8, 1), 0.5))
    with pytest.raises(DataError, match="outside whole 0..255"):
        predict(digits, np.full((1, 8, 8, 1), 300))


def test_a_compiler_that_crashes_is_an_error_in_a_sentence():
    crash = "import os, signal, sys\nfrom jaxnets import cli\nfrom jaxnets.cli import train\n"
    crash += "train.experiment = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)\n"
    crash += "sys.exit(cli.main(['compile', 'configs/digits_mlp.py', '--topology', 'v5e:2x2']))"
    done = subprocess.run([sys.executable, "-c", crash], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "ended by SIGSEGV" in done.stderr and "give another --topology" in done.stderr
