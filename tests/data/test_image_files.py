"""Picture files: folders of classes and tables of paths, pictures with masks; the same cut for all, bad ones named."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxnets.admission import admit
from jaxnets.config import Experiment, to_json
from jaxnets.data import Data, Images, evaluation_batches, load, training_stream
from jaxnets.data.pictures import BadPicture, cut
from jaxnets.errors import DataError
from jaxnets.evaluate import Opened
from jaxnets.inspection import check
from jaxnets.models import UNet
from jaxnets.predictions import cuts_of, read_inputs
from jaxnets.tasks import Segmentation

DRAW = np.random.default_rng(3)
SMALL = Images(size=8)


def encoded(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def picture(number, kind="PNG"):
    y, x = np.mgrid[:20, :30]
    return encoded(np.stack([x, y, np.full_like(x, number)], axis=-1).astype(np.uint8), kind)


def put(root, **files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def folder(root, count=30):
    put(root, **{f"{'cat' if n % 2 else 'dog'}/{n:02}.png": picture(n) for n in range(count)})
    return root


def config(root, **more):
    return Data(**({"source": f"images:{root}", "batch_size": 4, "images": SMALL, "workers": 2} | more))


def seen(split):
    """{number in the picture's blue channel: (pixels, target)} of a split, in evaluation."""
    found = {}
    for batch in evaluation_batches(split, 4, workers=2):
        for pixels, target, weight in zip(batch["inputs"], batch["targets"], batch["weight"], strict=True):
            if weight:
                found[int(pixels[0, 0, 2])] = (pixels, target)
    return found


def test_a_folder_of_classes_is_what_parquet_with_the_same_bytes_is(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    dataset = load(config(folder(tmp_path / "files")))
    check(dataset, batch_size=4)
    assert dataset.schema.classes == ("cat", "dog")
    assert dict(dataset.schema.counts) == {"train": 21, "valid": 3, "test": 6}
    files = {n: pair for split in dataset.splits.values() for n, pair in seen(split).items()}
    table = pa.table({"image": [picture(n) for n in range(30)], "label": [1 - n % 2 for n in range(30)]})
    parquet.write_table(table, tmp_path / "all.parquet")
    other = load(config(tmp_path / "all.parquet"))
    rows = {n: pair for split in other.splits.values() for n, pair in seen(split).items()}
    assert files.keys() == rows.keys() == set(range(30))
    for number, (pixels, target) in files.items():
        np.testing.assert_array_equal(pixels, rows[number][0])
        assert target == rows[number][1]
    file = tmp_path / "files/cat/07.png"  # what a prediction sees of it is what a test saw, bit for bit
    cuts = cuts_of(Opened(to_json(Experiment(data=config(tmp_path / "files"))), dataset.schema, *[None] * 3))
    np.testing.assert_array_equal(read_inputs(file, dataset.schema, cuts=cuts)[0], files[7][0])
    part = dataset.splits["train"]
    assert part.where(0).startswith(("cat/", "dog/"))


def test_tables_of_paths_and_names_that_say_the_class(tmp_path):
    folder(tmp_path)
    names = [f"{'cat' if n % 2 else 'dog'}/{n:02}.png" for n in range(30)]
    lines = [f"{name},{n % 3},{'test' if n < 9 else 'train'}" for n, name in enumerate(names)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *lines]))
    dataset = load(config(tmp_path / "t.csv"))
    assert dataset.schema.classes == ("0", "1", "2") and dict(dataset.schema.counts)["test"] == 9
    assert {n: int(target) for n, (_, target) in seen(dataset.splits["test"]).items()} == {n: n % 3 for n in range(9)}
    for n in range(10):
        put(tmp_path / "flat", **{f"a{n}_{n % 2}.png": picture(n)})
    assert load(config(tmp_path / "flat", names="a{number}_{label}.png")).schema.classes == ("0", "1")
    with pytest.raises(DataError, match="does not say of what class its files are"):
        load(config(tmp_path / "flat"))


def bomb():
    """A PNG of a few bytes that claims to be 60000 × 60000."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


BAD = {
    "zero bytes": b"",
    "a PDF": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
    "text": b"no picture at all",
    "HTML": b"<!doctype html><title>404</title>",
    "a bomb": bomb(),
    "half a PNG": picture(1)[: len(picture(1)) // 2],
    "half a JPEG": picture(1, "JPEG")[: len(picture(1, "JPEG")) // 2],
    "a JPEG's beginning": picture(1, "JPEG")[:20],
    "a PNG's header": picture(1)[:8],
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_no_picture_is_named_or_counts_nothing(tmp_path, kind):
    folder(tmp_path)
    put(tmp_path, **{"dog/04.jpg": BAD[kind]})
    with pytest.raises(DataError, match=r"dog/04.jpg: not a readable image .*--data.on_bad skip"):
        for split in load(config(tmp_path, standardize=False)).splits.values():
            seen(split)
    splits = load(config(tmp_path, on_bad="skip")).splits.values()
    batches = [batch for split in splits for batch in evaluation_batches(split, split.length, workers=2)]
    assert sum(int((batch["weight"] == 0).sum()) for batch in batches) == 1
    assert len(np.concatenate([batch["id"] for batch in batches])) == 31
    with pytest.raises(DataError, match="more than the 0 that data.most_bad allows"):
        for split in load(config(tmp_path, on_bad="skip", most_bad=0)).splits.values():
            seen(split)


def test_damaged_bytes_give_a_picture_or_a_reason_and_nothing_else():
    outcomes = set()
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        whole = encoded(DRAW.integers(0, 256, (9, 7, 3), dtype=np.uint8), kind)
        for number in range(60):
            damaged = bytearray(whole)
            if number % 2:
                del damaged[DRAW.integers(1, len(whole)) :]
            for place in DRAW.integers(0, len(damaged), number % 7):
                damaged[place] ^= int(DRAW.integers(1, 256))
            try:
                pixels = cut(bytes(damaged), SMALL, None)
                outcomes.add(pixels.shape)
            except BadPicture as error:
                outcomes.add(bool(str(error)))
    assert outcomes == {(8, 8, 3), True}


def pairs(root, count=20, *, high=1, unknown=False, bright=200):
    """Pictures that are dark on the left and bright on the right, and masks that say so."""
    for n in range(count):
        edge = 5 + n
        mask = np.zeros((20, 40), np.uint8)
        mask[:, edge:] = high
        pixels = np.where(mask[..., None] > 0, bright, 0).astype(np.uint8).repeat(3, axis=2)
        if unknown:
            mask[:2] = 255
        put(root, **{f"images/{n}.jpg": encoded(pixels, "PNG"), f"masks/{n}.png": encoded(mask)})
    return root


@pytest.mark.parametrize("high, names", [(1, ("0", "1")), (255, ("background", "foreground"))])
def test_a_mask_is_cut_as_its_picture_is(tmp_path, high, names):
    dataset = load(config(pairs(tmp_path, high=high), images=Images(size=16, area=0.2)))
    check(dataset, batch_size=4)
    schema, train = dataset.schema, dataset.splits["train"]
    assert schema.target_kind == "mask" and schema.classes == names and dict(schema.counts)["train"] == 14
    with training_stream(train, seed=0, batch_size=14, workers=2) as stream:
        batch = {name: np.concatenate([one[name] for one in stream(range(4))]) for name in ("inputs", "targets")}
    assert batch["targets"].shape == (56, 16, 16) and batch["targets"].dtype == np.int32
    bright = batch["inputs"][..., 0] > 100
    assert set(np.unique(batch["targets"])) == {0, 1}
    assert (bright != batch["targets"]).mean() < 0.04  # but for the pixels at the edge, which are mixed
    admit(Experiment(data=config(tmp_path), model=UNet(), task=Segmentation()), dataset)  # its shapes fit


def test_unknown_pixels_and_names_of_classes(tmp_path):
    pairs(tmp_path, high=2, unknown=True)
    assert load(config(tmp_path)).schema.classes == ("0", "1", "2")
    (tmp_path / "classes.txt").write_text("sky\nroad\nhouse\ntree\n")
    assert load(config(tmp_path)).schema.classes == ("sky", "road", "house", "tree")
    before = load(config(tmp_path)).schema.fingerprint
    put(tmp_path, **{"masks/3.png": encoded(np.full((20, 40), 1, np.uint8))})
    assert load(config(tmp_path)).schema.fingerprint != before
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    with pytest.raises(DataError, match="classes.txt names 2 classes, but the masks hold 3"):
        load(config(tmp_path))


def test_pairs_that_do_not_fit_are_named(tmp_path):
    pairs(tmp_path / "one")
    (tmp_path / "one/masks/7.png").rename(tmp_path / "one/masks/x.png")
    with pytest.raises(DataError, match=r"images/7.jpg has no file of its name in masks \(1 are like it\)"):
        load(config(tmp_path / "one"))
    wrong = {
        "the mask has .*pixels": encoded(np.zeros((20, 41), np.uint8)),
        "a mask of mode RGB": encoded(np.zeros((20, 40, 3), np.uint8)),
        "the mask holds 9, which is none of the 2 classes": encoded(np.full((20, 40), 9, np.uint8)),
        "not a readable pair": b"",
    }
    for number, (words, content) in enumerate(wrong.items()):
        root = pairs(tmp_path / f"bad{number}")
        (root / "classes.txt").write_text("a\nb\n")
        for split in ("train", "test"):
            (root / split).mkdir()
        mine = root / "masks" / "3.png"
        mine.write_bytes(content)
        (root / "images").rename(root / "train" / "images")
        (root / "masks").rename(root / "train" / "masks")
        for kind in ("images", "masks"):  # the bad one is tested on, so that the classes are those of good masks
            (root / "test" / kind).mkdir()
            moved = next((root / "train" / kind).glob("3.*"))
            moved.rename(root / "test" / kind / moved.name)
        dataset = load(config(root))
        with pytest.raises(DataError, match=words):
            seen(dataset.splits["test"])
