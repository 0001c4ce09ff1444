"""Encoded images read by row group: cut as written, the same in any number of processes, with flat memory."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from jaxnets import data
from jaxnets.data import Data, Images, images, load, training_stream
from jaxnets.errors import ConfigError, DataError
from jaxnets.inspection import check

WIDTH, HEIGHT = 200, 120


def encoded(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def slopes(number):
    """Red grows to the right and green downwards, one level a pixel; blue tells which image it is."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x, y, np.full_like(x, number)], axis=-1).astype(np.uint8)


def write(path, numbers, *, rows=5, change=lambda number, value: value, labels=None):
    values = [change(number, encoded(slopes(number))) for number in numbers]
    labels = [number % 3 for number in numbers] if labels is None else labels
    table = pa.table({"image": [{"bytes": value, "path": None} for value in values], "label": labels})
    parquet.write_table(table, path, row_group_size=rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two files of 62 and 55 rows, in row groups of five."""
    path = tmp_path_factory.mktemp("images")
    write(path / "train-0.parquet", range(62))
    write(path / "train-1.parquet", range(62, 117))
    write(path / "validation-0.parquet", range(200, 221))
    return path


def config(folder, name="train-*.parquet", **more):
    more = {"batch_size": 6, "valid": 0.1, "test": 0.2, "images": Images(size=16, pool=20)} | more
    return Data(source=f"images:{folder}/{name}", **more)


def line(values):
    """(first, step) of values that grow evenly, from their ends."""
    return float(values[0]), (float(values[-1]) - float(values[0])) / (len(values) - 1)


def test_evaluation_sees_the_middle_and_each_image_once(folder):
    dataset = load(config(folder, f"train-*.parquet,test={folder}/validation-*.parquet"))
    check(dataset, batch_size=6)
    assert dict(dataset.schema.counts) == {"train": 105, "valid": 12, "test": 21}
    seen = []
    for batch in data.evaluation_batches(dataset.splits["test"], 6, workers=2):
        for picture, label in zip(batch["inputs"][batch["weight"] > 0], batch["targets"], strict=False):
            seen.append(int(picture[0, 0, 2]))
            assert label == seen[-1] % 3
            # A square of 7/8 of the height: 105 pixels from x = 47.5, y = 7.5; output i is at (i + 1/2) · 105/16 - 1/2.
            for channel, start in ((0, 47.5), (1, 7.5)):
                values = picture[8, :, 0] if channel == 0 else picture[:, 8, 1]
                first, step = line(values)
                assert abs(first - (start + 105 / 32 - 0.5)) <= 1 and abs(step - 105 / 16) < 0.1  # of whole levels
    assert seen == list(range(200, 221))


def test_random_cuts_keep_area_and_aspect_and_are_drawn_from_seed_and_place(folder):
    part = load(config(folder, images=Images(size=16, area=0.25, pool=20))).splits["train"]
    with training_stream(part, seed=1, batch_size=90, workers=2) as stream:
        pictures = stream([0])[0]["inputs"].astype(float)
    boxes = []
    for picture in pictures:
        (left, across), (upper, down) = line(picture[8, :, 0]), line(picture[:, 8, 1])
        width, height = 16 * across, 16 * down
        assert left - across / 2 > -2 and left - across / 2 + width < WIDTH + 2  # two pixels: what whole levels hide
        assert upper - down / 2 > -2 and upper - down / 2 + height < HEIGHT + 2
        assert 0.25 - 0.03 < width * height / (WIDTH * HEIGHT) < 1.03
        assert 3 / 4 - 0.06 < width / height < 4 / 3 + 0.06
        boxes.append((left, upper, width, height))
    assert len(set(boxes)) > 80 and np.std(boxes, axis=0).min() > 3
    with training_stream(part, seed=2, batch_size=90, workers=0) as stream:
        other = stream([0])[0]
    assert not np.array_equal(other["inputs"], pictures)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_any_number_of_processes_and_workers_from_any_step_on(folder, processes):
    """An epoch has 13.7 batches: both ends of one are crossed."""
    part = load(config(folder)).splits["train"]
    how = {"seed": 5, "batch_size": 6}
    with training_stream(part, workers=0, **how) as stream:
        expected = stream(range(30))
    assert sorted(np.concatenate([batch["id"] for batch in expected])[: part.length]) == list(range(part.length))
    assert [int(p[0, 0, 2]) for p in expected[20]["inputs"]] == part.row(expected[20]["id"]).tolist()
    found = []
    for index in range(processes):
        own = load(config(folder)).splits["train"]
        with training_stream(own, workers=2, index=index, count=processes, **how) as stream:
            found.append(stream(range(11, 30)))
    for number, batch in enumerate(expected[11:]):
        for name in ("id", "inputs", "targets", "weight"):
            np.testing.assert_array_equal(np.concatenate([own[number][name] for own in found]), batch[name])


def test_each_row_group_is_read_about_once_an_epoch_and_few_are_held(folder, monkeypatch):
    reads, plain = [], images._encoded
    monkeypatch.setattr(images, "_encoded", lambda group, column: (reads.append(group), plain(group, column))[1])
    part = load(config(folder, standardize=False, images=Images(size=16, pool=20, keep_gib=0))).splits["train"]
    held, groups = part.reader._encoded.__self__._held, len(part.groups.sizes)
    with training_stream(part, seed=0, batch_size=6, workers=0) as stream:
        for number in range(5 * part.length // 6):
            stream([number])
            assert len(held) <= 12  # two pools of 20 in groups of at most five, and two more
    assert groups == 18 and 18 <= len(reads) <= 5 * (18 + 2)
    assert part.length == 117 - 23 - 12


def test_moments_are_those_of_what_evaluation_sees_of_the_train_split(folder):
    dataset = load(config(folder))
    whole = [batch for batch in data.evaluation_batches(dataset.splits["train"], 6, workers=0)]
    pixels = np.concatenate([batch["inputs"][batch["weight"] > 0] for batch in whole]) / 255
    np.testing.assert_allclose(dataset.schema.input_mean, pixels.mean(axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(dataset.schema.input_std, pixels.std(axis=(0, 1, 2)), atol=1e-6)


def test_every_kind_of_picture_becomes_three_channels(tmp_path):
    rgb = slopes(7)
    kinds = [encoded(rgb, "JPEG"), encoded(rgb[..., 0]), encoded(np.dstack([rgb, rgb[..., :1]]))] * 8
    write(tmp_path / "train-0.parquet", range(24), change=lambda number, value: kinds[number])
    for batch in data.evaluation_batches(load(config(tmp_path)).splits["train"], 4, workers=0):
        assert (
            batch["inputs"].shape == (4, 16, 16, 3) and batch["inputs"].any(axis=(1, 2, 3))[batch["weight"] > 0].all()
        )


@pytest.mark.parametrize("broken", [b"no picture", b"", encoded(slopes(3))[:-300]])
def test_a_picture_that_is_none_is_named_or_counts_nothing(tmp_path, broken):
    write(tmp_path / "train-0.parquet", range(62))
    write(tmp_path / "train-1.parquet", range(62, 100), change=lambda n, value: broken if n == 70 else value)
    how = {"seed": 0, "batch_size": 60, "workers": 0}
    part = load(config(tmp_path, standardize=False)).splits["train"]
    with (
        training_stream(part, **how) as stream,
        pytest.raises(DataError, match="train-1.parquet, row 8: not a readable image .* --data.on_bad skip"),
    ):
        stream([0, 1])
    part = load(config(tmp_path, on_bad="skip")).splits["train"]
    with training_stream(part, **how) as stream:
        batches = stream([0, 1])
    ids = np.concatenate([batch["id"][batch["weight"] == 0] for batch in batches])
    assert set(ids.tolist()) == {70 - 20} and {part.where(int(i)) for i in ids} == {"train-1.parquet, row 8"}


@pytest.mark.parametrize(
    "labels, words",
    [
        ([0] * 50 + [1] * 10, "class 1 is not in the train split; if the rows are sorted by class, shuffle"),
        ([0] * 30 + [None] + [1] * 29, "train-0.parquet, row 30: label None is not a class number"),
        ([-1] * 60, "train-0.parquet, row 0: label -1 is not a class number"),
    ],
)
def test_labels_that_cannot_be_learned_are_named(tmp_path, labels, words):
    write(tmp_path / "train-0.parquet", range(60), labels=labels)
    with pytest.raises(DataError, match=words):
        load(config(tmp_path, valid=0.2))


def test_files_that_cannot_be_used(tmp_path, folder):
    (tmp_path / "train-0.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="train-0.parquet is not a readable parquet file"):
        load(config(tmp_path))
    parquet.write_table(pa.table({"picture": [b""]}), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match="has no column image, label; it has picture"):
        load(config(tmp_path))
    with pytest.raises(ConfigError, match="data.folds 3"):
        load(config(folder, folds=3))
