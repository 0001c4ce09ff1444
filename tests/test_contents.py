"""`jaxnets data`: its counts against the arrays, its pictures against the augmentation of the step."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from small import experiment, photograph
from test_report import Checker

from jaxnets import cli, contents, data
from jaxnets.data import Crop, Cutout, Data, Flip, Mixup
from jaxnets.models import CNN, GPT
from jaxnets.tasks import LanguageModelling, Regression


def digits(*augment):
    return experiment(data=Data(source="digits", batch_size=32, augment=augment), model=CNN(channels=(4,), hidden=8))


def text(folder):
    (folder / "t.txt").write_text("to be <b>or</b> not to be\n" * 60)
    return experiment(
        data=Data(source=f"text:{folder / 't.txt'}", batch_size=4, context=16),
        model=GPT(context=16, width=8, depth=1, heads=2),
        task=LanguageModelling(),
    )


def main(capsys, *words):
    code = cli.main([str(word) for word in words])
    out, errors = capsys.readouterr()
    return code, out, errors


def test_counts_of_classes_in_each_split_are_those_of_the_arrays():
    dataset = data.load(Data(source="digits"))
    head, examples, *classes = contents.counted(dataset)
    assert head == ("", "train", "valid", "test") and len(classes) == 10
    for column, split in enumerate(("train", "valid", "test"), 1):
        labels = dataset.splits[split].arrays["targets"].tolist()
        assert [int(row[column]) for row in classes] == [labels.count(n) for n in range(10)]
        assert int(examples[column].replace(",", "")) == len(labels)


def test_fitted_moments_are_those_of_the_train_split():
    dataset = data.load(Data(source="wine"))
    inputs = dataset.splits["train"].arrays["inputs"].astype(np.float64)
    _, *rows = contents.moments(dataset.schema)
    assert [row[0] for row in rows] == list(dataset.schema.feature_names)
    assert [float(row[1]) for row in rows] == pytest.approx(inputs.mean(axis=0), rel=1e-5)
    assert [float(row[2]) for row in rows] == pytest.approx(inputs.std(axis=0), rel=1e-5)


def test_without_augmentation_after_is_before():
    one = digits()
    found = contents.examples(one, data.load(one.data))
    train = data.load(one.data).splits["train"].arrays
    assert len(found) == 16
    for example in found:
        np.testing.assert_array_equal(example.before, train["inputs"][example.number])
        np.testing.assert_array_equal(example.after, example.before)  # standardised and back, exact in uint8
        assert example.target == train["targets"][example.number]


def test_flips_and_crops_are_seen_in_the_source_own_values():
    one = digits(Flip())
    found = contents.examples(one, data.load(one.data))
    mirrored = [np.array_equal(e.after, e.before[:, ::-1]) for e in found]
    same = [np.array_equal(e.after, e.before) for e in found]
    assert all(a or b for a, b in zip(mirrored, same, strict=True)) and any(mirrored) and any(same)
    one = digits(Cutout(size=4))
    dataset = data.load(one.data)
    mean = round(dataset.schema.input_mean[0] * 255)
    for example in contents.examples(one, dataset):
        changed = example.after != example.before
        assert (example.after[changed] == mean).all()  # what is cut out is the mean of the train split


def test_mixed_labels_are_told_by_their_parts(tmp_path):
    one = digits(Mixup(alpha=1.0))
    contents.show(contents.of_config(one), html=tmp_path / "sheet.html")
    shares = re.findall(r"(\d+)% (\d) \+ (\d+)% (\d)", (tmp_path / "sheet.html").read_text())
    assert len(shares) > 4 and all(99 <= int(a) + int(c) <= 101 for a, _, c, _ in shares)


@pytest.mark.parametrize("kind", ["images", "rows", "real", "text"])
def test_the_sheet_is_one_well_formed_page_with_what_belongs_to_it(kind, tmp_path, capsys):
    one = {
        "images": digits(Crop(padding=1)),
        "rows": experiment(),
        "real": experiment(data=Data(source="diabetes", batch_size=32), task=Regression()),
        "text": text(tmp_path),
    }[kind]
    out = tmp_path / "sheet.html"
    contents.show(contents.of_config(one), html=out)
    page, told = out.read_text(), capsys.readouterr().out
    shown = {
        "images": ["channel 0", "class 7", "augmented", "data:image/png;base64,"],
        "rows": ["malic_acid", "class class_1"],
        "real": ["mean target", "target target", "bmi"],
        "text": ["different tokens", "window"],
    }[kind]
    assert all(words in page for words in shown) and one.data.source in told
    assert all(words in told for words in shown[:1])
    if kind == "text":
        assert "&lt;b&gt;or" in page
    checker = Checker()
    checker.feed(page)
    assert not checker.open and all(link.startswith("data:") for link in checker.links) and "<script" not in page


def test_pictures_are_the_examples(tmp_path):
    one = digits(Crop(padding=1))
    contents.show(contents.of_config(one), html=tmp_path / "sheet.html")
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', (tmp_path / "sheet.html").read_text())
    first = contents.examples(one, data.load(one.data))[0]
    for encoded, pixels in zip(pictures[:2], (first.before, first.after), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))), pixels[..., 0])


def test_the_command_takes_settings_of_the_config(capsys):
    code, out, _ = main(capsys, "data", "configs/digits_cnn.py", "--data.test", "0.5")
    assert code == 0 and re.search(r"examples +\d+ +\d+ +898", out)  # half of 1797, rounded to even
    code, out, _ = main(capsys, "data", "configs/wine_mlp.py")
    assert code == 0 and "malic_acid" in out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["configs/digits_cnn.py", "--html", "sheet.pdf"], 2, "ends in .html"),
        (["configs/digits_cnn.py", "--html", "nowhere/sheet.html"], 2, "in a folder that is there"),
        (["configs/digits_cnn.py", "--target", "x"], 2, "--target x is said by a config"),
        (["digit"], 2, "perhaps you meant digits"),
        (["digits", "--target", "x"], 2, "--target x is for tables"),
        (["configs/digits_cn.py"], 2, "perhaps you meant configs/digits_cnn.py"),
        (["configs/digits_cnn.py", "--data.source", "digit"], 2, "perhaps you meant digits"),
        (["configs/digits_cnn.py", "--data.source", "wine"], 2, "model cnn takes images"),
        (["configs/shakespeare_gpt.py", "--data.source", "text:nothing.txt"], 3, "there is no such file"),
    ],
)
def test_mistakes_are_told(words, code, told, capsys):
    found, out, errors = main(capsys, "data", *words)
    assert found == code and told in errors and not out


def table(folder):
    draw = np.random.default_rng(0)
    rows = [f"{i},{draw.normal():.4f},{draw.choice(['red', '<b>'])},{draw.choice(['yes', 'no'])}" for i in range(200)]
    rows[7] = "7,1e9,red,yes"
    (folder / "t.csv").write_text("number,size,colour,bought\n" + "\n".join(rows) + "\n")
    return folder / "t.csv"


def test_a_table_is_looked_at_with_and_without_a_target(tmp_path, capsys):
    path = table(tmp_path)
    code, out, errors = main(capsys, "data", path, "--html", tmp_path / "t.html")
    assert code == 0 and "give --target COLUMN" in out and re.search(r"bought +category", out), errors
    code, out, _ = main(capsys, "data", path, "--target", "bought", "--json")
    found = json.loads(out)
    assert code == 0 and found["counts"]["examples"] == {"train": "140", "valid": "20", "test": "40"}
    named = {one["name"]: one for one in found["columns"]}
    assert named["size"]["range"][2] == 1e9 and sum(named["size"]["counts"]) == 200
    assert sum(named["colour"]["common"].values()) == 200 and named["number"]["kind"] == "identifier"
    (far,) = (one for one in found["findings"] if one["check"] == "outliers")
    assert far["rows"] == ["t.csv, row 7"] and far["column"] == "size" and far["severity"] == "warning"
    code, out, _ = main(capsys, "data", path, "--data.target", "bought", "--html", tmp_path / "t.html")
    page = (tmp_path / "t.html").read_text()
    assert all(
        words in page for words in ("t.csv, row 7", "&lt;b&gt;", 'class="upright"', "Classes", "of the train split")
    )
    checker = Checker()
    checker.feed(page)
    assert not checker.open and "<script" not in page


def test_a_real_browser_finds_no_error(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium here")
    contents.show(contents.of_config(digits(Crop(padding=1))), html=tmp_path / "sheet.html")
    said = photograph(browser, tmp_path / "sheet.html", tmp_path / "page.png")
    assert "CONSOLE" not in said and (tmp_path / "page.png").stat().st_size > 20_000, said[-2000:]
