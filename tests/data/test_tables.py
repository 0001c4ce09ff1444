"""Tables: what is read, inferred and fitted; that a row gives the same bits in training and in prediction."""

import json

import numpy as np
import pandas
import polars
import pyarrow
import pytest
from pyarrow import parquet
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from jaxnets import evaluate
from jaxnets.data import Columns, Data, Schema, from_frame, load
from jaxnets.data.table import encoding, fitting
from jaxnets.data.table.source import encode_file

draw = np.random.default_rng(0)


def frame(rows=200):
    """One column of each kind."""
    draw = np.random.default_rng(1)
    return pandas.DataFrame(
        {
            "id": np.arange(rows) + 1,
            "size": np.where(draw.random(rows) < 0.1, np.nan, draw.lognormal(3, 2, rows)),
            "count": draw.integers(0, 9, rows),
            "colour": draw.choice(["red", "green", "blue"], rows),
            "day": pandas.to_datetime("2020-01-01") + pandas.to_timedelta(draw.integers(0, 900, rows), unit="D"),
            "note": [f"{draw.choice(['Mr', 'Mrs'])}. {chr(97 + i % 26)}{i}x{i * 7}" for i in range(rows)],
            "hash": [f"{draw.bytes(6).hex()}" for _ in range(rows)],
            "same": 1.5,
            "price": draw.normal(100, 30, rows).round(3),
        }
    )


@pytest.fixture
def written(tmp_path):
    """{format: path} of the same table."""
    table = frame()
    paths = {suffix: tmp_path / f"t.{suffix}" for suffix in ("csv", "tsv", "parquet", "arrow", "jsonl")}
    table.to_csv(paths["csv"], index=False)
    table.to_csv(paths["tsv"], index=False, sep="\t")
    table.to_parquet(paths["parquet"])
    table.to_json(paths["jsonl"], orient="records", lines=True, date_format="iso")
    with pyarrow.OSFile(str(paths["arrow"]), "wb") as file:
        arrow = pyarrow.Table.from_pandas(table, preserve_index=False)
        with pyarrow.ipc.new_file(file, arrow.schema) as writer:
            writer.write_table(arrow, max_chunksize=64)
    return paths


def data(path, **more):
    return Data(**({"source": f"table:{path}", "target": "price", "batch_size": 16} | more))


def kinds(dataset):
    return {column.name: column.kind for column in dataset.schema.columns}


KINDS = {
    "id": "identifier", "size": "number", "count": "number", "colour": "category", "day": "date", "note": "text",
    "hash": "identifier", "same": "constant",
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "arrow", "jsonl"])
def test_every_format_gives_the_same_rows(written, suffix):
    first, found = load(data(written["csv"])), load(data(written[suffix]))
    assert kinds(found) == KINDS
    for split in ("train", "valid", "test"):
        for name, array in first.splits[split].arrays["inputs"].items():
            np.testing.assert_array_equal(array, found.splits[split].arrays["inputs"][name])
        np.testing.assert_array_equal(first.splits[split].arrays["targets"], found.splits[split].arrays["targets"])


def test_objects_of_python_are_sources(written):
    expected = load(data(written["parquet"])).splits["train"].arrays["inputs"]
    for one in (frame(), polars.from_pandas(frame()), pyarrow.Table.from_pandas(frame(), preserve_index=False)):
        found = load(data("", source=from_frame(one))).splits["train"].arrays["inputs"]
        for name, array in expected.items():
            np.testing.assert_array_equal(array, found[name])
    numbers = draw.normal(size=(50, 3))
    schema = load(Data(source=from_frame(numbers), target="x2", batch_size=4)).schema
    assert schema.feature_names == ("x0", "x1") and schema.target_kind == "real"


def test_many_files_are_one_table_and_names_give_splits(tmp_path):
    table = frame()
    for i in range(4):
        table[i * 50 : (i + 1) * 50].to_csv(tmp_path / f"part{i}.csv", index=False)
    table.to_csv(tmp_path / "whole.csv", index=False)
    whole, parts = load(data(tmp_path / "whole.csv")), load(data(tmp_path / "part*.csv"))
    for name, array in whole.splits["test"].arrays["inputs"].items():
        np.testing.assert_array_equal(array, parts.splits["test"].arrays["inputs"][name])
    assert parts.splits["test"].where(0).startswith("part")
    table[:120].to_parquet(tmp_path / "x_train.parquet")
    table[120:].to_parquet(tmp_path / "x_test.parquet")
    own = load(data(f"{tmp_path}/x_{{train,test}}.parquet", valid=0.25))
    assert dict(own.schema.counts) == {"train": 90, "valid": 30, "test": 80}
    assert own.splits["test"].where(3) == "x_test.parquet, row 3"


def test_scaling_is_scikit_learns():
    x = draw.lognormal(2, 1, 3000)
    new = np.concatenate([x[:50], draw.lognormal(2, 1, 50)])
    table = {"x": pyarrow.array(new)}
    plain = fitting.fit("x", pyarrow.array(x), None, Columns(numbers="standard"))
    expected = StandardScaler().fit(x[:, None]).transform(new[:, None])
    np.testing.assert_allclose(encoding.encode([plain], table, 100)["numbers"], np.clip(expected, -8, 8), rtol=1e-5)
    ranked = fitting.fit("x", pyarrow.array(x), None, Columns())
    scaler = QuantileTransformer(n_quantiles=300, output_distribution="normal", subsample=None).fit(x[:, None])
    assert len(ranked.knots) == 300
    found = encoding.encode([ranked], table, 100)["numbers"]
    inside = (new > x.min()) & (new < x.max())  # what lies at the edge is set to a rank of 1e-4
    expected = np.clip(scaler.transform(new[:, None]), -3.72, 3.72)
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-3)


def test_what_is_planted_in_the_test_split_changes_nothing_that_is_fitted(tmp_path):
    table = frame()
    table.to_csv(tmp_path / "t.csv", index=False)
    before = load(data(tmp_path / "t.csv"))
    row = int(before.splits["test"].rows[0])
    for column, value in {"size": 1e30, "count": 10**9, "colour": "purple", "note": "Mrs purple " * 50}.items():
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
    table.to_csv(tmp_path / "t.csv", index=False)
    after = load(data(tmp_path / "t.csv"))
    assert after.schema.columns == before.schema.columns
    for split in ("train", "valid"):
        for name, array in before.splits[split].arrays["inputs"].items():
            np.testing.assert_array_equal(array, after.splits[split].arrays["inputs"][name])
    moved = [not np.array_equal(a, after.splits["test"].arrays["inputs"][n])
             for n, a in before.splits["test"].arrays["inputs"].items()]  # fmt: skip
    assert any(moved)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_raw_row_gives_the_bits_that_training_saw(written, suffix):
    dataset = load(data(written["csv"]))
    schema = Schema.from_json(json.loads(json.dumps(dataset.schema.to_json())))
    assert schema == dataset.schema
    whole = encode_file(written[suffix], schema)
    rows = evaluate.raw_inputs(frame().to_dict("records")[:7], schema)
    for split in dataset.splits.values():
        for name, array in split.arrays["inputs"].items():
            np.testing.assert_array_equal(array, whole[name][split.rows])
    for name, array in rows.items():
        np.testing.assert_array_equal(array, whole[name][:7])
    one = encoding.encode(schema.columns, pyarrow.Table.from_pandas(frame()[5:6]), 1)
    for name, array in one.items():
        np.testing.assert_array_equal(array, whole[name][5:6])


def test_unseen_and_missing_have_codes_of_their_own(written):
    schema = load(data(written["csv"])).schema
    row = frame()[:1].to_dict("records")[0]
    codes = [
        int(evaluate.raw_inputs([row | {"colour": value}], schema)["categories"][0, 0])
        for value in ("violet", None, *schema.columns[3].values)
    ]
    assert codes == [0, 1, 2, 3, 4]
    assert schema.cardinalities == (5,)


def test_rows_in_words(written):
    dataset = load(data(written["csv"]))
    rows = encoding.decode(dataset.schema.columns, dataset.splits["train"].arrays["inputs"])
    for ours, row in zip(rows[:40], dataset.splits["train"].rows, strict=False):
        theirs = frame().iloc[int(row)]
        assert ours["colour"] == theirs["colour"] and ours["day"] == str(theirs["day"].date())
        if np.isnan(theirs["size"]):
            assert ours["size"] == "missing"
        else:
            assert float(ours["count"]) == pytest.approx(theirs["count"], abs=0.5)


def test_splits_are_scikit_learns_in_order_by_column_and_by_file(tmp_path):
    table = frame()
    table["part"] = np.where(np.arange(200) < 150, "train", np.where(np.arange(200) < 170, "dev", "test"))
    table.to_csv(tmp_path / "t.csv", index=False)
    for seed in range(3):
        _, test = train_test_split(np.arange(200), test_size=0.2, random_state=seed)
        found = load(data(tmp_path / "t.csv", split_by="sklearn", split_seed=seed))
        assert found.splits["test"].rows.tolist() == sorted(test.tolist())
        assert found.splits["valid"].length == 20 and found.splits["train"].length == 140
    ordered = load(data(tmp_path / "t.csv", split_by="order"))
    assert ordered.splits["test"].rows.tolist() == list(range(160, 200))
    assert ordered.splits["valid"].rows.tolist() == list(range(140, 160))
    column = load(data(tmp_path / "t.csv", split_by="column:part"))
    assert dict(column.schema.counts) == {"train": 150, "valid": 20, "test": 30}
    assert kinds(column)["part"] == "drop"
    (tmp_path / "rows.txt").write_text("3\n7\n9\n")
    by_file = load(data(tmp_path / "t.csv", split_by=f"file:{tmp_path / 'rows.txt'}"))
    assert by_file.splits["test"].rows.tolist() == [3, 7, 9]


def test_kinds_can_be_given(tmp_path):
    frame().to_csv(tmp_path / "t.csv", index=False)
    columns = Columns(types=("id:number", "count:category", "note:drop", "day:category"))
    found = kinds(load(data(tmp_path / "t.csv", columns=columns)))
    assert {n: found[n] for n in ("id", "count", "note", "day")} == {
        "id": "number", "count": "category", "note": "drop", "day": "category"
    }  # fmt: skip


def test_what_does_not_fit_into_memory_is_read_from_the_disk(tmp_path, monkeypatch):
    from jaxnets.data.table import reading, stored

    table = frame(3000)
    parquet.write_table(pyarrow.Table.from_pandas(table, preserve_index=False), tmp_path / "t.parquet")
    table.to_csv(tmp_path / "t.csv", index=False)
    expected = load(data(tmp_path / "t.parquet"))
    monkeypatch.setattr(reading, "_IN_MEMORY", 0)
    monkeypatch.setattr(reading, "_ROWS", 256)
    monkeypatch.setattr(reading, "_BLOCK", 20_000)
    for suffix in ("parquet", "csv"):
        found = load(data(tmp_path / f"t.{suffix}"))
        for split, part in expected.splits.items():
            for name, array in part.arrays["inputs"].items():
                there = found.splits[split].arrays["inputs"][name]
                assert isinstance(there, stored.Stored)
                ids = draw.permutation(part.length)[:50]
                np.testing.assert_array_equal(there[ids], array[ids])
                np.testing.assert_array_equal(there[:], array)
