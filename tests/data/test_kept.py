"""Decoded pictures that are kept: the same batches, no file read twice, all of a source or none of it."""

import io
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from jaxnets.data import Data, Images, at_hand, kept, load, training_stream
from jaxnets.data.kept import Kept
from jaxnets.data.pictures import Decoded
from jaxnets.errors import DataError

DRAW = np.random.default_rng(2)
PIXELS = DRAW.integers(0, 256, (30, 14, 11, 3), dtype=np.uint8)


def encoded(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def files(root):
    for n, pixels in enumerate(PIXELS):
        put(root / f"class{n % 2}" / f"{n}.jpg", encoded(pixels, "JPEG"))
    return root


def masks(root):
    for n, pixels in enumerate(PIXELS):
        put(root / "images" / f"{n}.png", encoded(pixels))
        put(root / "masks" / f"{n}.png", encoded(pixels[..., 0] // 128))
    return root


def parquet(root):
    import pyarrow as pa
    from pyarrow import parquet as written

    root.mkdir()
    table = pa.table({"image": [encoded(pixels) for pixels in PIXELS], "label": [n % 2 for n in range(30)]})
    written.write_table(table, root / "all.parquet", row_group_size=2)
    return root / "all.parquet"


def train(place, keep_gib=2.0, area=0.3, **more):
    images = Images(size=8, pool=2, area=area, keep_gib=keep_gib)
    return load(Data(source=f"images:{place}", batch_size=4, images=images, standardize=False, **more)).splits["train"]


def batches(split, numbers, workers):
    with training_stream(split, seed=3, batch_size=4, workers=workers) as stream:
        return stream(numbers)


@pytest.mark.parametrize("make", [files, masks, parquet])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("area", [0.3, 1.0])
def test_after_an_epoch_nothing_is_read_and_the_batches_are_those_that_are_decoded(tmp_path, make, workers, area):
    place = make(tmp_path / "own")
    anew, once = train(place, 0.0, area), train(place, 2.0, area)
    expected = batches(anew, range(18), workers=0)  # three epochs
    first = batches(once, range(6), workers)
    shutil.rmtree(tmp_path / "own")
    for number, (one, other) in enumerate(zip(expected, first + batches(once, range(6, 18), workers), strict=True)):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=f"{name} of batch {number}")
    with pytest.raises(DataError):
        batches(anew, range(6), workers=0)


def test_a_bad_picture_is_told_in_every_epoch(tmp_path):
    put(files(tmp_path) / "class0" / "bad.png", encoded(PIXELS[0])[:50])
    split = train(tmp_path, on_bad="skip", valid=0.0, test=0.0)
    found = batches(split, range(31), workers=2)  # four epochs
    assert sum(int((batch["weight"] == 0).sum()) for batch in found) == 4
    with pytest.raises(DataError, match=r"class0/bad.png: not a readable image"):
        batches(train(tmp_path, valid=0.0, test=0.0), range(8), workers=2)


def small(row):
    return Decoded(Image.new("RGB", (8, 8), (row % 256, 0, 0)))


def test_all_are_kept_or_none(monkeypatch):
    monkeypatch.setattr(kept, "_JUDGED", 10)
    each = kept._size(small(0).whole)
    assert each > 8 * 8 * 4

    def still(most, rows=100, asked=range(100)):
        held, decoded = Kept(rows, most=most), []
        for row in asked:
            held(row, lambda row: (decoded.append(row), small(row))[1])
        del decoded[:]
        assert held(5, lambda row: (decoded.append(row), small(row))[1]).whole.getpixel((0, 0)) == (5, 0, 0)
        return not decoded

    assert still(100 * each) and not still(100 * each - 1)
    assert not still(0)
    assert not still(50 * each, asked=range(10)) and still(50 * each, asked=range(9))  # all is foretold from ten
    assert still(50 * each, rows=50, asked=[*range(10), *range(10)])
    monkeypatch.setattr(kept, "bytes_at_hand", lambda: 180 * each)  # twice the ninety that are still to come
    assert still(1 << 30)
    monkeypatch.setattr(kept, "bytes_at_hand", lambda: 180 * each - 1)
    assert not still(1 << 30)


def test_threads_may_ask_for_the_same(monkeypatch):
    held, found = Kept(50, most=1 << 30), []
    threads = [threading.Thread(target=lambda: found.extend(held(row, small) for row in range(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.whole.getpixel((0, 0))[0] for one in found].count(7) == 4
    assert held._bytes == 50 * kept._size(small(0).whole)


def test_the_memory_at_hand_is_that_of_the_container(tmp_path):
    assert at_hand._of_container(tmp_path) == float("inf")
    put(tmp_path / "memory" / "memory.limit_in_bytes", b"1000\n")
    put(tmp_path / "memory" / "memory.usage_in_bytes", b"700\n")
    put(tmp_path / "memory" / "memory.stat", b"cache 300\ninactive_file 100\n")
    assert at_hand._of_container(tmp_path) == 400
    put(tmp_path / "memory.max", b"max\n")
    put(tmp_path / "memory.current", b"700\n")
    assert at_hand._of_container(tmp_path) == 400
    put(tmp_path / "memory.max", b"720\n")
    put(tmp_path / "memory.stat", b"inactive_file 5\n")
    assert at_hand._of_container(tmp_path) == 25
    assert 0 < at_hand.bytes_at_hand() < float("inf")
