"""A few words among numbers are missing values, told by name; more of them are what they seem to be."""

import re

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnets.data import Columns, Data, load
from jaxnets.data.table import fitting, strays, targets
from jaxnets.data.table.reading import NULLS
from jaxnets.data.table.source import encode_file
from jaxnets.draft import find, outline
from jaxnets.errors import DataError
from jaxnets.inspection import cheap


def table(path, rows=200, words=(), targets=(), at=0):
    """Columns x and z of numbers and a target y = 3 x; `words` and `targets` stand in rows from `at` on instead."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=rows).round(3)
    column, goal = [str(v) for v in x], [str(round(3 * v, 3)) for v in x]
    column[at : at + len(words)], goal[at : at + len(targets)] = words, targets
    lines = [f"{a},{b},{z}" for a, b, z in zip(column, goal, draw.normal(size=rows).round(2), strict=True)]
    path.write_text("\n".join(["x,y,z", *lines]) + "\n")
    return path


def config(path, **more):
    return Data(source=f"table:{path}", target="y", batch_size=16, **more)


@settings(deadline=None)
@given(
    numbers=st.lists(st.floats(-1e6, 1e6).map(lambda v: repr(v).replace("e+", "e")), max_size=40),
    words=st.lists(st.text("abn/1?x- ", min_size=1).filter(lambda w: not re.fullmatch(r" *-?1* *", w)), max_size=6),
)
def test_each_value_is_a_number_or_a_word_or_missing(numbers, words):
    column = pyarrow.array([*numbers, *words, None], pyarrow.string())
    found = strays.read(column)
    np.testing.assert_array_equal(found.numbers[: len(numbers)], np.array(numbers, float))
    assert np.isnan(found.numbers[len(numbers) :]).all()
    told = {word.strip() for word in words} - set(NULLS)
    assert {column[int(place)].as_py().strip() for place in found.places} == told


@pytest.mark.parametrize(
    "count, kind", [(0, "number"), (1, "number"), (10, "number"), (11, "category"), (50, "category")]
)
def test_one_in_twenty_may_be_a_word(count, kind):
    column = pyarrow.array([str(v % 40 + 0.5) for v in range(200 - count)] + ["unknown"] * count)
    found = fitting.fit("x", column, None, Columns())
    assert found.kind == kind and found.strays == (("unknown",) if kind == "number" and count else ())


def test_words_are_taken_as_missing_are_told_and_may_be_others_later(tmp_path):
    words = ["unknown", "n/a1", "unknown", "?"]
    dataset = load(config(table(tmp_path / "t.csv", words=words), split_by="order"))
    column = dataset.schema.columns[0]
    assert column.kind == "number" and column.missing and column.strays == ("unknown", "n/a1")
    assert column.reason == "numbers, but for 3 of 139 values ('unknown', 'n/a1'), taken as missing"
    told = [one for one in cheap(dataset, config(tmp_path / "t.csv", split_by="order")) if one.check == "stray words"]
    assert len(told) == 1 and "column x is numbers, but for 3 of 139" in told[0].words and told[0].severity == "note"
    blank = load(config(table(tmp_path / "blank.csv", words=[""] * 4), split_by="order"))
    for split in ("train", "valid", "test"):
        for name, array in dataset.splits[split].arrays["inputs"].items():
            np.testing.assert_array_equal(array, blank.splits[split].arrays["inputs"][name])
    raw = encode_file(table(tmp_path / "new.csv", rows=5, words=["never seen"]), dataset.schema)
    assert raw["flags"][:, 0].tolist() == [1, 0, 0, 0, 0]


def test_a_word_that_training_never_saw_is_still_told_by_its_row(tmp_path):
    path = table(tmp_path / "t.csv", words=["oops"], at=190)
    with pytest.raises(DataError, match=r"t.csv, row 190, column x: 'oops' is not a number, as the train rows are"):
        load(config(path, split_by="order", columns=Columns(types=("x:number",))))


def test_kinds_that_are_given_stay_as_they_are(tmp_path):
    path = table(tmp_path / "t.csv", words=["unknown"])
    with pytest.raises(DataError, match=r"row 0, column x: 'unknown' is not a number; correct it"):
        load(config(path, split_by="order", columns=Columns(types=("x:number",))))
    dataset = load(config(path, split_by="order", columns=Columns(types=("x:category",))))
    assert dataset.schema.columns[0].kind == "category"


def test_a_target_of_numbers_with_a_few_words_lacks_them(tmp_path):
    path = table(tmp_path / "t.csv", targets=["unknown", "", "12 kg"])
    with pytest.raises(
        DataError, match=r"t.csv, row 0: target y is 'unknown', where others are numbers \(3 of 200 rows"
    ):
        load(config(path))
    dataset = load(config(path, on_bad="skip"))
    assert dataset.schema.target_kind == "real" and sum(dict(dataset.schema.counts).values()) == 197
    assert load(config(path, columns=Columns(types=("y:category",)), on_bad="skip")).schema.target_kind == "class"
    drawn = outline(find(str(path), as_table=True), target="y").experiment.data
    assert drawn.on_bad == "skip" and drawn.most_bad == 3


def test_classes_that_are_numbers_and_a_word_stay_classes():
    table = pyarrow.table({"y": ["0", "1", "2"] * 40 + ["unknown"]})
    assert targets.read(table, ("y",), {}, ()).classes == ("0", "1", "2", "unknown")
