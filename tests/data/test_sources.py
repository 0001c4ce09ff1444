"""Sources: what is read, how it is split, what is fitted, what is refused; over all of the built-in sets."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from jaxnets.data import Data, Schema, load, preprocess
from jaxnets.data.cache import prepared
from jaxnets.data.schema import Dataset
from jaxnets.errors import ConfigError, DataError, MissingExtra
from jaxnets.inspection import check

REFERENCE = {
    "digits": datasets.load_digits,
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": lambda: datasets.load_diabetes(scaled=False),
}
ALL = [*REFERENCE, "python_text"]


def config(name, **more):
    return Data(source=name, context=16 if name == "python_text" else None, batch_size=16, **more)


def rows(dataset):
    parts = [dataset.splits[name].arrays for name in ("train", "valid", "test")]
    inputs = np.concatenate([part["inputs"] for part in parts])
    targets = np.concatenate([part["targets"].reshape(len(part["targets"]), -1) for part in parts])
    flat = np.concatenate([inputs.reshape(len(inputs), -1), targets], axis=1).astype(np.float64)
    return flat[np.lexsort(flat.T)]


@pytest.mark.parametrize("name", REFERENCE)
def test_the_rows_are_scikit_learns(name):
    expected = REFERENCE[name]()
    scale = 255 / 16 if name == "digits" else 1.0
    inputs = expected.data * scale
    flat = np.concatenate([np.round(inputs) if name == "digits" else inputs, expected.target[:, None]], axis=1)
    flat = flat.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(rows(load(config(name))), flat[np.lexsort(flat.T)])
    if name in ("breast_cancer", "wine"):
        schema = load(config(name)).schema
        assert list(schema.feature_names) == list(expected.feature_names)
        assert list(schema.classes) == list(expected.target_names)


@pytest.mark.parametrize("name", ALL)
def test_the_contract_of_every_source(name):
    dataset = load(config(name))
    check(dataset, batch_size=16)
    assert Schema.from_json(dataset.schema.to_json()) == dataset.schema
    assert dict(dataset.schema.counts) == {split: part.length for split, part in dataset.splits.items()}
    assert load(config(name)).schema == dataset.schema  # the same again
    assert dataset.schema.fingerprint and dataset.schema.files


@pytest.mark.parametrize("name", ["digits", "wine"])
def test_splits_are_disjoint_stratified_and_move_with_their_seed(name):
    one, two = load(config(name)), load(config(name, split_seed=1))
    total = sum(part.length for part in one.splits.values())
    assert one.splits["test"].length == round(0.2 * total) and one.splits["valid"].length == round(0.1 * total)
    assert rows(one).shape[0] == total  # with the test above: every row of the source, none twice
    assert not np.array_equal(one.splits["test"].arrays["inputs"], two.splits["test"].arrays["inputs"])
    whole = np.bincount(np.concatenate([part.arrays["targets"] for part in one.splits.values()])) / total
    for part in one.splits.values():
        share = np.bincount(part.arrays["targets"], minlength=len(whole)) / part.length
        assert np.abs(share - whole).max() < 1.0 / part.length + 1e-9  # within one example


def test_text_splits_follow_each_other_and_do_not_overlap(tmp_path):
    text = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes()
    (tmp_path / "t.txt").write_bytes(text)
    dataset = load(Data(source=f"text:{tmp_path / 't.txt'}", context=10, batch_size=4))
    parts = [dataset.splits[name].arrays["tokens"].tobytes() for name in ("test", "train", "valid")]
    assert b"".join(parts) == text and [len(part) for part in parts] == [1000, 3500, 500]
    for split in dataset.splits.values():
        start = int(split.row(split.length - 1))
        last = split.arrays["tokens"][(split.length - 1) * split.stride :][:11]
        assert text[start : start + 11] == last.tobytes()
        assert split.where(0).endswith(f"byte {int(split.row(0))}")
    with pytest.raises(DataError, match="split test is empty"):
        check(load(Data(source=f"text:{tmp_path / 't.txt'}", context=10, test=0.0)), batch_size=4)


@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_preprocessing_is_a_scaler_fitted_on_the_train_split_alone(name):
    dataset = load(config(name))
    scaler = StandardScaler().fit(dataset.splits["train"].arrays["inputs"].astype(np.float64))
    raw = dataset.splits["test"].arrays["inputs"]
    np.testing.assert_allclose(preprocess(dataset.schema, raw), scaler.transform(raw), rtol=1e-4, atol=1e-4)
    plain = load(config(name, standardize=False))
    np.testing.assert_array_equal(preprocess(plain.schema, raw), raw)


def test_two_processes_prepare_at_once(tmp_path):
    code = "from jaxnets.data import Data, load\nprint(load(Data(source='wine')).schema.fingerprint)\n"
    environment = {**os.environ, "JAXNETS_CACHE": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) for _ in range(3)]
    found = {process.communicate()[0] for process in both}
    assert all(process.returncode == 0 for process in both) and len(found) == 1
    assert [path.name for path in (tmp_path / "builtin").iterdir() if path.name.startswith(".")] == []


def test_a_preparation_that_fails_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNETS_CACHE", str(tmp_path))

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        prepared("some/set", fail)
    assert list((tmp_path / "some").iterdir()) == []


def test_a_damaged_array_record_is_named_and_not_trained_on(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNETS_CACHE", str(tmp_path))
    before = load(config("wine")).schema
    record = next(tmp_path.rglob("*array_record*"))
    content = bytearray(record.read_bytes())
    content[len(content) // 2] ^= 1
    record.write_bytes(content)
    with pytest.raises(DataError, match=f"{record.name} is damaged; delete the folder"):
        load(config("wine"))
    shutil.rmtree(tmp_path / "builtin")
    assert load(config("wine")).schema == before  # prepared again, it is the same data


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("digts", ConfigError, "perhaps you meant digits"),
        ("csv:x", ConfigError, "csv is no kind of source"),
        ("tfds:no_such_set", ConfigError, "tfds:no_such_set cannot be found"),
        ("parquet:nowhere", DataError, "there is no nowhere_train.parquet here or in JAXNETS_DATA"),
        ("text:nowhere.txt", DataError, "there is no such file"),
    ],
)
def test_a_source_that_is_not_there_says_what_to_do(source, error, words):
    with pytest.raises(error, match=words):
        load(Data(source=source, context=8))


def test_a_catalogue_set_that_is_not_prepared_names_the_extra(monkeypatch, tmp_path):
    if importlib.util.find_spec("tensorflow"):
        pytest.skip("TensorFlow is installed here: TFDS would prepare the set")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(MissingExtra, match=r'pip install "jaxnets\[tf\]"'):
        load(Data(source="tfds:mnist"))


def test_a_prepared_catalogue_set_is_read_without_tensorflow(tmp_path):
    """A set in TFDS's own place, prepared by another builder: found by name, with its own test split or by slices."""
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "__init__.py").write_text("")
    (tmp_path / "shapes" / "shapes_dataset_builder.py").write_text(
        "import io\nimport numpy as np\nimport tensorflow_datasets as tfds\nfrom PIL import Image\n"
        "class Builder(tfds.core.GeneratorBasedBuilder):\n"
        "    VERSION = tfds.core.Version('1.0.0')\n    name = 'shapes'\n"
        "    def _info(self):\n"
        "        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({\n"
        "            'image': tfds.features.Image(shape=(4, 4, 3), encoding_format='png'),\n"
        "            'label': tfds.features.ClassLabel(names=['a', 'b'])}))\n"
        "    def _split_generators(self, dl):\n"
        "        return {'train': self._generate_examples(40), 'test': self._generate_examples(10)}\n"
        "    def _generate_examples(self, n):\n"
        "        for i in range(n):\n"
        "            b = io.BytesIO(); Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(b, 'PNG'); b.seek(0)\n"
        "            yield i, {'image': b, 'label': i % 2}\n"
    )
    code = (
        "import sys\nfrom shapes.shapes_dataset_builder import Builder\n"
        "import tensorflow_datasets as tfds\n"
        "Builder(file_format='array_record').download_and_prepare()\n"
        "from jaxnets.data import Data, load\n"
        "d = load(Data(source='tfds:shapes'))\n"
        "print(dict(d.schema.counts), d.schema.classes, file=sys.stderr)\n"
        "d = load(Data(source='tfds:shapes:train[:50%]'))\n"
        "print(dict(d.schema.counts), file=sys.stderr)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    environment = {**os.environ, "TFDS_DATA_DIR": str(tmp_path / "tfds"), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "{'train': 36, 'valid': 4, 'test': 10} ('a', 'b')" in done.stderr
    assert "{'train': 14, 'valid': 2, 'test': 4}" in done.stderr


# ---------------------------------------------------------------- bad data, told before anything is trained on it


def broken(name, split, **arrays):
    dataset = load(config(name))
    part = dataset.splits[split]
    changed = part._replace(arrays={**part.arrays, **arrays}, length=len(next(iter(arrays.values()))))
    return Dataset(dataset.schema, {**dataset.splits, split: changed})


def changed(name, split, key, row, value):
    array = load(config(name)).splits[split].arrays[key].copy()
    array[row] = value
    return array


def place(name, split, example):
    """The row of the source, which is not that of the shuffled split."""
    return f"split {split}: {name}, row {load(config(name)).splits[split].rows[example]}"


def test_bad_data_is_named_by_source_and_row():
    cases = [
        (
            broken("wine", "valid", targets=changed("wine", "valid", "targets", 3, 7)),
            f"{place('wine', 'valid', 3)}: label 7 is outside 0..2",
        ),
        (
            broken("wine", "train", targets=changed("wine", "train", "targets", 5, -1)),
            f"{place('wine', 'train', 5)}: label -1",
        ),
        (
            broken("wine", "test", inputs=changed("wine", "test", "inputs", (2, 1), np.nan)),
            f"{place('wine', 'test', 2)}, feature malic_acid: nan",
        ),
        (
            broken("diabetes", "train", targets=changed("diabetes", "train", "targets", 9, np.inf)),
            f"{place('diabetes', 'train', 9)}: target .*inf.* is not finite",
        ),
        (
            broken("wine", "train", inputs=np.zeros((124, 4), np.float32)),
            r"holds \(124, 4\); it must be \(examples, 13\)",
        ),
        (
            broken("wine", "valid", inputs=np.zeros((0, 13), np.float32), targets=np.zeros(0, np.int32)),
            "split valid is empty",
        ),
    ]
    for dataset, words in cases:
        with pytest.raises(DataError, match=words):
            check(dataset, batch_size=16)
    with pytest.raises(ConfigError, match="batch_size 500 is more than the 124 examples"):
        check(load(config("wine")), batch_size=500)
    with pytest.raises(DataError, match="is empty"):
        check(load(config("wine", test=0.0)), batch_size=16)


def write_parquet(path, images, labels):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"image": images, "label": labels}), path)


def png(value, size=4):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_parquet_images_are_decoded_once_and_bad_rows_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    write_parquet(tmp_path / "s_train.parquet", [png(i) for i in range(40)], [i % 2 for i in range(40)])
    write_parquet(tmp_path / "s_test.parquet", [png(100 + i) for i in range(6)], [i % 2 for i in range(6)])
    dataset = load(Data(source="parquet:s", batch_size=4))
    assert dict(dataset.schema.counts) == {"train": 36, "valid": 4, "test": 6}
    np.testing.assert_array_equal(dataset.splits["test"].arrays["inputs"][:, 0, 0, 0], range(100, 106))
    assert load(Data(source="parquet:s", batch_size=4)).schema == dataset.schema
    assert dataset.splits["test"].where(5) == "s_test.parquet, row 5"
    cases = [
        ([], [], "s_train.parquet holds no rows"),
        ([png(1)] * 3, [0, 255, 1], "row 1: label 255, but s_train.parquet has 3 classes, which must be 0..2"),
        ([png(1)] * 3, [0, 10**9, 1], "row 1: label 1000000000 is not a class number from 0"),
        ([png(1, size=5)] * 4, [0, 1, 0, 1], r"s_test.parquet holds images of \(4, 4, 1\), but .* of \(5, 5, 1\)"),
        ([png(1)] * 4, [0, 0, 0, 0], "s_test.parquet, row 1: label 1, but s_train.parquet has 1 classes"),
        ([png(1), b"no picture", png(2)], [0, 1, 0], "s_train.parquet, row 1: not a readable image"),
        ([png(1), png(1), png(2, size=5)], [0, 1, 0], r"row 2: image of \(5, 5, 1\), but row 0 has \(4, 4, 1\)"),
        ([png(1), png(1)], [0, -4], "row 1: label -4 is not a class number"),
        ([png(1), png(1)], [0, None], "row 1: label None"),
    ]
    for images, labels, words in cases:
        write_parquet(tmp_path / "s_train.parquet", images, labels)
        with pytest.raises(DataError, match=words):
            load(Data(source="parquet:s"))
    (tmp_path / "s_train.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match="s_train.parquet is not a readable parquet file"):
        load(Data(source="parquet:s"))


def test_mnist_is_the_standard_one():
    if not os.environ.get("JAXNETS_DATA"):
        pytest.skip("JAXNETS_DATA is not set")
    dataset = load(Data(source="parquet:mnist", valid=0.05))
    assert dict(dataset.schema.counts) == {"train": 57000, "valid": 3000, "test": 10000}
    labels = dataset.splits["test"].arrays["targets"]
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # the set's own page
    assert dataset.schema.input_mean == pytest.approx((0.1307,), abs=5e-4)
    assert dataset.schema.input_std == pytest.approx((0.3081,), abs=5e-4)
