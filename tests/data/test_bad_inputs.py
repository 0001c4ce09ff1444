"""Every kind of source given what nobody would give on purpose: it is told by name, or batches come out that are sound.

Each case takes a good source and damages one of its files, as its seed says. Nothing may hang, crash, or be left over.
"""

import dataclasses
import functools
import io
import json
import os
import struct
import threading
import zlib

import jax
import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import ipc, parquet

from jaxnets import inspection
from jaxnets.data import Audio, Data, Images, Series, Texts, evaluation_batches, load, training_stream
from jaxnets.errors import ConfigError, DataError

soundfile = pytest.importorskip("soundfile")
FEW, MANY = range(5), range(5, 31)  # seeds
ROWS = 24
WORDS = ["cat", "dog"]


def saved(content, **how):
    file = io.BytesIO()
    if isinstance(content, Image.Image):
        content.save(file, **how)
    elif how.get("format") in ("WAV", "FLAC"):
        soundfile.write(file, content, 8000, **how)
    elif isinstance(content, dict):
        np.savez(file, **content)
    elif isinstance(content, np.ndarray):
        np.save(file, content)
    elif how:
        with ipc.new_file(file, content.schema) as writer:
            writer.write_table(content)
    else:
        parquet.write_table(content, file, row_group_size=7)
    return file.getvalue()


def picture(number, mode="RGB", kind="PNG"):
    pixels = np.random.default_rng(number).integers(0, 256, (9, 10, 3), np.uint8)
    return saved(Image.fromarray(pixels).convert(mode), format=kind)


def pictures(kind):
    return {f"{WORDS[i % 2]}/{i}.{kind.lower()}": picture(i, kind=kind) for i in range(8)}


def masks():
    numbers = [np.random.default_rng(i).integers(0, 2, (9, 10), np.uint8) for i in range(6)]
    return {f"masks/{i}.png": saved(Image.fromarray(one), format="PNG") for i, one in enumerate(numbers)} | {
        f"images/{i}.png": picture(i) for i in range(6)
    }


def encoded(name):
    table = pyarrow.table({"image": [picture(i) for i in range(ROWS)], "label": [i % 2 for i in range(ROWS)]})
    return {name: saved(table)}


def sounds(kind):
    waves = np.random.default_rng(0).normal(size=(8, 400)) * 0.1
    return {f"{WORDS[i % 2]}/{i}.{kind.lower()}": saved(wave, format=kind) for i, wave in enumerate(waves)}


def columns():
    draw = np.random.default_rng(1)
    return {
        "size": draw.normal(size=ROWS).round(3).tolist(),
        "count": draw.integers(0, 9, ROWS).tolist(),
        "colour": draw.choice(["red", "blue", "green"], ROWS).tolist(),
        "text": [f"a {'good' if i % 2 else 'bad'} film née {i}" for i in range(ROWS)],
        "label": [WORDS[i % 2] for i in range(ROWS)],
        "time": [f"2024-01-{i + 1:02d}" for i in range(ROWS)],
    }


def rows():
    return [dict(zip(columns(), values, strict=True)) for values in zip(*columns().values(), strict=True)]


def csv(name):
    lines = [
        ",".join(columns()),
        *(",".join(f'"{v}"' if k == "text" else str(v) for k, v in r.items()) for r in rows()),
    ]
    return {name: "\n".join(lines).encode()}


def jsonl(name):
    return {name: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows()).encode()}


def arrays():
    draw = np.random.default_rng(2)
    return {"x": draw.normal(size=(ROWS, 3)).astype(np.float32), "y": np.arange(ROWS) % 2}


def plain():
    return b"To be, or not to be, that is the question. " * 20


class Kind:
    """A good source: its files, what it is called with {} for their folder, and what else its config says."""

    def __init__(self, make, name, **more):
        self.files, self.name, self.more = functools.cache(make), name, more

    def config(self, place, **changes):
        small = {"batch_size": 2, "valid": 0.2, "test": 0.2, "workers": 2, "images": Images(size=8, pool=8)}
        found = Data(**({"source": self.name} | small | self.more | changes))
        return dataclasses.replace(found, source=found.source.format(place))


SOUND = {"audio": Audio(rate=8000, seconds=0.05, mels=None)}
TEXT = {"texts": Texts(), "context": 12}
STEPS = {"series": Series(horizon=2), "target": "size", "context": 3}
KINDS = {
    "png": Kind(lambda: pictures("PNG"), "images:{}"),
    "jpeg": Kind(lambda: pictures("JPEG"), "images:{}"),
    "masks": Kind(masks, "images:{}"),
    "streamed pictures": Kind(lambda: encoded("a.parquet"), "images:{}/a.parquet"),
    "decoded pictures": Kind(lambda: encoded("a_train.parquet"), "parquet:{}/a"),
    "wav": Kind(lambda: sounds("WAV"), "audio:{}", **SOUND),
    "streamed flac": Kind(
        lambda: sounds("FLAC"), "audio:{}", audio=Audio(rate=8000, seconds=0.02, mels=None, crop="random")
    ),
    "csv": Kind(lambda: csv("a.csv"), "table:{}/a.csv", target="label"),
    "numbers in csv": Kind(lambda: csv("a.csv"), "table:{}/a.csv", target="size"),
    "parquet": Kind(lambda: {"a.parquet": saved(pyarrow.table(columns()))}, "table:{}/a.parquet", target="label"),
    "arrow": Kind(lambda: {"a.arrow": saved(pyarrow.table(columns()), arrow=1)}, "table:{}/a.arrow", target="label"),
    "json lines": Kind(lambda: jsonl("a.jsonl"), "table:{}/a.jsonl", target="label"),
    "npz": Kind(lambda: {"a.npz": saved(arrays())}, "arrays:{}/a.npz"),
    "npy": Kind(lambda: {f"{k}.npy": saved(v) for k, v in arrays().items()}, "arrays:{}"),
    "texts": Kind(lambda: csv("a.csv"), "texts:{}/a.csv", **TEXT),
    "texts in json": Kind(lambda: jsonl("a.jsonl"), "texts:{}/a.jsonl", **TEXT),
    "texts in parquet": Kind(lambda: {"a.parquet": saved(pyarrow.table(columns()))}, "texts:{}/a.parquet", **TEXT),
    "documents": Kind(lambda: {f"{i}.txt": plain() for i in range(6)}, "documents:{}", **TEXT),
    "tokens": Kind(lambda: {"a.bin": np.arange(400, dtype="<u2").tobytes()}, "tokens:{}/a.bin", vocabulary=400, **TEXT),
    "text": Kind(lambda: {"a.txt": plain()}, "text:{}/a.txt", context=12),
    "series": Kind(lambda: csv("a.csv"), "series:{}/a.csv", **STEPS),
}


def cut_off(content, draw):
    return content[: draw.integers(len(content))]


def emptied(content, draw):
    return b""


def scattered(content, draw):
    """A few bytes are others."""
    found = bytearray(content)
    for at in draw.integers(len(found), size=draw.integers(1, 9)):
        found[at] = draw.integers(256)
    return bytes(found)


def zeroed(content, draw):
    start, length = draw.integers(len(content)), draw.integers(1, 200)
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def grown(content, draw):
    at = draw.integers(len(content))
    return content[:at] + draw.bytes(draw.integers(1, 60)) + content[at:]


def shrunk(content, draw):
    at = draw.integers(len(content))
    return content[:at] + content[at + draw.integers(1, 60) :]


def foreign(content, draw):
    return b"%PDF-1.7\n" + draw.bytes(draw.integers(1, 300))


def followed(content, draw):
    return content + draw.bytes(draw.integers(1, 60))


def widened(content, draw):
    """As some editors save text."""
    return content.decode("latin1").encode("utf-16")


DAMAGE = (scattered, cut_off, emptied, zeroed, grown, foreign, shrunk, followed, widened)


def written(place, files):
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def used(config):
    """A few batches of training and all of evaluation, as a run would have them."""
    dataset = load(config)
    inspection.check(dataset, batch_size=config.batch_size)
    with training_stream(dataset.splits["train"], seed=0, batch_size=config.batch_size, workers=2) as stream:
        batches = stream([0, 1, 2])
    for split in dataset.splits.values():
        batches += list(evaluation_batches(split, config.batch_size, workers=2))
    return dataset, batches


def assert_sound(dataset, batches):
    """Numbers are finite and classes are known, wherever an example counts."""
    for batch in batches:
        counts = batch["weight"] > 0
        for array in jax.tree.leaves(batch):
            assert array.dtype.kind != "f" or np.isfinite(array[counts]).all()
        if dataset.schema.target_kind == "class":
            assert set(batch["targets"][counts].tolist()) <= set(range(len(dataset.schema.classes)))


def leftovers():
    """Threads that read, and files of shared memory."""
    threads = {thread.name for thread in threading.enumerate() if thread.name.startswith("jaxnets")}
    return threads | set(os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else ())


def told_or_sound(config, *names):
    """What is said of a source that cannot be used, which names one of `names`; or nothing, and it is sound."""
    try:
        dataset, batches = used(config)
    except (DataError, ConfigError) as error:
        assert any(name in str(error) for name in names), f"none of {names} is named in: {error}"
        return str(error)
    assert_sound(dataset, batches)
    return ""


def damaged(kind, seed, place):
    """One case: (config, the file that is damaged)."""
    source, draw = KINDS[kind], np.random.default_rng([seed, *kind.encode()])
    files = dict(source.files())
    name = sorted(files)[draw.integers(len(files))]
    files[name] = DAMAGE[seed % len(DAMAGE)](files[name], draw)
    written(place, files)
    return source.config(place, on_bad=["stop", "skip"][draw.integers(2)]), name


def all_of(kind, seeds, tmp_path):
    before = leftovers()
    for seed in seeds:
        place = tmp_path / str(seed)
        config, name = damaged(kind, seed, place)
        try:
            told_or_sound(config, name, config.source)
        except Exception as error:
            error.add_note(f"{kind}, seed {seed}, {DAMAGE[seed % len(DAMAGE)].__name__} {name}")
            raise
    assert leftovers() <= before


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_source_becomes_batches(kind, tmp_path):
    written(tmp_path, KINDS[kind].files())
    assert told_or_sound(KINDS[kind].config(tmp_path), "") == ""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_named_or_harmless(kind, tmp_path):
    all_of(kind, FEW, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_named_or_harmless(kind, tmp_path):
    all_of(kind, MANY, tmp_path)


def bomb():
    """A PNG that claims to be 60 000 × 60 000 pixels."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bytes(30)


def one_image(content, label=0):
    images = [picture(i) for i in range(ROWS)]
    images[5] = content
    return saved(pyarrow.table({"image": images, "label": [label, 1] * (ROWS // 2)}))


def changed(row, column, value, form=csv, name="a.csv"):
    """A file of text with another value in one place."""
    lines = form(name)[name].decode().split("\n")
    cells = lines[row + 1].split(",")
    cells[list(columns()).index(column)] = value
    lines[row + 1] = ",".join(cells)
    return {name: "\n".join(lines).encode()}


def of_arrays(**given):
    return {"a.npz": saved(arrays() | given)}


def holed(value):
    found = arrays()["x"].copy()
    found[4, 1] = value
    return found


def listed(path):
    return {"t.csv": f"path,label\n{path},a\n".encode()}


PIECES = csv("a.csv")["a.csv"].split(b"\n")
EARLY = "2023-12-01"
# a target that is no number makes classes of a column, which a task of numbers then refuses
# kind, its files in place of those that are there, what the config says beside it, what is said ("" = it is sound)
CASES = {
    "pdf as jpg": ("jpeg", {"cat/0.jpeg": b"%PDF-1.4 not a picture"}, {}, "cat/0.jpeg: not a readable image"),
    "no bytes": ("png", {"dog/1.png": b""}, {}, "dog/1.png: not a readable image"),
    "bomb": ("png", {"cat/2.png": bomb()}, {}, "cat/2.png: not a readable image"),
    "grey with alpha": ("png", {"cat/2.png": picture(2, "LA")}, {}, ""),
    "one bit": ("png", {"cat/2.png": picture(2, "1")}, {}, ""),
    "bomb, streamed": ("streamed pictures", {"a.parquet": one_image(bomb())}, {}, "a.parquet, row 5: not a readable"),
    "bomb, decoded": ("decoded pictures", {"a_train.parquet": one_image(bomb())}, {}, "a_train.parquet, row 5: not a"),
    "null, streamed": ("streamed pictures", {"a.parquet": one_image(None)}, {}, "a.parquet, row 5: not a readable"),
    "null, decoded": ("decoded pictures", {"a_train.parquet": one_image(None)}, {}, "a_train.parquet, row 5: not a"),
    "label below 0": ("streamed pictures", {"a.parquet": one_image(picture(5), -1)}, {}, "a.parquet, row 0: label -1"),
    "other rates": ("wav", {"cat/0.wav": saved(np.ones(900), format="WAV")}, {}, ""),
    "mask too large": ("masks", {"masks/3.png": saved(Image.new("L", (70, 70)), format="PNG")}, {}, "3.png"),
    "ragged row": ("csv", {"a.csv": b"\n".join([*PIECES[:4], b"1,2", *PIECES[4:]])}, {}, "a.csv, row 3 has 2 values"),
    "latin 1": ("csv", {"a.csv": csv("a.csv")["a.csv"].decode().encode("latin1")}, {}, "a.csv, row 0: it is not UTF-8"),
    "utf 16": ("csv", {"a.csv": csv("a.csv")["a.csv"].decode().encode("utf-16")}, {}, "not UTF-8"),
    "no target": ("csv", {}, {"target": "lable"}, "perhaps you meant label"),
    "target not given": ("csv", changed(6, "label", ""), {}, "a.csv, row 6 has no label"),
    "typo of a label": ("csv", changed(6, "label", "catt"), {}, ""),
    "nan": ("numbers in csv", changed(6, "size", "nan"), {}, "a.csv, row 6"),
    "infinity": ("numbers in csv", changed(6, "size", "inf"), {}, "a.csv, row 6: target size is 'inf'"),
    "infinite input": ("csv", changed(6, "size", "inf"), {}, "a.csv, row 6, column size: inf is not"),
    "word for a number": ("numbers in csv", changed(6, "size", "tall"), {}, "a.csv, row 6: target size is 'tall'"),
    "unseen category": ("csv", changed(6, "colour", "mauve"), {}, ""),
    "header alone": ("csv", {"a.csv": PIECES[0] + b"\n"}, {}, "a.csv holds no rows"),
    "one row": ("csv", {"a.csv": b"\n".join(PIECES[:2])}, {}, "a.csv: target label is always cat"),
    "two columns of one name": ("csv", {"a.csv": b"a,a\n1,2\n"}, {"target": "a"}, "a.csv has the column a more than"),
    "objects": ("npz", of_arrays(x=np.array([{}] * ROWS, object)), {}, "a.npz cannot be read: it holds Python objects"),
    "nan in arrays": ("npz", of_arrays(x=holed(np.nan)), {}, "x, row 4, feature x1: nan"),
    "infinity in arrays": ("npz", of_arrays(x=holed(np.inf)), {}, "x, row 4, feature x1: inf"),
    "unlike lengths": ("npz", of_arrays(y=np.arange(3)), {}, "a.npz, x holds 24 examples"),
    "no rows of arrays": ("npz", {"a.npz": saved({"x": np.zeros((0, 3)), "y": np.zeros(0, int)})}, {}, "no examples"),
    "text without text": ("texts", changed(6, "text", ""), {}, "a.csv, row 6: its text is empty"),
    "text without label": ("texts", changed(6, "label", ""), {}, "a.csv, row 6: it has no label"),
    "no json": ("texts in json", {"a.jsonl": b'{"text": "a", "label"\n' * 9}, {}, "a.jsonl, row 0: it is no JSON"),
    "token too large": ("tokens", {}, {"vocabulary": 300}, "is outside 0..299"),
    "odd bytes": ("tokens", {"a.bin": bytes(801)}, {}, "a.bin holds 801 bytes"),
    "short text": ("text", {"a.txt": b"short"}, {}, "a.txt"),
    "dates out of order": ("series", changed(6, "time", EARLY), {}, "a.csv, row "),
    "a date twice": ("series", changed(6, "time", "2024-01-06"), {}, "a.csv, row "),
    "no date": ("series", changed(6, "time", "soon"), {}, "a.csv, row 6"),
    "hole in a series": ("series", changed(6, "size", ""), {}, "a.csv, row 6"),
    "path with ..": ("png", listed("../x.png"), {"source": "images:{}/t.csv"}, "t.csv, row 0: '../x.png' lies outside"),
    "no such path": ("wav", listed("z.wav"), {"source": "audio:{}/t.csv"}, "t.csv, row 0: 'z.wav' is not there"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_a_mistake(case, tmp_path):
    kind, files, changes, words = CASES[case]
    written(tmp_path, {**KINDS[kind].files(), **files})
    said = told_or_sound(KINDS[kind].config(tmp_path, **changes), words)
    assert bool(said) == bool(words), f"nothing is said of it, or this: {said}"


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("png", {"cat/2.png": b"", "dog/3.png": bomb()}),
        ("wav", {"cat/2.wav": b"", "dog/3.wav": b"RIFF"}),
        ("csv", {"a.csv": b"\n".join([*PIECES[:4], b"1,2", *PIECES[4:], b"3"])}),
        ("texts", {"a.csv": b"\n".join([*PIECES[:4], b"1,2", *PIECES[4:], b"3"])}),
    ],
)
def test_what_is_skipped_is_counted_and_limited(kind, files, tmp_path):
    written(tmp_path, {**KINDS[kind].files(), **files})
    whole = {"png": 8, "wav": 8}.get(kind, ROWS + 2)
    dataset, batches = used(KINDS[kind].config(tmp_path, on_bad="skip", most_bad=2))
    counted = sum(
        batch["weight"].sum() for part in dataset.splits.values() for batch in evaluation_batches(part, 2, workers=0)
    )
    assert counted == whole - 2
    assert_sound(dataset, batches)
    with pytest.raises(DataError, match="most_bad|skip"):
        used(KINDS[kind].config(tmp_path, on_bad="skip", most_bad=1))
