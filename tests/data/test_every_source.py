"""Every kind of source: a batch depends on seed and number alone, not on who reads it or since when."""

import functools
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxnets.data import Data, Images, from_arrays, from_sequence, load, training_stream
from jaxnets.data.arrays import source as arrays
from jaxnets.inspection import check

DRAW = np.random.default_rng(5)
PIXELS = DRAW.integers(0, 256, (40, 12, 10, 3), dtype=np.uint8)
ROWS = DRAW.normal(size=(40, 3)).astype(np.float32)
WORDS = np.array(["cat", "dog"])[np.arange(40) % 2]


def encoded(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def rows(place):
    return from_arrays(x=ROWS, y=WORDS)


def rows_in_a_file(place):
    return from_arrays(x=ROWS, y=WORDS, name="file")


def sequence(place):
    return from_sequence([(PIXELS[i], i % 2) for i in range(40)])


def files(place):
    for number, pixels in enumerate(PIXELS):
        path = place / "files" / WORDS[number] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels))
    return f"images:{place}/files"


def masks(place):
    for number, pixels in enumerate(PIXELS):
        for kind, content in (("images", pixels), ("masks", pixels[..., 0] // 128)):
            path = place / "pairs" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(content))
    return f"images:{place}/pairs"


def parquet(place):
    import pyarrow as pa
    from pyarrow import parquet as written

    table = pa.table({"image": [encoded(pixels) for pixels in PIXELS], "label": [i % 2 for i in range(40)]})
    written.write_table(table, place / "images.parquet", row_group_size=7)
    return f"images:{place}/images.parquet"


def pairs(place):
    """Pictures of which every third stands twice, with another text."""
    (place / "said").mkdir()
    for number, pixels in enumerate(PIXELS[:30]):
        (place / "said" / f"{number}.png").write_bytes(encoded(pixels))
    lines = [f"{number % 30}.png,picture {number} of a {WORDS[number]}" for number in range(40)]
    (place / "said" / "table.csv").write_text("\n".join(["path,text", *lines]))
    return f"pairs:{place}/said/table.csv"


def pairs_in_parquet(place):
    import pyarrow as pa
    from pyarrow import parquet as written

    table = pa.table({"image": [encoded(pixels) for pixels in PIXELS], "text": [f"{i} {WORDS[i]}" for i in range(40)]})
    written.write_table(table, place / "pairs.parquet", row_group_size=7)
    return f"pairs:{place}/pairs.parquet"


def captions(place):
    return "synthetic:captions/16x18/40"


def table(place):
    lines = [f"{x},{y},{word}" for (x, y, _), word in zip(ROWS, WORDS, strict=True)]
    (place / "table.csv").write_text("\n".join(["x,y,goal", *lines]))
    return f"table:{place}/table.csv"


def tokens(place, name="tokens"):
    DRAW.integers(0, 50, 700).astype("<u2").tofile(place / f"{name}.bin")
    return f"tokens:{place}/{name}.bin"


def text(place):
    (place / "text.txt").write_bytes(bytes(range(250)) * 3)
    return f"text:{place}/text.txt"


def mixed_rows(place):
    return f"mixture:2*{rows(place)} + 1*{from_arrays(x=ROWS[:20] + 1, y=WORDS[:20])}"


def mixed_pictures(place):
    """Files that are cut at random beside arrays in memory."""
    return f"mixture:1*{files(place)} + 3*{from_arrays(x=PIXELS[:, 2:10, 1:9], y=WORDS)}"


def mixed_tokens(place):
    return f"mixture:1*{tokens(place, 'first')} + 1*{tokens(place, 'second')}"


SOURCES = [
    rows, rows_in_a_file, sequence, files, masks, parquet, pairs, pairs_in_parquet, captions, table, tokens, text,
    mixed_rows, mixed_pictures, mixed_tokens,
]  # fmt: skip


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """The train split of a source, read once."""

    @functools.cache
    def split(source):
        place = tmp_path_factory.mktemp(source.__name__)
        name = source(place)
        words = source in (tokens, text, mixed_tokens)
        more = {"context": 8, "vocabulary": 256 if source is text else 50} if words else {}
        more |= {"context": 12} if source in (pairs, pairs_in_parquet, captions) else {}
        more |= {"target": "goal"} if source is table else {}
        dataset = load(Data(source=name, batch_size=6, images=Images(size=8, pool=10), workers=0, **more))
        check(dataset, batch_size=6)
        return dataset.splits["train"]

    return split


@pytest.mark.parametrize("source", SOURCES, ids=[source.__name__ for source in SOURCES])
def test_a_batch_is_the_same_whoever_reads_it_and_since_when(train, source, monkeypatch):
    monkeypatch.setattr(arrays, "_IN_MEMORY", 0 if source is rows_in_a_file else 1 << 30)
    split = train(source)
    assert (split.reader is not None) == (source not in (rows, sequence, table, text, mixed_rows))

    @settings(deadline=None, max_examples=6)
    @given(
        seed=st.integers(0, 2**31 - 1), start=st.integers(0, 12), batch=st.sampled_from([6, 18]),
        workers=st.sampled_from([0, 2]), processes=st.sampled_from([1, 2, 3]),
    )  # fmt: skip
    def same(seed, start, batch, workers, processes):
        how = {"seed": seed, "batch_size": batch}
        with training_stream(split, workers=0, **how) as stream:
            expected = [stream([number])[0] for number in range(start + 2)][start:]  # never interrupted
        parts = []
        for index in range(processes):
            with training_stream(split, workers=workers, index=index, count=processes, **how) as stream:
                parts.append(stream([start, start + 1]))
        for number, one in enumerate(expected):
            assert one["weight"].all()
            for name in one:
                joined = _joined([part[number][name] for part in parts])
                _equal(joined, one[name])

    same()


def _joined(pieces):
    if isinstance(pieces[0], dict):
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return np.concatenate(pieces)


def _equal(found, expected):
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        for name in found:
            np.testing.assert_array_equal(found[name], expected[name])
    else:
        np.testing.assert_array_equal(found, expected)


def test_other_seeds_and_numbers_are_other_batches(train):
    for source in (files, mixed_pictures):
        batches = []
        for seed in (0, 1):
            with training_stream(train(source), seed=seed, batch_size=18, workers=0) as stream:
                batches += [batch["inputs"].tobytes() for batch in stream([0, 1])]
        assert len(set(batches)) == 4
