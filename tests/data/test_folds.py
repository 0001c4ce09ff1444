"""Folds: every row is tested exactly once, each class evenly, always the same; what cannot be folded is refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnets import config
from jaxnets.config import Experiment
from jaxnets.data import Data, load
from jaxnets.data.partition import folds_of
from jaxnets.data.table.splitting import split_by
from jaxnets.errors import ConfigError, DataError
from jaxnets.inspection import check
from jaxnets.loop import Loop


@settings(deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), folds=st.integers(2, 12), seed=st.integers(0, 2**31 - 1)
)
def test_folds_and_their_classes_differ_by_at_most_one_row(sizes, folds, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    found = folds_of(labels, folds, seed=seed)
    assert set(found.tolist()) <= set(range(folds))
    assert np.ptp(np.bincount(found, minlength=folds)) <= 1
    for kind, size in enumerate(sizes):
        inside = np.bincount(found[labels == kind], minlength=folds)
        assert inside.sum() == size and np.ptp(inside) <= 1
    np.testing.assert_array_equal(found, folds_of(labels, folds, seed=seed))


def data(name="wine", **more):
    return Data(source=name, batch_size=16, **more)


@pytest.mark.parametrize(("name", "folds"), [("wine", 5), ("wine", 2), ("diabetes", 7)])
def test_every_row_is_in_one_test_fold_and_in_one_split_of_each(name, folds):
    tested = []
    for fold in range(folds):
        dataset = load(data(name, folds=folds, fold=fold))
        check(dataset, batch_size=16)
        rows = {split: part.rows for split, part in dataset.splits.items()}
        together = np.sort(np.concatenate(list(rows.values())))
        np.testing.assert_array_equal(together, np.arange(len(together)))
        assert len(rows["valid"]) == round(0.1 * len(together))
        tested.append(rows["test"])
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), np.arange(len(together)))
    assert np.ptp([len(rows) for rows in tested]) <= 1


def test_classes_are_as_even_in_each_fold_as_whole_rows_allow():
    parts = [load(data(folds=5, fold=fold)).splits["test"].arrays["targets"] for fold in range(5)]
    counts = np.stack([np.bincount(part, minlength=3) for part in parts])
    assert counts.sum(axis=0).tolist() == [59, 71, 48] and np.ptp(counts, axis=0).max() <= 1


def test_folds_are_the_same_again_and_move_with_their_seed():
    one, again, other = (
        load(data(folds=5, fold=1, split_seed=seed)).splits["test"].rows.tolist() for seed in (0, 0, 1)
    )
    assert one == again and one != other
    plain = load(data()).splits
    assert {name: len(part.rows) for name, part in plain.items()} == {"train": 124, "valid": 18, "test": 36}


def test_what_cannot_be_folded_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"data.folds 49 are more than the 48 rows of class class_2; give at most 48"):
        load(data(folds=49))
    assert load(data(folds=48)).splits["test"].length in (3, 4)
    with pytest.raises(ConfigError, match=r"data.folds 500 are more than the 442 rows of the source"):
        load(data("diabetes", folds=500))
    (tmp_path / "t.txt").write_text("words " * 100)
    with pytest.raises(ConfigError, match=r"t.txt is one text.*--seeds"):
        load(Data(source=f"text:{tmp_path / 't.txt'}", context=4, folds=3))
    from test_sources import png, write_parquet

    monkeypatch.setenv("JAXNETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    write_parquet(tmp_path / "s_train.parquet", [png(i) for i in range(40)], [i % 2 for i in range(40)])
    assert load(data("parquet:s", folds=4, fold=3)).splits["test"].length == 10
    write_parquet(tmp_path / "s_test.parquet", [png(100 + i) for i in range(6)], [i % 2 for i in range(6)])
    with pytest.raises(ConfigError, match=r"parquet:s has a test split of its own.*leave data.folds out"):
        load(data("parquet:s", folds=4))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"folds": 1}, "data.folds 1 is not allowed; give a whole number of at least 2"),
        ({"folds": 5, "fold": 5}, "data.fold 5 is not one of the 5 folds; give 0 to 4"),
        ({"fold": 2}, "data.fold 2 says nothing without data.folds"),
        ({"folds": 5, "fold": -1}, "data.fold -1 is not allowed"),
        ({"folds": 2, "valid": 0.5}, "leave nothing to train on"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_by_name(fields, words):
    with pytest.raises(ConfigError, match=words):
        config.check(Experiment(data=Data(**fields), loop=Loop(steps=10)))


def test_groups_of_a_table_are_left_out_whole_and_their_column_is_not_learned_from(tmp_path):
    """Sizes 7, 5, 3, 2, 1 are dealt as 7 + 2 and 5 + 3 + 1 rows: the largest first, to the fold that has fewest."""
    groups = [name for name, size in zip("abcde", (7, 5, 3, 2, 1), strict=True) for _ in range(size)]
    lines = [f"{group},{number % 5}.5,{number % 2}" for number, group in enumerate(groups)]
    (tmp_path / "t.csv").write_text("\n".join(["who,x,y", *lines]))
    how = {"target": "y", "split_by": "group:who", "folds": 2, "valid": 0.2}
    parts = [load(data(f"table:{tmp_path / 't.csv'}", fold=fold, **how)) for fold in range(2)]
    tested = [sorted({groups[row] for row in part.splits["test"].rows}) for part in parts]
    assert tested == [["a", "d"], ["b", "c", "e"]] and parts[0].schema.feature_names == ("x",)
    for part in parts:
        by = {name: {groups[row] for row in split.rows} for name, split in part.splits.items()}
        assert part.splits["test"].length == 9 and not by["valid"] & by["train"] and by["valid"] and by["train"]
        rows = np.concatenate([split.rows for split in part.splits.values()])
        np.testing.assert_array_equal(np.sort(rows), np.arange(18))
    (tmp_path / "t.csv").write_text("\n".join(["who,x,y", *lines, ",1.5,0"]))
    with pytest.raises(DataError, match="row 18 has no who; fill it in"):
        load(data(f"table:{tmp_path / 't.csv'}", **how))


@settings(deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=3, max_size=12),
    valid=st.sampled_from([0.0, 0.05, 0.2, 0.45]), test=st.sampled_from([0.0, 0.1, 0.3, 0.5]),
    folds=st.sampled_from([None, 2, 3]), seed=st.integers(0, 2**31 - 1),
)  # fmt: skip
def test_no_group_stands_in_two_splits(sizes, valid, test, folds, seed):
    """And each split that is asked for holds its share, up to the last group it took, where groups are enough."""
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(str).tolist()
    config = Data(valid=valid, test=test, folds=folds, split_by="group:who", split_seed=seed)
    try:
        rows = split_by(config, len(groups), lambda name: groups)
    except ConfigError as error:
        assert folds is not None and valid and "leaves one group" in str(error)
        return
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(len(groups)))
    by = {split: {groups[row] for row in ids} for split, ids in rows.items()}
    assert not by["train"] & by["valid"] and not by["train"] & by["test"] and not by["valid"] & by["test"]
    assert by["train"] and bool(by["valid"]) == (valid > 0) and bool(by["test"]) == (test > 0 or folds is not None)
    if len(by["train"]) > 1:  # else what it holds is all that is left
        assert len(rows["valid"]) >= valid * len(groups)
    assert len(rows["valid"]) < valid * len(groups) + max(sizes)
    other = dataclasses.replace(config, valid=0.0)
    if folds is None and len(by["train"]) > 1:
        np.testing.assert_array_equal(rows["test"], split_by(other, len(groups), lambda name: groups)["test"])


def test_groups_that_are_too_few_for_the_splits_are_refused():
    with pytest.raises(ConfigError, match="has 2 groups for 3 splits, each of groups of its own; give another"):
        split_by(Data(split_by="group:who"), 4, lambda name: ["a", "a", "b", "b"])
    rows = split_by(Data(split_by="group:who", valid=0.0), 4, lambda name: ["a", "a", "b", "b"])
    assert len(rows["train"]) == len(rows["test"]) == 2 and not len(rows["valid"])
    with pytest.raises(ConfigError, match="fold 1 leaves one group, a, to train and to validate on; give more folds"):
        split_by(Data(split_by="group:who", folds=2, fold=1), 6, lambda name: list("aaabbc"))
