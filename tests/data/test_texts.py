"""Texts with labels: what is read, how it becomes tokens, and that a text gives the same bits in training and later."""

import csv
import json

import numpy as np
import pandas
import pytest
from small import Said, experiment, loop

from jaxnets import evaluate, predictions
from jaxnets.data import Data, Schema, Texts, load
from jaxnets.data.texts import decode, encode, padded
from jaxnets.data.tokenizer import opened
from jaxnets.errors import ConfigError, DataError
from jaxnets.models import TextEncoder
from jaxnets.optim import AdamW
from jaxnets.run import run

GOOD, BAD = ("good", "fine", "lovely", "warm"), ("bad", "dull", "cold", "weak")


def sentences(count=60, seed=0):
    """Texts of three or four words, half of them with a word that says their label."""
    draw = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        words = draw.choice(["a", "the", "film", "plot", '"so"', "it's"], draw.integers(2, 4)).tolist()
        words.insert(int(draw.integers(0, len(words))), str(draw.choice((GOOD, BAD)[i % 2])))
        rows.append((" ".join(words), ("pos", "neg")[i % 2]))
    return rows


def write(path, rows, header=True):
    rows = [("text", "label"), *rows] if header else rows
    if path.suffix == ".tsv":
        path.write_text("".join("\t".join(row) + "\n" for row in rows))
    else:
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows(rows)
    return path


def data(source, **more):
    texts = {"tokenizer": "words", "least": 1} | more.pop("texts", {})
    return Data(**{"source": f"texts:{source}", "context": 12, "batch_size": 16, "texts": Texts(**texts)} | more)


def same(one, other):
    for split, part in one.splits.items():
        for name, array in part.arrays.items():
            np.testing.assert_array_equal(array, other.splits[split].arrays[name])


def test_every_format_gives_the_same_texts(tmp_path):
    rows = sentences()
    expected = load(data(write(tmp_path / "t.csv", rows)))
    assert expected.schema.classes == ("neg", "pos") and dict(expected.schema.counts)["train"] == 42
    frame = pandas.DataFrame(rows, columns=["text", "label"])
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    for path in (write(tmp_path / "t.tsv", rows), tmp_path / "t.parquet", tmp_path / "t.jsonl"):
        same(expected, load(data(path)))
    bare = write(tmp_path / "bare.tsv", rows, header=False)
    same(expected, load(data(bare, target="1", texts={"column": "0", "header": False})))
    with pytest.raises(ConfigError, match="set data.texts.header false"):
        load(data(bare))


def test_files_and_folders_give_splits_and_classes(tmp_path):
    rows = sentences()
    for split, part in (("train", rows[:40]), ("dev", rows[40:50]), ("test", rows[50:])):
        write(tmp_path / f"s_{split}.tsv", part)
        for i, (text, label) in enumerate(part):
            path = tmp_path / "folder" / split / label / f"{i:02}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    files = load(data(f"{tmp_path}/s_{{train,dev,test}}.tsv"))
    assert dict(files.schema.counts) == {"train": 40, "valid": 10, "test": 10}
    assert files.splits["test"].where(3) == "s_test.tsv, row 3"
    same(files, load(data(f"{tmp_path}/s_train.tsv,valid={tmp_path}/s_dev.tsv,test={tmp_path}/s_test.tsv")))
    folder = load(data(tmp_path / "folder"))
    assert folder.schema.classes == ("neg", "pos") and folder.schema.counts == files.schema.counts
    assert folder.splits["test"].where(0) == "test/neg/01.txt, row 0"
    assert sorted(decode(folder.splits["test"].arrays["inputs"], folder.schema)) == sorted(
        decode(files.splits["test"].arrays["inputs"], files.schema)
    )


@pytest.mark.parametrize("kind", ["words", "wordpiece", "bpe", "bytes"])
def test_a_tokenizer_is_fitted_on_the_train_split_and_kept(tmp_path, kind):
    rows = sentences()
    write(tmp_path / "s_train.tsv", rows)
    write(tmp_path / "s_test.tsv", [("Zanzibar " * 50, "pos"), ("a good film", "neg")])
    name = f"{tmp_path}/s_{{train,test}}.tsv"
    dataset = load(data(name, context=40, texts={"tokenizer": kind, "size": 300, "lower": True}))
    schema = Schema.from_json(json.loads(json.dumps(dataset.schema.to_json())))
    assert schema == dataset.schema
    coder = opened(schema.tokenizer)
    assert coder.size + 1 == schema.vocabulary_size
    if kind == "bytes":
        assert schema.tokenizer == ""
    else:
        assert "film" in schema.tokenizer and "zanz" not in schema.tokenizer.lower()
        (capital,), (small,) = coder.encode(["A FILM"]), coder.encode(["a film"])
        assert capital.tolist() == small.tolist()
    if kind in ("bpe", "bytes"):
        assert coder.decode(coder.encode(["a film, née ⚙"])[0]) == "a film, née ⚙"
    # A text alone gives what it gave among others, and in any order.
    texts = [text for text, _ in rows]
    whole, inputs = encode(texts, schema), dataset.splits["train"].arrays["inputs"]
    np.testing.assert_array_equal(whole[dataset.splits["train"].rows], inputs)
    np.testing.assert_array_equal(np.concatenate([encode([text], schema) for text in texts]), whole)
    np.testing.assert_array_equal(encode(whole, schema), whole)
    (tmp_path / "tokenizer.json").write_text(schema.tokenizer)
    if kind != "bytes":
        again = load(data(name, context=40, texts={"tokenizer": str(tmp_path / "tokenizer.json")}))
        same(dataset, again)


def test_long_texts_are_cropped_or_named(tmp_path):
    assert padded([np.arange(5), np.arange(2)], 3).tolist() == [[1, 2, 3], [1, 2, 0]]
    assert padded([np.arange(5)], 3, crop="last").tolist() == [[3, 4, 5]]
    path = write(tmp_path / "t.tsv", [*sentences(), ("a film " * 9, "pos")])
    with pytest.raises(DataError, match=r"t.tsv, row 60: its text has 18 tokens, more than data.context 12"):
        load(data(path, texts={"crop": "never"}))
    kept = load(data(path, texts={"crop": "never"}, on_bad="skip"))
    assert sum(dict(kept.schema.counts).values()) == 60
    with pytest.raises(DataError, match="row 1 of the inputs has 18 tokens"):
        encode(["a", "a film " * 9], kept.schema)


ROWS = "".join(f"{text}\t{label}\n" for text, label in sentences())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.tsv", "text\tlabel\n" + ROWS + "  \tpos\n", "t.tsv, row 60: its text is empty"),
        ("t.tsv", "text\tlabel\n" + ROWS + "a film\t\n", "t.tsv, row 60: it has no label"),
        ("t.tsv", "text\tlabel\n" + ROWS + "a\tb\tpos\n", "row 60: it has 3 values, where the first line has 2"),
        ("t.csv", b"text,label\n\xff\xfe caf\xe9,pos\n", "t.csv, row 0: it is not UTF-8 text; save it as UTF-8"),
        ("t.jsonl", '{"text": "a", "label": "x"}\n{"text": \n', "t.jsonl, row 1: it is no JSON"),
        ("t.jsonl", '{"text": "a", "label": "x"}\n{"label": "x"}\n', "t.jsonl, row 1: it has no 'text'"),
        ("t.jsonl", '{"text": 3, "label": "x"}\n', "t.jsonl, row 0: its text is 3; it must be text"),
        ("t.tsv", "text\tlabel\n" + ROWS.replace("pos", "positive") + "a\tpositve\n", "like 'positive'"),
        ("t.tsv", "text\tlabel\n", "holds no rows"),
        ("t.tsv", "txt\tlabel\n" + ROWS, "data.texts.column 'text' is no column of .*perhaps you meant txt"),
        ("t.tsv", "text\tlable\n" + ROWS, "data.target 'label' is no column of .*perhaps you meant lable"),
        ("t.pdf", "x", "t.pdf is no file of texts; give one that ends in .csv"),
    ],
)
def test_bad_rows_are_named_by_file_and_row(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((DataError, ConfigError), match=words):
        load(data(path, valid=0.0, test=0.0))


def test_bad_rows_are_left_out_as_the_user_chose(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(
        "text\tlabel\n" + ROWS.replace("pos", "positive") + "\tpositive\na film\npositve\ta\tb\nthe plot\tpositve\n"
    )
    found = load(data(path, on_bad="skip", valid=0.0))
    assert found.schema.classes == ("neg", "positive") and sum(dict(found.schema.counts).values()) == 60
    with pytest.raises(DataError, match="bad row number 3, more than the 2"):
        load(data(path, on_bad="skip", most_bad=2))


def test_a_label_that_is_never_learned_is_named(tmp_path):
    write(tmp_path / "s_train.tsv", sentences())
    write(tmp_path / "s_test.tsv", [("a film", "pos"), ("a plot", "neutral")])
    name = f"{tmp_path}/s_{{train,test}}.tsv"
    with pytest.raises(DataError, match=r"s_test.tsv, row 1: label 'neutral' of split test is not in the train split"):
        load(data(name))
    assert load(data(name, on_bad="skip")).splits["test"].length == 1


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"context": None}, ConfigError, "give the tokens of a text"),
        ({"texts": {"tokenizer": "word"}}, ConfigError, "perhaps you meant words"),
        ({"texts": {"tokenizer": "none.json"}}, DataError, "no such tokenizer"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(tmp_path, settings, error, words):
    with pytest.raises(error, match=words):
        load(data(write(tmp_path / "t.tsv", sentences()), **settings))


def test_prediction_on_raw_texts_is_what_evaluation_saw(tmp_path):
    """Its tokens bit for bit, from the run's folder alone: the tokenizer is in it."""
    rows = sentences(400)
    source = write(tmp_path / "t.tsv", rows)
    one = experiment(
        data=data(source, texts={"lower": True}),
        model=TextEncoder(width=8, ngrams=2, buckets=256, word_dropout=0.1),
        optim=AdamW(lr=3e-2),
        loop=loop(steps=80),
    )
    said = Said()
    folder = run(one, tmp_path / "run", progress=said).run_dir
    test = load(one.data).splits["test"]
    texts = [rows[row][0] for row in test.rows]
    saw = np.load(folder / "evaluation.npz")
    found = evaluate.predict(folder, texts)
    schema = evaluate.open_run(folder).schema
    np.testing.assert_array_equal(encode(texts, schema), test.arrays["inputs"])
    np.testing.assert_allclose(found["probabilities"], saw["probabilities"], rtol=1e-6)  # two programs
    assert (saw["class"] == saw["target"]).mean() > 0.9
    assert set(saw["wrong_inputs"][:, 0].tolist()) <= set(decode(test.arrays["inputs"], schema))
    source.unlink()
    new = write(tmp_path / "new.csv", [(text, "") for text in texts])
    predictions.predict_files(folder, [new], out=tmp_path / "p.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [line["p(pos)"] for line in lines] == found["probabilities"][:, 1].astype(float).tolist()
    with pytest.raises(DataError, match="row 1 of the inputs is ''"):
        evaluate.predict(folder, ["a film", ""])
