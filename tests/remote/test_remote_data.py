"""Data at a URL is the data of a file: the same rows and fingerprint, fetched once, and again when it has changed."""

import io

import jax
import numpy as np
import pytest
from faulty import Faulty, outage

from jaxnets.data import Audio, Data, load
from jaxnets.data.cache import cache_dir
from jaxnets.data.tfds import read_builtin
from jaxnets.errors import DataError
from jaxnets.remote import Store, store

URL = "faulty://bucket/data"


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "WAITS", (0.0,))
    monkeypatch.setenv("JAXNETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JAXNETS_DATA", "")
    Faulty.empty()
    return Store(URL)


def png(number):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (4, 4), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path, place):
    """Files of every kind, here and at the URL."""
    import pyarrow as pa
    from pyarrow import parquet

    here = tmp_path / "data"
    here.mkdir()
    for split, count in (("train", 40), ("test", 6)):
        columns = {"image": [png(i) for i in range(count)], "label": [i % 2 for i in range(count)]}
        parquet.write_table(pa.table(columns), here / f"s_{split}.parquet")
    (here / "a.txt").write_text("to be or not to be, that is the question. " * 20)
    for part in (0, 1):
        rows = [f"{i / 7},{i % 3}" for i in range(part * 30, part * 30 + 30)]
        (here / f"part{part}.csv").write_text("x,y\n" + "\n".join(rows) + "\n")
    place.upload(here, "", [path.name for path in here.iterdir()])
    return here


def same(one, two):
    assert (one.schema.fingerprint, one.schema.files, one.schema.counts) == (
        two.schema.fingerprint, two.schema.files, two.schema.counts,
    )  # fmt: skip
    for split, part in one.splits.items():
        pairs = zip(jax.tree.leaves(part.arrays), jax.tree.leaves(two.splits[split].arrays), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("kind", "name", "more"),
    [
        ("parquet", "s", {}),
        ("text", "a.txt", {"context": 8}),
        ("table", "part*.csv", {"target": "y"}),
        ("table", "part1.csv", {"target": "y"}),
    ],
)
def test_every_kind_of_source_takes_a_url(folder, kind, name, more, monkeypatch):
    here, there = (load(Data(source=f"{kind}:{root}/{name}", **more)) for root in (folder, URL))
    same(here, there)
    Faulty.plan()
    load(Data(source=f"{kind}:{URL}/{name}", **more))
    fetched = [name for name in ("cat_file", "get_file") if name in Faulty.seen]
    assert not fetched, "what was fetched once is not fetched again"
    monkeypatch.setenv("JAXNETS_DATA", f"{URL}/")
    same(here, load(Data(source=f"{kind}:{name}", **more)))


def test_a_set_that_was_prepared_is_read_from_its_folder(place):
    before = read_builtin("digits")
    (version,) = {path.parent for path in cache_dir().rglob("dataset_info.json")}
    place.upload(version, "digits/1.0.0", [path.name for path in version.iterdir()])
    there = load(Data(source=f"tfds:{URL}/digits/1.0.0:rows"))
    assert there.schema.fingerprint == before.fingerprint
    with pytest.raises(DataError, match="holds no files"):
        load(Data(source=f"tfds:{URL}/digits/2.0.0:rows"))


def test_changes_absence_and_silence_are_seen(folder, place):
    source = Data(source=f"text:{URL}/a.txt", context=8)
    before = load(source)
    place.write("a.txt", b"another text, which is as long as it takes. " * 20)
    assert load(source).schema.fingerprint != before.schema.fingerprint
    with pytest.raises(DataError, match="there is no such file"):
        load(Data(source=f"text:{URL}/b.txt", context=8))
    with pytest.raises(DataError, match="there is no such file"):
        load(Data(source=f"table:{URL}/b*.csv", target="y"))
    Faulty.plan(outage(1))
    with pytest.raises(DataError, match="cannot be listed: .* after 2 tries"):
        load(source)


def test_a_folder_of_sounds_is_fetched_whole(place, tmp_path):
    import soundfile

    for kind in ("low", "high"):
        (tmp_path / "tones" / kind).mkdir(parents=True)
        for number in range(6):
            soundfile.write(tmp_path / "tones" / kind / f"{number}.wav", np.full(40, 0.1 * number), 400)
    place.upload(tmp_path / "tones", "tones", [f"{kind}/{n}.wav" for kind in ("low", "high") for n in range(6)])
    how = {"batch_size": 2, "audio": Audio(rate=400, seconds=0.1, mels=None)}
    same(load(Data(source=f"audio:{tmp_path / 'tones'}", **how)), load(Data(source=f"audio:{URL}/tones", **how)))
    with pytest.raises(DataError, match="give the folder itself"):
        load(Data(source=f"audio:{URL}/tones.csv", **how))
