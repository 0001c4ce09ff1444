"""Hugging Face data sets, without a network: pictures, tables, splits, what cannot be used."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxnets.data import Data, Images, evaluation_batches, from_arrays, from_hf, load
from jaxnets.errors import ConfigError, DataError
from jaxnets.inspection import check

datasets = pytest.importorskip("datasets", reason="the extra hf is not installed")
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value  # noqa: E402


def png(number):
    file = io.BytesIO()
    Image.fromarray(np.full((6, 6, 3), number, np.uint8)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def pictures(numbers, *, change=lambda number, value: value):
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=["even", "odd"])})
    rows = {"image": [change(n, png(n)) for n in numbers], "label": [n % 2 for n in numbers]}
    return Dataset.from_dict(rows, features=features)


def config(source, **more):
    return Data(source=source, images=Images(size=4), batch_size=4, workers=2, **more)


def test_pictures_are_decoded_while_training_and_keep_their_splits():
    source = from_hf(DatasetDict({"train": pictures(range(20)), "test": pictures(range(50, 56))}))
    dataset = load(config(source))
    check(dataset, batch_size=4)
    assert dict(dataset.schema.counts) == {"train": 18, "valid": 2, "test": 6}
    assert dataset.schema.classes == ("even", "odd") and len(dataset.schema.files) == 2
    batches = list(evaluation_batches(dataset.splits["test"], 6, workers=2))
    assert batches[0]["inputs"][:, 0, 0, 0].tolist() == list(range(50, 56))
    assert batches[0]["targets"].tolist() == [0, 1] * 3 and dataset.splits["test"].where(2) == "test, row 2"
    assert from_hf(DatasetDict({"train": pictures(range(20)), "test": pictures(range(50, 56))})) == source


def test_a_picture_that_is_none_is_named_by_split_and_row():
    broken = pictures(range(20), change=lambda n, value: {"bytes": b"%PDF", "path": None} if n == 7 else value)
    with pytest.raises(DataError, match="train, row 7: not a readable image"):
        load(config(from_hf(DatasetDict({"train": broken}))))
    dataset = load(config(from_hf(DatasetDict({"train": broken})), on_bad="skip"))
    batches = [batch for split in dataset.splits.values() for batch in evaluation_batches(split, 20, workers=0)]
    assert sum(int(batch["weight"].sum()) for batch in batches) == 19


def test_columns_are_a_table_with_the_names_of_its_classes():
    features = Features({"size": Value("float64"), "colour": Value("string"), "kind": ClassLabel(names=["ape", "bee"])})
    rows = {"size": np.linspace(0, 1, 40), "colour": ["red", "blue"] * 20, "kind": [0, 1, 1, 0] * 10}
    dataset = load(Data(source=from_hf(Dataset.from_dict(rows, features=features)), batch_size=4))
    check(dataset, batch_size=4)
    assert dataset.schema.classes == ("ape", "bee") and dataset.schema.feature_names == ("size", "colour")
    split = dataset.splits["train"]
    assert split.arrays["targets"].tolist() == [rows["kind"][row] for row in split.rows]
    real = load(Data(source=from_hf(Dataset.from_dict(rows, features=features)), target="size", batch_size=4))
    assert real.schema.target_kind == "real"


def test_what_cannot_be_used_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    rows = {"x": list(range(8)), "y": [0.5] * 8}
    cases = [
        (lambda: f"hf:{tmp_path}/empty", {}, DataError, "empty cannot be opened"),
        (lambda: from_hf(Dataset.from_dict(rows)), {}, ConfigError, "data.target is none, .* the columns x, y"),
        (lambda: from_hf(Dataset.from_dict(rows)), {"target": "z"}, ConfigError, "data.target z is no column"),
        (
            lambda: from_hf(DatasetDict({"other": Dataset.from_dict(rows)})),
            {},
            DataError,
            "must have examples in train",
        ),
        (lambda: from_hf(Dataset.from_dict({"x": [[1]] * 8, "y": [0, 1] * 4})), {"target": "y"}, DataError, "column x"),
        (lambda: from_hf(rows), {}, DataError, "a dict is no Dataset"),
    ]
    for source, more, error, words in cases:
        with pytest.raises(error, match=words):
            load(Data(source=source(), batch_size=4, **more))
    unlabelled = pictures(range(8)).remove_columns("label").add_column("label", [0, 1, -1, 0, 1, 0, 1, 0])
    with pytest.raises(DataError, match="row 2: label -1 is no class"):
        load(config(from_hf(unlabelled)))


def test_the_library_is_asked_for_by_its_extra_and_never_unasked():
    code = (
        "import sys\nfrom jaxnets.data import Data, load\nload(Data(source='wine'))\n"
        "assert 'datasets' not in sys.modules\nsys.modules['datasets'] = None\n"
        "try:\n    load(Data(source='hf:some/name'))\nexcept Exception as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert (
        'datasets is needed to read Hugging Face data sets and is not installed; run: pip install "jaxnets[hf]"' in said
    )


def test_arrays_of_a_data_set_go_by_numpy():
    """What a table cannot hold, a sequence can."""
    part = Dataset.from_dict({"x": np.eye(8).tolist(), "y": [0, 1] * 4}).with_format("numpy")
    dataset = load(Data(source=from_arrays(x=part["x"][:], y=part["y"][:])))
    assert dataset.schema.input_shape == (8,)
