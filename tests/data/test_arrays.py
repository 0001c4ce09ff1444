"""Arrays and sequences from Python and from files of NumPy: what is learned from them, what is refused."""

import os
import pickle

import numpy as np
import pytest

from jaxnets.data import Data, evaluation_batches, from_arrays, from_sequence, load
from jaxnets.data.arrays import source as arrays
from jaxnets.errors import DataError
from jaxnets.inspection import check

DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(size=(60, 3)).astype(np.float32)
PICTURES = DRAW.integers(0, 256, (60, 6, 5), dtype=np.uint8)
LABELS = np.arange(60) % 3


def whole(dataset):
    """(inputs, targets) by their rows in the source."""
    parts = dataset.splits.values()
    rows = np.concatenate([part.rows for part in parts])
    batches = [batch for part in parts for batch in evaluation_batches(part, part.length, workers=0)]
    found = [np.concatenate([batch[name] for batch in batches]) for name in ("inputs", "targets")]
    return [array[np.argsort(rows)] for array in found]


def test_arrays_become_classes_of_pictures():
    dataset = load(Data(source=from_arrays(images=PICTURES, labels=np.array(["ape", "bee", "cat"])[LABELS])))
    check(dataset, batch_size=16)
    schema = dataset.schema
    assert (schema.input_kind, schema.input_shape, schema.input_dtype) == ("image", (6, 5, 1), "uint8")
    assert schema.classes == ("ape", "bee", "cat") and dict(schema.counts) == {"train": 42, "valid": 6, "test": 12}
    inputs, targets = whole(dataset)
    np.testing.assert_array_equal(inputs[..., 0], PICTURES)
    np.testing.assert_array_equal(targets, LABELS)
    train = PICTURES[dataset.splits["train"].rows] / 255
    np.testing.assert_allclose((*schema.input_mean, *schema.input_std), (train.mean(), train.std()), rtol=1e-12)
    assert load(Data(source=from_arrays(images=PICTURES, labels=LABELS))).schema.fingerprint != schema.fingerprint


def test_arrays_keep_their_splits_names_and_numbers():
    parts = {"x_train": ROWS[:40], "y_train": LABELS[:40] + 5, "x_test": ROWS[40:], "y_test": LABELS[40:] + 5}
    dataset = load(Data(source=from_arrays(parts, feature_names=["a", "b", "c"])))
    assert dict(dataset.schema.counts) == {"train": 36, "valid": 4, "test": 20}
    assert dataset.schema.classes == ("5", "6", "7") and dataset.schema.feature_names == ("a", "b", "c")
    np.testing.assert_array_equal(dataset.splits["test"].arrays["inputs"], ROWS[40:])
    assert dataset.splits["test"].where(3).endswith(" x_test, row 3")
    values = load(Data(source=from_arrays(x=ROWS, y=ROWS[:, :2].astype(np.float64))))
    assert values.schema.target_kind == "real" and values.schema.target_names == ("y0", "y1")
    np.testing.assert_array_equal(whole(values)[1], ROWS[:, :2])


def test_whole_numbers_for_every_pixel_are_masks():
    masks = PICTURES // 64
    masks[:, 0] = 255
    dataset = load(Data(source=from_arrays(images=PICTURES, masks=masks)))
    check(dataset, batch_size=16)
    assert dataset.schema.target_kind == "mask" and dataset.schema.classes == ("0", "1", "2", "3")
    np.testing.assert_array_equal(whole(dataset)[1], masks)


def test_a_file_npz_and_a_folder_of_npy_hold_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    np.savez_compressed(tmp_path / "set.npz", x=ROWS, y=LABELS, classes=["a", "b", "c"])
    (tmp_path / "set").mkdir()
    for name, array in (("inputs", ROWS), ("labels", LABELS), ("classes", np.array(["a", "b", "c"]))):
        np.save(tmp_path / "set" / f"{name}.npy", array)
    one, two = (load(Data(source=f"arrays:{name}")) for name in ("set.npz", "set"))
    for first, second in zip(whole(one), whole(two), strict=True):
        np.testing.assert_array_equal(first, second)
    assert one.schema.classes == two.schema.classes == ("a", "b", "c") and dict(one.schema.files).keys() == {"set.npz"}


def test_what_stays_in_its_file_is_what_would_be_in_memory(monkeypatch):
    source = from_arrays(x=ROWS.astype(np.float64), y=LABELS)
    expected = load(Data(source=source))
    monkeypatch.setattr(arrays, "_IN_MEMORY", 0)
    found = load(Data(source=source))
    check(found, batch_size=16)
    assert found.splits["train"].reader is not None and found.schema == expected.schema
    for first, second in zip(whole(found), whole(expected), strict=True):
        np.testing.assert_array_equal(first, second)


def test_rows_in_a_file_that_are_no_numbers_stop_or_count_nothing(monkeypatch):
    rows = ROWS.copy()
    rows[7, 1] = np.nan
    source = from_arrays(x=rows, y=LABELS)
    with pytest.raises(DataError, match="row 7, feature x1: nan"):
        check(load(Data(source=source)), batch_size=16)
    monkeypatch.setattr(arrays, "_IN_MEMORY", 0)
    with pytest.raises(DataError, match="row 7: NaN or infinity; mend"):
        whole(load(Data(source=source)))
    parts = load(Data(source=source, on_bad="skip")).splits.values()
    batches = [batch for part in parts for batch in evaluation_batches(part, part.length, workers=2)]
    assert sum(int((batch["weight"] == 0).sum()) for batch in batches) == 1


class Squares:
    """What a data set of another library looks like."""

    def __init__(self, fails=None):
        self.fails, self.asked = fails, []

    def __len__(self):
        return 30

    def __getitem__(self, index):
        self.asked.append(index)
        if index == self.fails:
            raise OSError("the disk is gone")
        return {"image": np.full((4, 4, 3), index, np.uint8), "label": index % 2}


def test_a_sequence_is_asked_once_for_each_item():
    items = Squares()
    dataset = load(Data(source=from_sequence(items)))
    assert items.asked == list(range(30)) and dataset.schema.input_shape == (4, 4, 3)
    inputs, targets = whole(dataset)
    np.testing.assert_array_equal(inputs[:, 0, 0, 0], range(30))
    np.testing.assert_array_equal(targets, np.arange(30) % 2)
    pairs = [(ROWS[i], float(i)) for i in range(30)]
    assert load(Data(source=from_sequence(pairs))).schema.target_kind == "real"


@pytest.mark.parametrize(
    "items, words",
    [
        (Squares(fails=4), "item 4 of the sequence fails with OSError: the disk is gone"),
        ([], "holds no examples"),
        ({"inputs": ROWS}, "a dict is no sequence"),
        ("text", "a str is no sequence"),
        ([(ROWS[0], 1), (ROWS[0, :2], 1)], r"item 1 of the sequence is float32 \(2,\) .* unlike item 0"),
        ([(PICTURES[0], 1), (PICTURES[0] / 255, 1)], "item 1 of the sequence is float64"),
        ([(ROWS[0], 1), ROWS[0]], "item 1 of the sequence is a ndarray; give"),
        ([{"inputs": ROWS[0]}], "item 0 of the sequence names inputs; give"),
        ([("text", 1)], "item 0 of the sequence has inputs of <U4"),
        ([(ROWS[0], None)] * 4, "targets holds objects"),
    ],
)
def test_sequences_that_cannot_be_learned_from(items, words):
    with pytest.raises(DataError, match=words):
        from_sequence(items)


BAD = [
    ({"x": ROWS}, "has x but no targets"),
    ({"x": ROWS, "y": LABELS[:50]}, r"x holds 60 examples, but its targets are \(50,\)"),
    ({"x": ROWS, "inputs": ROWS, "y": LABELS}, "two arrays of inputs: inputs and x"),
    ({"x_test": ROWS, "y_test": LABELS}, "give arrays of a train split, or of no split"),
    ({"x": ROWS, "y": LABELS, "x_test": ROWS, "y_test": LABELS}, "give arrays of a train split, or of no"),
    ({"x_train": ROWS, "y_train": LABELS, "x_test": ROWS[:, :2], "y_test": LABELS}, "unlike|make them equal"),
    ({"x_train": ROWS, "y_train": LABELS, "x_test": ROWS, "y_test": LABELS + 1}, "y_test, row 2: class 3 is not in"),
    ({"x": ROWS, "y": LABELS, "classes": ["a", "b"]}, "y, row 2: 2 is none of the classes 0..1"),
    (
        {"x": ROWS, "y": np.array(["a", "b", "x"])[LABELS], "classes": ["a", "b"]},
        "row 2: x is none of the classes a, b",
    ),
    ({"x": ROWS, "y": np.zeros(60, int)}, "y is always 0; nothing is to learn"),
    ({"x": ROWS, "y": np.arange(60)}, "60 different int64 values in 60 rows, too many to be classes"),
    ({"x": ROWS, "y": np.zeros((60, 2), int)}, r"y is int64 \(60, 2\); give one class"),
    ({"x": PICTURES, "masks": PICTURES * 0}, "masks holds 0 to 0; give class numbers"),
    ({"x": PICTURES, "masks": PICTURES[:, 1:] % 3}, r"masks of \(5, 5\) for inputs of \(6, 5, 1\)"),
    ({"x": PICTURES, "masks": PICTURES % 3, "classes": ["a", "b"]}, "masks holds 0 to 2; give"),
    ({"x": ROWS, "y": np.zeros(60, complex)}, "y is complex128"),
    ({"x": ROWS.astype(str), "y": LABELS}, "x holds <U32; inputs must be numbers"),
    ({"x": ROWS[:0], "y": LABELS[:0]}, "x holds no examples"),
    ({"x": np.float32(3), "y": LABELS}, "x holds no examples"),
    ({"x": ROWS, "y": LABELS, "feature_names": ["a"]}, "1 feature_names for 3 features"),
    ({"x": ROWS, "y": LABELS, "classes": [1, 2, 3]}, "classes is int64"),
]


@pytest.mark.parametrize("given, words", BAD, ids=[words for _, words in BAD])
def test_arrays_that_cannot_be_learned_from(given, words):
    with pytest.raises(DataError, match=words):
        load(Data(source=from_arrays(given)))


def test_names_and_objects_are_refused_before_anything_is_written():
    with pytest.raises(DataError, match="arrays called 'xs' say nothing"):
        from_arrays(xs=ROWS)
    with pytest.raises(DataError, match="y holds objects; give numbers"):
        from_arrays(x=ROWS, y=np.array([None] * 60))
    with pytest.raises(DataError, match="x holds examples of several shapes"):
        from_arrays(x=[np.zeros(2), np.zeros(3)], y=[0, 1])


class Harm:
    def __reduce__(self):
        return (os.mkdir, ("harm",))


def test_files_that_are_damaged_or_hold_objects_are_refused_and_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("objects.npz", x=np.array([Harm()]), y=LABELS)
    np.savez("good.npz", x=ROWS, y=LABELS)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Harm()))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:-200])
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save("one.npy", ROWS)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "names").mkdir()
    np.save("names/history.npy", ROWS)
    cases = {
        "objects.npz": "objects.npz cannot be read: it holds Python objects",
        "pickle.npz": "pickle.npz cannot be read: it holds Python objects",
        "cut.npz": "cut.npz cannot be read: .*write it again",
        "empty.npz": "empty.npz cannot be read",
        "one.npy": "one.npy is one array alone; give its folder",
        "nothing": "nothing is no file .npz and no folder",
        "names": "holds an array 'history', which says nothing",
        "nowhere.npz": "there is no such file or folder here or in JAXNETS_DATA",
    }
    for name, words in cases.items():
        with pytest.raises(DataError, match=words):
            load(Data(source=f"arrays:{name}"))
    assert not (tmp_path / "harm").exists()
