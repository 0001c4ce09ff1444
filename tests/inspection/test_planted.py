"""Every fault that is planted into a table is found, with the rows concerned; clean data has none."""

import dataclasses
import io
import re

import numpy as np
import pandas
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet
from small import experiment

from jaxnets import inspection
from jaxnets.admission import admit_data
from jaxnets.data import Data, load
from jaxnets.errors import ConfigError, DataError
from jaxnets.inspection import columns, damage, drift, duplicates, giveaway, neighbours

ROWS = 400


def clean(seed=0):
    """A class that five numbers and a category tell, not perfectly."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(ROWS, 5))
    table = pandas.DataFrame({f"x{i}": x[:, i].round(4) for i in range(5)})
    table["colour"] = draw.choice(["red", "green", "blue"], ROWS)
    score = 3 * x[:, 0] - 2 * x[:, 1] + (table["colour"] == "red") + draw.normal(size=ROWS)
    table["class"] = np.where(score > 0, "yes", "no")
    table["price"] = (100 + 20 * score).round(2)
    return table


def seen(table, folder, **more):
    """(the data's config, what the checks look at)."""
    path = folder / "t.csv"
    table.to_csv(path, index=False)
    more = {"target": "class", "batch_size": 16} | more
    other = "price" if more["target"] == "class" else "class"
    if other in table:
        table.drop(columns=other).to_csv(path, index=False)
    config = Data(source=f"table:{path}", **more)
    return config, inspection.view(load(config), config)


def found(check, view, name):
    """The one finding of that name."""
    (one,) = (finding for finding in check(view) if finding.check == name)
    return one


def rows_of(finding):
    return {int(number) for words in finding.rows for number in re.findall(r"row (\d+)", words)}


def test_a_clean_table_has_nothing(tmp_path):
    assert inspection.thorough(seen(clean(), tmp_path)[1]) == []
    assert inspection.thorough(seen(clean(), tmp_path, target="price")[1]) == []


@pytest.mark.parametrize("source", ["digits", "wine", "breast_cancer", "diabetes"])
def test_the_embedded_sets_have_nothing(source):
    config = Data(source=source)
    assert inspection.thorough(inspection.view(load(config), config)) == []


def test_duplicates_contradictions_and_leakage(tmp_path):
    table = clean()
    copied = pandas.concat([table, table[:200]], ignore_index=True)
    config, view = seen(copied, tmp_path)
    leak = next(one for one in duplicates.leaked(view) if "test split" in one.words)
    assert leak.severity == "error"
    for words in leak.rows:
        first, second = (int(number) for number in re.findall(r"row (\d+)", words))
        assert abs(first - second) == ROWS
    train, test = (set(load(config).splits[name].rows.tolist()) for name in ("train", "test"))
    assert leak.count == sum((row + ROWS in train or row - ROWS in train) for row in test)
    again = found(duplicates.repeated, view, "duplicates")
    assert again.severity == "warning" and all(abs(np.diff([*map(int, re.findall(r"row (\d+)", w))])) == ROWS
                                               for w in again.rows)  # fmt: skip
    copied.loc[ROWS:, "class"] = copied.loc[ROWS:, "class"].map({"yes": "no", "no": "yes"})
    view = seen(copied, tmp_path)[1]
    odd = found(duplicates.repeated, view, "contradiction")
    assert odd.count == found(duplicates.repeated, view, "duplicates").count > 10


def test_coarse_rows_that_repeat_by_chance_are_none(tmp_path):
    draw = np.random.default_rng(0)
    table = pandas.DataFrame({"a": draw.integers(0, 3, 500), "b": draw.choice(["x", "y"], 500)})
    table["class"] = np.where(draw.random(500) < 0.5, "yes", "no")
    view = seen(table, tmp_path)[1]
    assert duplicates.leaked(view) == [] and duplicates.repeated(view) == []


def test_near_duplicates_across_splits(tmp_path):
    table = clean()
    copies = table[:60].copy()
    copies[[f"x{i}" for i in range(5)]] += 2e-4
    near = found(neighbours.near_duplicates, seen(pandas.concat([table, copies]), tmp_path)[1], "near-duplicates")
    for words in near.rows:
        first, second = (int(number) for number in re.findall(r"row (\d+)", words))
        assert abs(first - second) == ROWS
    assert near.count >= 5


def test_a_column_that_gives_the_target_away(tmp_path):
    table = clean()
    table["alive"] = table["class"].map({"yes": "alive", "no": "dead"})
    told = found(giveaway.given_away, seen(table, tmp_path)[1], "give-away")
    assert (told.severity, told.column) == ("error", "alive")
    table["alive"] = np.where(table["class"] == "yes", 5.0, -5.0) + np.random.default_rng(1).random(ROWS)
    told = found(giveaway.given_away, seen(table, tmp_path)[1], "give-away")
    assert (told.severity, told.column) == ("warning", "alive")
    table["alive"] = table["price"] * 1.19 + 3
    told = found(giveaway.given_away, seen(table, tmp_path, target="price")[1], "give-away")
    assert (told.severity, told.column) == ("error", "alive")


def test_columns_of_no_use_holes_and_outliers(tmp_path):
    table = clean()
    table["number"] = np.arange(ROWS) + 7
    table["same"] = 3.0
    table.loc[10:39, "x2"] = np.nan
    table.loc[5, "x3"] = 1e6
    table.loc[100:139, "x4"] = -9999
    view = seen(table, tmp_path)[1]
    assert {(one.check, one.column) for one in columns.useless(view)} == {
        ("identifier", "number"),
        ("constant", "same"),
    }
    hole = found(columns.holes, view, "missing values")
    assert hole.column == "x2" and rows_of(hole) == set(range(10, 40))
    far = {one.column: one for one in columns.outliers(view)}
    assert set(far) == {"x3", "x4"} and rows_of(far["x3"]) == {5} and rows_of(far["x4"]) == set(range(100, 140))


def test_heavy_tails_are_no_outliers():
    draw = np.random.default_rng(0)
    for x in (draw.lognormal(0, 1, 5000), draw.exponential(size=5000), draw.standard_t(4, 5000), draw.random(50)):
        assert not columns.outlying(x).any()


def test_tiny_rare_and_unlearnt_classes(tmp_path):
    table = clean()
    table.loc[[3, 50, 90, 200], "class"] = "perhaps"
    tiny = found(inspection.classes.balance, seen(table, tmp_path)[1], "tiny class")
    assert "perhaps" in tiny.words and rows_of(tiny) <= {3, 50, 90, 200} and tiny.count == len(tiny.rows)
    table = clean()
    table["class"] = np.where(np.arange(ROWS) < 17, "no", "yes")
    assert "class no" in found(inspection.classes.balance, seen(table, tmp_path)[1], "imbalance").words
    table = clean()
    table.loc[390:, "class"] = "late"
    late = found(inspection.classes.unlearnt, seen(table, tmp_path, split_by="order")[1], "unlearnt class")
    assert rows_of(late) == set(range(390, 400))


def test_drift_between_train_and_test(tmp_path):
    table = clean()
    table["x1"] += np.arange(ROWS) / 100
    table.loc[320:, "colour"] = "red"
    told = {one.column: one.words for one in drift.drift(seen(table, tmp_path, split_by="order")[1])}
    assert set(told) == {"x1", "colour"}
    assert drift.drift(seen(table, tmp_path, split_by="random")[1]) == []


def test_drift_is_measured_as_scipy_does():
    from scipy.stats import chi2_contingency, ks_2samp

    draw = np.random.default_rng(0)
    first, second = draw.normal(size=300), draw.normal(0.3, 1, 200)
    assert drift.numbers("x", first, second).p == pytest.approx(ks_2samp(first, second, method="asymp").pvalue)
    first, second = draw.integers(0, 3, 300).astype(float), draw.integers(0, 3, 200).astype(float)
    table = [[(part == kind).sum() for kind in range(3)] for part in (first, second)]
    assert drift.categories("x", first, second).p == pytest.approx(chi2_contingency(table).pvalue)


def test_wrong_labels_are_found(tmp_path):
    draw = np.random.default_rng(0)
    centre = np.repeat([[-3.0], [3.0]], 200, axis=0)
    table = pandas.DataFrame(centre + draw.normal(size=(400, 4)), columns=list("abcd"))
    table["class"] = np.repeat(["left", "right"], 200)
    wrong = draw.choice(400, 16, replace=False)
    table.loc[wrong, "class"] = table.loc[wrong, "class"].map({"left": "right", "right": "left"})
    config, view = seen(table, tmp_path)
    planted = set(wrong.tolist()) & set(load(config).splits["train"].rows.tolist())
    named = rows_of(found(neighbours.label_noise, view, "label noise"))
    assert named <= planted and len(named) >= 0.6 * len(planted)


def test_pictures_that_cannot_be_read(tmp_path):
    draw = np.random.default_rng(0)
    encoded = []
    for _ in range(40):
        buffer = io.BytesIO()
        Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8)).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    encoded[3], encoded[30] = b"", encoded[30][:40]
    parquet.write_table(pyarrow.table({"image": encoded, "label": [i % 2 for i in range(40)]}), tmp_path / "p.parquet")
    config = Data(source=f"images:{tmp_path / 'p.parquet'}", standardize=False)
    view = inspection.view(load(config), config)
    broken = damage.damaged(view)
    assert {row for one in broken for row in rows_of(one)} == {3, 30} and broken[0].severity == "error"


def test_a_training_stops_at_errors_unless_told_otherwise(tmp_path):
    table = clean()
    table["alive"] = table["class"].map({"yes": "alive", "no": "dead"})
    table.loc[10:39, "x2"] = np.nan
    config, _ = seen(table, tmp_path)
    one = experiment(data=config)
    with pytest.raises(DataError, match=r"give-away: column alive is the target(.|\n)*--data.checks tell"):
        admit_data(one)
    told = []
    admit_data(experiment(data=dataclasses.replace(config, checks="tell")), say=told.append)
    assert len(told) == 1 and told[0].startswith("error    give-away")  # a note is for `jaxnets data`
    admit_data(experiment(data=dataclasses.replace(config, checks="off")), say=told.append)
    assert len(told) == 1
    with pytest.raises(ConfigError, match="data.checks 'of' is not allowed"):
        admit_data(experiment(data=dataclasses.replace(config, checks="of")))
