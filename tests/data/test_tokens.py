"""Token files: held against a plain reading of the same shards, in any number of processes, from any step on."""

import dataclasses

import numpy as np
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnets import data, files
from jaxnets.config import Experiment
from jaxnets.data import Data, load, order, training_stream
from jaxnets.data.tokens import open_tokens
from jaxnets.errors import ConfigError, DataError
from jaxnets.inspection import check
from jaxnets.models import GPT
from jaxnets.optim import AdamW
from jaxnets.run import run
from jaxnets.tasks import LanguageModelling

VOCABULARY = 50257


def write(path, tokens, *, header=True, magic=20240520, version=1, count=None):
    """A file as llm.c writes it, or without a header as nanoGPT does."""
    head = np.zeros(256, "<i4")
    head[:3] = magic, version, len(tokens) if count is None else count
    path.write_bytes((head.tobytes() if header else b"") + np.asarray(tokens, "<u2").tobytes())
    return path


def shards(folder, sizes, seed=0):
    """Files with and without headers, and all of their tokens in order."""
    draw = np.random.default_rng(seed)
    parts = [draw.integers(0, VOCABULARY, size) for size in sizes]
    for number, part in enumerate(parts):
        write(folder / f"train_{number:03}.bin", part, header=number % 2 == 0)
    return np.concatenate(parts)


def config(folder, name="train_*.bin", **more):
    more = {"context": 7, "vocabulary": VOCABULARY, "batch_size": 6, "valid": 0.1, "test": 0.2} | more
    return Data(source=f"tokens:{folder}/{name}", **more)


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 100),
    window=st.integers(1, 9), start=st.integers(0, 20), processes=st.sampled_from([1, 2, 3]),
    workers=st.sampled_from([0, 2]),
)  # fmt: skip
def test_windows_are_those_of_a_plain_reading_whoever_reads_them_and_from_any_step_on(
    tmp_path_factory, sizes, window, start, processes, workers
):
    folder = tmp_path_factory.mktemp("shards")
    stream = shards(folder, sizes)
    dataset = load(config(folder, context=window))
    check(dataset, batch_size=6)
    train = dataset.splits["train"]
    first, last = round(0.2 * len(stream)), len(stream) - round(0.1 * len(stream))
    assert train.length == (last - first - 1) // window  # every token is predicted once, but for less than a window
    for number in (start, start + 1):
        ids = order(3, number, batch_size=6, length=train.length)
        expected = np.stack([stream[first + i * window : first + i * window + window + 1] for i in ids])
        found = []
        for index in range(processes):
            how = {"seed": 3, "batch_size": 6, "workers": workers, "index": index, "count": processes}
            with training_stream(train, **how) as own:
                found.append(own([number])[0]["inputs"])
        np.testing.assert_array_equal(np.concatenate(found), expected)


def test_splits_follow_each_other_or_have_files_of_their_own(tmp_path):
    stream = shards(tmp_path, [400, 300, 300])
    own = np.arange(100, 250)
    write(tmp_path / "val.bin", own)
    found = {}
    for name in ("train_*.bin", f"train_*.bin,valid={tmp_path}/val.bin"):
        dataset = load(config(tmp_path, name))
        parts = {}
        for split, part in dataset.splits.items():
            batches = list(data.evaluation_batches(part, 5, workers=0))
            rows = np.concatenate([batch["inputs"][batch["weight"] > 0] for batch in batches])
            parts[split] = np.concatenate([rows[:, :-1].ravel(), rows[-1:, -1]])
        found[name] = parts
        assert dict(dataset.schema.counts) == {split: part.length for split, part in dataset.splits.items()}
    shares, named = found.values()
    for split, (first, last) in {"test": (0, 200), "train": (200, 900), "valid": (900, 1000)}.items():
        whole = stream[first:last]
        np.testing.assert_array_equal(shares[split], whole[: len(shares[split])])
        assert len(whole) - len(shares[split]) < 7
    np.testing.assert_array_equal(named["valid"], own[: len(named["valid"])])
    np.testing.assert_array_equal(named["train"], stream[200:1000][: len(named["train"])])
    assert len(named["valid"]) == 148 and len(named["train"]) == 799


def test_files_are_mapped_and_places_are_named(tmp_path):
    shards(tmp_path, [400, 600])
    assert isinstance(open_tokens(tmp_path / "train_000.bin"), np.memmap)
    train = load(config(tmp_path)).splits["train"]
    assert [train.where(0), train.where(100)] == ["train_000.bin, token 200", "train_001.bin, token 500"]


def changed(folder, what):
    path = folder / "train_000.bin"
    match what:
        case "version":
            write(path, range(50), version=2)
        case "cut":
            write(path, range(50), count=60)
        case "half a token":
            path.write_bytes(path.read_bytes() + b"\0")
        case "odd":
            path.write_bytes(bytes(101))
        case "header":
            path.write_bytes(path.read_bytes()[:600])
        case "empty":
            path.write_bytes(b"")
        case "no tokens":
            write(path, [])
        case "llama":
            write(path, range(50), magic=20240801, version=7)


@pytest.mark.parametrize(
    "what, words",
    [
        ("version", "train_000.bin: version 2 at offset 4 is not known; give files of version 1"),
        ("cut", "says 60 tokens at offset 8, but 100 bytes follow it, of 50; it is cut off"),
        ("half a token", "says 50 tokens at offset 8, but 101 bytes follow it"),
        ("odd", "train_000.bin holds 101 bytes of tokens from offset 0; it must be an even number above 0"),
        ("header", "train_000.bin ends within its header, at offset 600 of 1024"),
        ("empty", "train_000.bin holds 0 bytes of tokens from offset 0"),
        ("no tokens", "train_000.bin holds 0 bytes of tokens from offset 1024"),
        ("llama", r"train_000.bin holds tokens of uint32 \(20240801\); give files of uint16 tokens"),
    ],
)
def test_a_file_that_is_none_is_named_with_the_offset(tmp_path, what, words):
    write(tmp_path / "train_000.bin", range(50))
    load(config(tmp_path))
    changed(tmp_path, what)
    with pytest.raises(DataError, match=words):
        load(config(tmp_path))


def test_a_token_outside_the_vocabulary_is_named_with_its_place_or_its_window_counts_nothing(tmp_path):
    tokens = shards(tmp_path, [400, 600])[400:]
    tokens[131] = VOCABULARY
    write(tmp_path / "train_001.bin", tokens, header=False)
    how = {"seed": 0, "batch_size": 99, "workers": 0}
    with (
        training_stream(load(config(tmp_path)).splits["train"], **how) as stream,
        pytest.raises(DataError, match="train_001.bin, token 131: 50257 is outside 0..50256; mend or remove it"),
    ):
        stream([0])
    part = load(config(tmp_path, on_bad="skip")).splits["train"]
    with training_stream(part, **how) as stream:
        batch = stream([0])[0]
    bad = (400 + 131 - 200) // 7
    assert batch["id"][batch["weight"] == 0].tolist() == [bad] and part.where(bad) == "train_001.bin, token 129"


@pytest.mark.parametrize(
    "name, more, error, words",
    [
        ("none_*.bin", {}, DataError, "there is no such file here or in JAXNETS_DATA; .* with \\* where several"),
        ("train_*.bin,valid=none", {}, DataError, "tokens:none: there is no such file"),
        ("train_*.bin,valid", {}, ConfigError, "'valid' is not allowed; give valid=PATTERN or test=PATTERN"),
        ("train_*.bin", {"vocabulary": None}, ConfigError, "data.vocabulary is none, .* as in 50257 for GPT-2"),
        ("train_*.bin", {"context": None}, ConfigError, "data.context is none"),
        ("train_*.bin", {"folds": 3}, ConfigError, "leave data.folds out"),
    ],
)
def test_words_that_cannot_be_followed(tmp_path, name, more, error, words):
    shards(tmp_path, [400])
    with pytest.raises(error, match=words):
        load(config(tmp_path, name, **more))


def test_a_file_in_two_splits_is_refused_and_a_changed_one_is_seen(tmp_path):
    shards(tmp_path, [400, 400])
    with pytest.raises(DataError, match="train_001.bin and .*train_001.bin have one name"):
        load(config(tmp_path, f"train_*.bin,valid={tmp_path}/train_001.bin"))
    before = load(config(tmp_path)).schema.fingerprint
    write(tmp_path / "train_001.bin", np.zeros(400), header=False)
    assert load(config(tmp_path)).schema.fingerprint != before


def test_a_run_on_shards_ends_the_same_if_it_was_stopped_on_the_way(tmp_path):
    for number in range(2):
        write(tmp_path / f"train_{number}.bin", np.random.default_rng(number).integers(0, 61, 1000), header=number == 0)
    loop = {"steps": 12, "save_every": 6, "log_every": 3, "limit_steps": 5, "keep_best": False, "dispatch": "bare"}
    experiment = Experiment(
        data=config(tmp_path, vocabulary=61, workers=1),
        model=GPT(context=7, width=8, depth=1, heads=1, vocabulary_multiple=64),
        task=LanguageModelling(),
        optim=AdamW(lr=1e-2),
        loop=small.loop(**loop),
    )
    whole = dataclasses.replace(experiment, loop=dataclasses.replace(experiment.loop, limit_steps=None))
    run(experiment, tmp_path / "run")
    run(whole, tmp_path / "run", allow=("loop.limit_steps",))
    run(whole, tmp_path / "whole")
    weights = [files.hash_file(tmp_path / name / "weights.safetensors") for name in ("run", "whole")]
    assert weights[0] == weights[1]
