"""Pairs of images and texts: tables of paths and encoded images, what is kept in one split, bad rows, drawn scenes."""

import io
import json

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from jaxnets.build import check_schema
from jaxnets.config import Experiment, check
from jaxnets.data import (
    Crop,
    CutMix,
    Data,
    Images,
    Mixup,
    Schema,
    Texts,
    evaluation_batches,
    load,
    preprocess,
)
from jaxnets.data.captions import COLOURS, Thing, scene_of
from jaxnets.data.texts import decode
from jaxnets.errors import ConfigError, DataError
from jaxnets.inspection import check as check_data
from jaxnets.loop import Loop
from jaxnets.models import MLP, TwoTower
from jaxnets.optim import AdamW
from jaxnets.parallel import Plan
from jaxnets.tasks import Classification, Contrastive

COUNT = 24


def encoded(number):
    """A picture that tells its number in every pixel."""
    file = io.BytesIO()
    Image.fromarray(np.full((9, 11, 3), 10 * number, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def place(tmp_path):
    for number in range(COUNT):
        (tmp_path / f"{number}.png").write_bytes(encoded(number))
    return tmp_path


def table(place, rows, head="path,text"):
    (place / "table.csv").write_text("\n".join([head, *rows]))
    return f"pairs:{place}/table.csv"


def data(source, **more):
    how = {"batch_size": 4, "context": 24, "images": Images(size=8), "workers": 0}
    return Data(source=source, **how | more)


def seen(dataset, split):
    """[(number of the picture, text, targets)] of a split in order."""
    found = []
    for batch in evaluation_batches(dataset.splits[split], 4, workers=0):
        texts = decode(batch["inputs"]["text"], dataset.schema.half("text"))
        for pixels, text, target, weight in zip(
            batch["inputs"]["image"], texts, batch["targets"], batch["weight"], strict=True
        ):
            if weight:
                found.append((int(pixels[0, 0, 0]) // 10, text, target.tolist()))
    return found


def test_a_picture_with_two_texts_is_in_one_split_and_known_to_be_one(place):
    rows = [f"{number}.png,text {turn} of {number}" for turn in range(2) for number in range(COUNT)]
    dataset = load(data(table(place, rows)))
    check_data(dataset, batch_size=4)
    numbers = {split: [number for number, _, _ in seen(dataset, split)] for split in dataset.splits}
    assert sorted(sum(numbers.values(), [])) == sorted([*range(COUNT)] * 2)
    assert all(own.count(number) == 2 for own in numbers.values() for number in own)
    for number, text, target in seen(dataset, "train"):
        assert text.endswith(f" of {number}")
        assert [n for n, _, other in seen(dataset, "train") if other[0] == target[0]] == [number, number]
    assert Schema.from_json(json.loads(json.dumps(dataset.schema.to_json()))) == dataset.schema


def test_encoded_pictures_in_parquet_are_what_files_are(place):
    said = [f"this is {number % 7}" for number in range(COUNT)]
    words = ["train"] * 16 + ["valid"] * 4 + ["test"] * 4
    rows = [f"{number}.png,{said[number]},{words[number]}" for number in range(COUNT)]
    paths = load(data(table(place, rows, "path,text,split")))
    for split in ("train", "valid", "test"):
        own = [number for number in range(COUNT) if words[number] == split]
        columns = {"image": [encoded(number) for number in own], "text": [said[number] for number in own]}
        parquet.write_table(pyarrow.table(columns), place / f"{split}.parquet", row_group_size=3)
    whole = f"pairs:{place}/train.parquet,valid={place}/valid.parquet,test={place}/test.parquet"
    inside = load(data(whole, images=Images(size=8, pool=6)))
    for split in ("train", "valid", "test"):
        one, other = seen(paths, split), seen(inside, split)
        assert [pair[:2] for pair in one] == [pair[:2] for pair in other] and len(one) in (4, 16)
        assert [pair[2][1] for pair in one] == [pair[2][1] for pair in other]  # equal texts have equal numbers
    texts = [pair[1] for pair in seen(paths, "train")]
    assert len({pair[2][1] for pair in seen(paths, "train")}) == len(set(texts)) < len(texts)
    assert paths.schema.input_mean == inside.schema.input_mean


def test_a_model_gets_standardised_images_and_texts_as_they_are(place):
    dataset = load(data(table(place, [f"{number}.png,{number}" for number in range(COUNT)])))
    (batch,) = evaluation_batches(dataset.splits["test"], dataset.splits["test"].length, workers=0)
    found = preprocess(dataset.schema, batch["inputs"])
    mean, std = np.asarray(dataset.schema.input_mean), np.asarray(dataset.schema.input_std)
    np.testing.assert_allclose(found["image"], (batch["inputs"]["image"] / 255 - mean) / std, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["text"], batch["inputs"]["text"])
    shapes = dataset.schema.inputs(3, raw=False)
    assert {n: (s.shape[1:], str(s.dtype)) for n, s in shapes.items()} == {
        "image": ((8, 8, 3), "float32"), "text": ((24,), "int32")
    }  # fmt: skip


BAD = [
    ("nowhere.png,a text", "row 24: 'nowhere.png' is not there"),
    ("3.png,", "row 24: has no text"),
    ("table.csv,a text", "row 24: 'table.csv' does not end in .png"),
]


@pytest.mark.parametrize(("line", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_rows_are_named_or_left_out(place, line, words):
    source = table(place, [*(f"{number}.png,{number}" for number in range(COUNT)), line])
    with pytest.raises(DataError, match=words):
        load(data(source))
    dataset = load(data(source, on_bad="skip"))
    assert sum(split.length for split in dataset.splits.values()) == COUNT


def test_a_broken_picture_is_named_or_counts_nothing(place):
    (place / "5.png").write_bytes(b"no picture")
    source = table(place, [f"{number}.png,{number}" for number in range(COUNT)])
    with pytest.raises(DataError, match="5.png: not a readable image"):
        dataset = load(data(source, standardize=False))
        [seen(dataset, split) for split in dataset.splits]
    dataset = load(data(source, on_bad="skip"))
    found = sum((seen(dataset, split) for split in dataset.splits), [])
    assert sorted(number for number, _, _ in found) == [n for n in range(COUNT) if n != 5]


def test_a_long_text_is_cropped_or_named(place):
    rows = [f"{number}.png,{'x' * 30 if number == 7 else number}" for number in range(COUNT)]
    dataset = load(data(table(place, rows)))
    assert max(len(text) for split in dataset.splits for _, text, _ in seen(dataset, split)) == 24
    with pytest.raises(DataError, match="7.png: its text has 30 tokens, more than data.context 24"):
        load(data(table(place, rows), texts=Texts(crop="never")))
    dataset = load(data(table(place, rows), texts=Texts(crop="never"), on_bad="skip"))
    assert sum(split.length for split in dataset.splits.values()) == COUNT - 1


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"context": None}, ConfigError, "data.context is none"),
        ({"texts": Texts(column="said")}, ConfigError, "data.texts.column 'said' is no column .* give one of them"),
        ({"images": Images(column="pth")}, ConfigError, "'pth' is no column .* perhaps you meant path"),
        ({"source": "pairs:nothing.csv"}, DataError, "no such table is here or in JAXNETS_DATA"),
        ({"source": "pairs:{place}"}, DataError, "is a folder; give a table"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(place, how, error, words):
    how = {"source": table(place, ["0.png,zero"])} | how
    with pytest.raises(error, match=words):
        load(data(**how | {"source": how["source"].format(place=place)}))


def test_a_table_without_paths_is_named(place):
    with pytest.raises(DataError, match="has no column image, path, .*say which of url, text holds the paths"):
        load(data(table(place, ["0.png,zero"], "url,text")))


def test_a_mixture_of_pairs_is_refused(place):
    one, other = (f"synthetic:captions/16x16/{count}" for count in (20, 30))
    with pytest.raises(DataError, match="mixes pairs, whose numbers say in their own source alone what is shared"):
        load(data(f"mixture:1*{one} + 1*{other}"))


def test_plain_tokens_are_what_stands_between_blanks_in_the_train_split(place):
    rows = [f"{number}.png,A dog {'sits' if number % 2 else 'runs'} here" for number in range(COUNT)]
    dataset = load(data(table(place, rows), context=5, texts=Texts(tokenizer="plain", lower=True, least=2)))
    assert json.loads(dataset.schema.tokenizer)["plain"] == ["[UNK]", "a", "dog", "here", "runs", "sits"]
    assert dataset.schema.vocabulary_size == 7
    texts = [text for _, text, _ in seen(dataset, "test")]
    assert set(texts) <= {"a dog sits here", "a dog runs here"} and texts


# ---------------------------------------------------------------- drawn scenes


def test_a_scene_is_drawn_as_it_is_told():
    """The mean colour of each half is nearest, along its own direction from the background, to what the text says."""
    dataset = load(Data(source="synthetic:captions/32x32/64", batch_size=8, context=12, texts=Texts(tokenizer="plain")))
    train = dataset.splits["train"]
    (batch,) = evaluation_batches(train, 64, workers=0)
    texts = decode(batch["inputs"]["text"], dataset.schema.half("text"))
    names, colours = list(COLOURS), np.array(list(COLOURS.values())) - 25.0
    directions = colours / np.linalg.norm(colours, axis=1, keepdims=True)
    for row, (picture, text) in enumerate(zip(batch["inputs"]["image"], texts, strict=True)):
        scene = scene_of(row)
        assert text == scene.text and train.row(row) == row
        halves = np.split(picture, 2, axis=0 if scene.relation == "above" else 1)
        for thing, half in zip((scene.first, scene.second), halves, strict=True):
            bright = half.reshape(-1, 3)[half.reshape(-1, 3).max(axis=1) > 100].mean(axis=0) - 25.0
            told = directions @ (bright / np.linalg.norm(bright))
            grey = {"white", "grey"}  # of one direction
            near = {names[place] for place in np.flatnonzero(told > told.max() - 1e-3)}
            assert thing.colour in near | (grey if near & grey else set()), (text, near)


def test_scenes_are_as_likely_and_of_every_kind():
    scenes = [scene_of(row) for row in range(4000)]
    shares = np.unique([scene.relation for scene in scenes], return_counts=True)[1] / 4000
    np.testing.assert_allclose(shares, 0.5, atol=5 * 0.5 / 4000**0.5)  # five deviations
    assert len({scene.first for scene in scenes}) == len({scene.second for scene in scenes}) == 64
    assert isinstance(scenes[0].first, Thing)


# ---------------------------------------------------------------- what goes with pairs


def experiment(**changes):
    stages = {
        "data": Data(source="synthetic:captions/16x16/64", batch_size=8, context=12, texts=Texts(tokenizer="plain")),
        "model": TwoTower(embedding=4, channels=(2, 2), hidden=4, width=8, depth=1),
        "task": Contrastive(),
        "optim": AdamW(lr=1e-2),
        "loop": Loop(steps=4),
    }
    return Experiment(**(stages | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optim": AdamW(accumulate=2)}, "optim.accumulate 2 takes a batch in parts, .*set optim.accumulate to 1"),
        ({"plan": Plan(mode="pmap")}, "plan.mode pmap takes a batch in parts, .*set plan.mode to jit"),
        ({"task": Classification()}, "twotower goes with contrastive, and only with it"),
        ({"model": MLP()}, "twotower goes with contrastive, and only with it"),
        ({"task": Contrastive(recall=(5, 1))}, "task.recall .* does not rise"),
        ({"task": Contrastive(recall=(0,))}, "task.recall 0 is not allowed"),
        ({"model": TwoTower(width=12, heads=4)}, "does not divide over model.heads 4 into even numbers"),
        ({"model": TwoTower(temperature=0.0)}, "model.temperature 0.0 is not allowed; give a number above 0"),
    ],
)
def test_what_does_not_go_with_pairs_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        check(experiment(**changes))


def test_what_does_not_fit_the_data_is_refused():
    own = experiment()
    schema = load(own.data).schema
    check_schema(own, schema)
    for stage, words in ((Mixup(), "0 mixup mixes or repeats"), (CutMix(), "0 cutmix mixes or repeats")):
        more = Data(source=own.data.source, batch_size=8, context=12, augment=(stage,))
        with pytest.raises(ConfigError, match=words):
            check_schema(experiment(data=more), schema)
    check_schema(experiment(data=Data(source=own.data.source, context=12, augment=(Crop(padding=1),))), schema)
    with pytest.raises(ConfigError, match="whose targets are class; use classification"):
        check_schema(experiment(data=Data(source="digits")), load(Data(source="digits")).schema)
