"""`jaxnets init`: what it concludes from a file, what it writes, and that this trains as it is."""

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from jaxnets import cli, config, draft
from jaxnets.config import Experiment
from jaxnets.data import Crop, Data, Flip
from jaxnets.draft import labels
from jaxnets.models import CNN, GPT, AudioResNet, ResNet9, TwoTower, UNet
from jaxnets.optim import AdamW
from jaxnets.tasks import Classification, Contrastive, LanguageModelling, MultiLabel, Regression, Segmentation


def people(rows=120):
    draw = np.random.default_rng(0)
    table = pandas.DataFrame(
        {
            "id": np.arange(rows) + 1,
            "age": draw.integers(1, 90, rows).astype(float),
            "sex": draw.choice(["male", "female"], rows),
            "name": [f"{draw.choice(['Mr', 'Mrs'])}. {chr(97 + i % 26)}{i}" for i in range(rows)],
            "born": pandas.to_datetime("1990-01-01") + pandas.to_timedelta(draw.integers(0, 900, rows), unit="D"),
            "fare": draw.lognormal(3, 1, rows).round(2),
            "same": "x",
            "empty": None,
        }
    )
    table["class"] = draw.choice(["first", "second", "third"], rows)
    table["survived"] = ((table["sex"] == "female") ^ (draw.random(rows) < 0.2)).astype(int)
    table.loc[4, "age"] = np.nan
    return table


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people().to_csv("people.csv", index=False)


def main(capsys, *words):
    code = cli.main([str(word) for word in words])
    out, errors = capsys.readouterr()
    return code, out, errors


def written(path, **how):
    """(the experiment that the file gives, the one that was concluded, the text); the two are equal."""
    out, drawn = draft.write(str(path), **{"target": None, "out": None, "force": True, **how})
    found = config.load(out)
    assert found == drawn.experiment
    return found, drawn, out.read_text()


def test_a_table_becomes_a_config_that_trains_with_no_edit(capsys):
    code, out, errors = main(capsys, "init", "people.csv", "--target", "survived")
    assert code == 0 and "jaxnets train configs/people.py" in out, errors
    text = Path("configs/people.py").read_text()
    assert "2 classes: 0 (" in text and "identifiers id" in text and "texts       name" in text
    code, out, errors = main(capsys, "train", "configs/people.py", "--loop.epochs", "none", "--loop.steps", "60")
    assert code == 0, errors
    assert json.loads(Path("runs/people/result.json").read_text())["test"]["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("target", "task", "monitor"),
    [("survived", Classification, "nll"), ("class", Classification, "nll"), ("fare", Regression, "rmse")],
)
def test_the_target_says_the_task(target, task, monitor):
    found, drawn, text = written("people.csv", target=target)
    assert type(found.task) is task and found.loop.monitor == monitor and found.data.target == target
    assert drawn.title.startswith(f"people: {target} from") and f'target="{target}"' in text


def tagged(rows=120):
    """Films with their genres, in one column and in three of 0 and 1; two have none that are known."""
    draw = np.random.default_rng(1)
    flags = draw.random((rows, 3)) < 0.4
    flags[:, 0] |= ~flags.any(axis=1)
    genres = ["|".join(np.array(["comedy", "drama", "war"])[row]) for row in flags]
    table = pandas.DataFrame({"length": draw.normal(size=rows) + flags[:, 2], "year": draw.integers(1950, 2020, rows)})
    for index, name in enumerate(("comedy", "drama", "is, war")):
        table[name] = flags[:, index].astype(int)
    return table, pandas.Series(genres)


def test_labels_in_one_column_are_seen(capsys):
    table, genres = tagged()
    genres[[3, 7]] = None
    table.iloc[:, :2].assign(genres=genres).to_csv("films.csv", index=False)
    found, drawn, text = written("films.csv", target="genres")
    assert type(found.task) is MultiLabel and found.data.columns.types == ("genres:labels",)
    assert (
        (found.data.on_bad, found.data.most_bad) == ("skip", 2) and "3 labels, " in text and " a row: comedy (" in text
    )
    code, out, errors = main(capsys, "train", "configs/films.py", "--loop.epochs", "none", "--loop.steps", "5")
    assert code == 0, errors
    assert 0 <= json.loads(Path("runs/films/result.json").read_text())["test"]["exact"] <= 1


def test_columns_of_flags_are_labels_and_columns_of_numbers_are_learned_together():
    table, genres = tagged()
    table.to_csv("films.csv", index=False)
    found, drawn, text = written("films.csv", target='comedy,drama,"is, war"')
    assert type(found.task) is MultiLabel and found.data.target == 'comedy,drama,"is, war"'
    assert "3 labels, " in text and len(drawn.experiment.data.columns.types) == 0
    found, _, _ = written("films.csv", target="length,year")
    assert type(found.task) is Regression and found.data.target == "length,year"


@pytest.mark.parametrize(
    "texts, is_one", [(["a|b", "b", "a"], True), (["a|b", "c|d", "e|f"], False), (["a", "b", "c"], False)]
)
def test_texts_with_separators_are_labels_where_labels_come_again(texts, is_one):
    assert labels.listed(pyarrow.array(texts * 9)) == is_one
    assert not labels.listed(pyarrow.array([f"{text}, number {i}" for i, text in enumerate(texts * 9)]))


def test_a_folder_of_pictures_and_masks_becomes_a_segmentation(tmp_path):
    draw = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "cells" / kind).mkdir(parents=True)
    for number in range(12):
        mask = np.zeros((30, 34), np.uint8)
        mask[number : number + 9, 5:20] = 255
        pixels = draw.integers(0, 120, (30, 34, 3)).astype(np.uint8) + mask[..., None] // 2
        Image.fromarray(pixels).save(tmp_path / "cells" / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "cells" / "masks" / f"{number}.png")
    found, drawn, text = written("cells")
    assert type(found.task) is Segmentation and isinstance(found.model, UNet) and found.loop.monitor == "miou"
    assert found.data.augment == (Flip(),) and "classes 2: background, foreground" in " ".join(text.split())
    assert drawn.title == "cells: the class of each pixel of a picture, from 9 files."


@pytest.mark.skipif(not shutil.which("ruff"), reason="ruff is not installed")
def test_what_is_written_is_as_ruff_wants_it(tmp_path):
    table = people()
    names = {f'a long name of a column of this table {i} \\ "quoted"': table["age"] + i for i in range(12)}
    table = table.assign(**names, **{"it's": table["survived"].map({0: 'no "way"', 1: "it's"})})
    deep = tmp_path / ("a folder of a long name " * 4) / "of tables"
    deep.mkdir(parents=True)
    table.to_csv(deep / "My Table.csv", index=False)
    written(deep / "My Table.csv", target="it's")
    written("people.csv", target="fare")
    (tmp_path / "t.txt").write_text("to be or not to be\n" * 300)
    written("t.txt")
    for words in (
        ["check", "--select", "E,F,I,B,UP,SIM", "--line-length", "120"],
        ["format", "--check", "--line-length", "120"],
    ):
        done = subprocess.run(["ruff", *words, "--isolated", "configs"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_any_experiment_is_written_so_that_it_reads_back(tmp_path):
    one = Experiment(
        data=Data(source="a'b\"c", augment=(Crop(padding=2), Flip())), optim=AdamW(clip_norm=1.0, ema_decay=0.9), seed=3
    )
    path = tmp_path / "x.py"
    path.write_text(draft.python(one, title='"""quoted\\', lines=["a b"], reasons={"seed": "as\nit is"}))
    assert config.load(path) == one


def test_text_becomes_a_language_model(tmp_path):
    (tmp_path / "poem.txt").write_text("to be or not to be, that is the question\n" * 200)
    found, drawn, _ = written("poem.txt")
    assert type(found.task) is LanguageModelling and isinstance(found.model, GPT)
    assert found.data.source == "text:poem.txt" and found.data.context == found.model.context


def pictures(path, rows, *, mode="L", side=8):
    draw, images = np.random.default_rng(rows), []
    for _ in range(rows):
        buffer = io.BytesIO()
        Image.fromarray(draw.integers(0, 255, (side, side, 3), np.uint8)).convert(mode).save(buffer, "PNG")
        images.append(buffer.getvalue())
    parquet.write_table(pyarrow.table({"image": images, "label": [i % 3 for i in range(rows)]}), path)


def test_parquet_files_with_pictures_become_a_classifier(tmp_path):
    pictures(tmp_path / "digits_train.parquet", 60)
    pictures(tmp_path / "digits_test.parquet", 20)
    found, _, text = written("digits_train.parquet")
    assert found.data.source == "parquet:digits" and isinstance(found.model, CNN) and "Crop" in text
    pictures(tmp_path / "same_train.parquet", 60)
    pictures(tmp_path / "same_test.parquet", 60)  # the very same ones
    found, drawn, text = written("same_train.parquet")
    assert found.data.checks == "tell" and drawn.findings[0].check == "leakage" and "error     leakage" in text
    pictures(tmp_path / "one.parquet", 60, mode="RGB", side=20)
    found, _, _ = written("one.parquet")
    assert found.data.source == "images:one.parquet" and found.data.images.size == 32


def test_splits_and_folders_are_seen(tmp_path):
    table = people()
    for name, part in (("train", table[:90]), ("val", table[90:100]), ("test", table[100:])):
        part.to_csv(tmp_path / f"p_{name}.csv", index=False)
    found, _, _ = written("p_train.csv", target="survived")
    assert found.data.source == "table:p_{train,val,test}.csv"
    (tmp_path / "parts").mkdir()
    for i in range(2):
        table[i * 60 : i * 60 + 60].to_csv(tmp_path / "parts" / f"{i}.csv", index=False)
    found, _, _ = written("parts", target="survived")
    assert found.data.source == "table:parts/*.csv"
    table["split"] = ["train"] * 80 + ["valid"] * 20 + ["test"] * 20
    table.to_csv("s.csv", index=False)
    assert written("s.csv", target="survived")[0].data.split_by == "column:split"


def test_rows_without_a_target_and_columns_that_are_it_are_left_out():
    table = people()
    table["alive"] = table["survived"].map({0: "no", 1: "yes"})
    table["survived"] = table["survived"].astype(object)
    table.loc[[3, 8], ["survived", "alive"]] = None
    table.to_csv("p.csv", index=False)
    found, drawn, text = written("p.csv", target="survived")
    assert (found.data.on_bad, found.data.most_bad) == ("skip", 2)
    assert found.data.columns.types == ("alive:drop",) and "give the target away" in text


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["poeple.csv"], 2, "poeple.csv is no file or folder; perhaps you meant people.csv"),
        (["people.csv"], 2, "give --target COLUMN"),
        (["people.csv", "--target", "surived"], 2, "is no column of table:people.csv; perhaps you meant survived"),
        (["people.csv", "--target", "id"], 2, "--target id is an identifier"),
        (["people.csv", "--target", "same"], 2, "--target same is always 'x'"),
        (["people.csv", "--target", "empty"], 2, "no row of table:people.csv has a value there"),
        (["people.csv", "--target", "name"], 2, "--target name is a"),
        (["people.csv", "--target", "born"], 2, "--target born is a date"),
        (
            ["people.csv", "--target", "fare,sex"],
            2,
            "row 0: target sex: 'female' is not a number; columns that are learned",
        ),
        (["people.csv", "--target", "fare,sexx"], 2, "--target 'sexx' is no column of table:people.csv"),
        (["people.csv", "--target", "fare", "--out", "x.txt"], 2, "give a file that ends in .py"),
        (["people.csv", "--target", "fare", "--out", "there.py"], 2, "there.py is there already; write over it"),
        (["x.bin"], 2, "a .bin is not known; give a table"),
        (["none"], 2, "none holds no file that is known"),
        (["short.txt"], 2, "a text to learn from has"),
        (["long.txt", "--target", "x"], 2, "--target 'x' is no column"),
        (["ragged.csv", "--target", "a"], 3, "ragged.csv, row 1 has 3 values"),
        (["header.csv", "--target", "a"], 2, "holds no rows"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(words, code, told, tmp_path, capsys):
    people().drop(columns="class").to_csv("people.csv", index=False)
    (tmp_path / "there.py").write_text("")
    (tmp_path / "x.bin").write_bytes(b"1")
    (tmp_path / "none").mkdir()
    (tmp_path / "short.txt").write_text("short")
    (tmp_path / "long.txt").write_text("a,b\n1,2\n")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    (tmp_path / "header.csv").write_text("a,b\n")
    found, out, errors = main(capsys, "init", *words)
    assert found == code and told in errors and not out, errors
    assert not (tmp_path / "configs").exists() and (tmp_path / "there.py").read_text() == ""


@pytest.mark.slow
@pytest.mark.skipif("JAXNETS_DATA" not in os.environ, reason="JAXNETS_DATA does not name the data sets")
def test_titanic_from_the_raw_file(capsys):
    assert main(capsys, "init", "titanic.csv", "--target", "Survived")[0] == 0
    accuracies = []
    for seed in range(5):
        folder = f"runs/{seed}"
        words = ["--run-dir", folder, "--data.split_by", "sklearn", "--data.split_seed", seed]
        assert main(capsys, "train", "configs/titanic.py", *words)[0] == 0
        accuracies.append(json.loads(Path(f"{folder}/result.json").read_text())["test"]["accuracy"])
    assert np.mean(accuracies) >= 0.75, accuracies


def of_classes(folder, write):
    """Six small files in each of two folders."""
    for number in range(12):
        place = folder / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        write(place / str(number), np.random.default_rng(number))


def test_a_folder_of_pictures_becomes_a_classifier_and_a_page(tmp_path, capsys):
    def picture(path, draw):
        Image.fromarray(draw.integers(0, 255, (30, 34, 3), np.uint8)).save(f"{path}.png")

    of_classes(tmp_path / "My pets", picture)
    found, drawn, text = written("My pets")
    assert found.data.source == "images:My pets" and found.data.images.size == 32 and isinstance(found.model, ResNet9)
    assert "classes 2: a, b" in " ".join(text.split()) and type(found.task) is Classification
    code, out, errors = main(capsys, "data", "My pets", "--data.images.size", "8", "--html", "pets.html")
    assert code == 0 and "one of 2 classes" in out, errors
    assert Path("pets.html").read_text().count('<img alt="example') == 2 * 9
    (tmp_path / "My pets" / "a" / "0.png").write_bytes(b"%PDF")
    code, _, errors = main(capsys, "init", "My pets", "--out", "x.py")
    assert code == 3 and "a/0.png: not a readable image" in errors and not Path("x.py").exists()


def test_a_table_of_pictures_and_texts_becomes_two_towers_and_a_page(tmp_path, capsys):
    lines = []
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 255, (30, 34, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        lines += [f'{number}.png,"A dog, number {number}."', f"{number}.png,one more of {number}"]
    (tmp_path / "photos.csv").write_text("\n".join(["image,caption", *lines]))
    found, drawn, text = written("photos.csv")
    assert found.data.source == "pairs:photos.csv" and found.data.texts.column == "caption"
    assert isinstance(found.model, TwoTower) and isinstance(found.task, Contrastive)
    assert (found.data.images.size, found.data.context) == (32, 4)
    assert drawn.title == "photos: which of 40 texts goes with which of 20 pictures (image)."
    more = ("--data.texts.column", "caption", "--data.images.size", "8")
    code, out, errors = main(capsys, "data", "pairs:photos.csv", *more, "--html", "photos.html")
    assert code == 0 and "which text goes with which image" in out and "different images" in out, errors
    page = Path("photos.html").read_text()
    assert page.count('<img alt="example') == 2 * 16 and "one more of" in page
    assert draft.find("photos.csv", as_table=True).kind == "table"


def test_a_folder_of_sounds_becomes_a_classifier_and_a_page(tmp_path, capsys):
    soundfile = pytest.importorskip("soundfile")

    def sound(path, draw):
        soundfile.write(f"{path}.wav", 0.1 * draw.normal(size=1500), 8000)

    of_classes(tmp_path / "words", sound)
    found, drawn, _ = written("words")
    assert found.data.source == "audio:words" and isinstance(found.model, AudioResNet)
    assert (found.data.audio.rate, found.data.audio.seconds) == (8000, 0.2)
    assert drawn.title == "words: the class of a sound, from 9 files."
    code, out, errors = main(capsys, "data", "words", "--data.audio.rate", "8000", "--html", "words.html")
    assert code == 0 and "one of 2 classes" in out, errors
    assert Path("words.html").read_text().count('<img alt="samples of example') == 9
