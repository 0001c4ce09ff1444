"""Files of sound: what is decoded, how a model sees it, in which order it comes, what is refused."""

import dataclasses
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from scipy import signal
from small import experiment, loop

from jaxnets import evaluate
from jaxnets.build import check_schema
from jaxnets.contents import examples
from jaxnets.data import (
    Audio,
    Data,
    Filter,
    Flip,
    Gain,
    Mixup,
    Noise,
    Schema,
    Shift,
    SpecAugment,
    SpectrumWarp,
    Speed,
    evaluation_batches,
    load,
    preprocess,
    training_stream,
)
from jaxnets.data.audio.decoding import BadSound, read_wave
from jaxnets.data.audio.spectrum import Sound, log_mel, mel_bank, transform_length
from jaxnets.data.draws import Draw
from jaxnets.errors import ConfigError, DataError
from jaxnets.inspection import check
from jaxnets.models import CNN, MLP, AudioResNet, WaveformResNet
from jaxnets.predictions import read_inputs
from jaxnets.run import run

RATE, SAMPLES = 800, 200


def tone(hertz, seconds=0.25, rate=RATE, level=0.5):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve tones a class, each of its own height: low and high."""
    root = tmp_path_factory.mktemp("tones")
    for kind, base in (("low", 20), ("high", 150)):
        (root / kind).mkdir()
        for number in range(12):
            soundfile.write(root / kind / f"{number:02}_{'ab'[number % 2]}.wav", tone(base + 5 * number), RATE)
    return root


def config(folder, **more):
    audio = {"rate": RATE, "seconds": 0.25, "mels": 8, "frame_seconds": 0.05, "hop_seconds": 0.025}
    audio |= more.pop("audio", {})
    return Data(source=f"audio:{folder}", **({"batch_size": 4, "audio": Audio(**audio), "workers": 0} | more))


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_a_file_is_mono_at_one_rate_in_the_middle(tmp_path, kind):
    """A tone of 3 kHz at 16 kHz, another in the other channel, as 8 kHz: against the tones themselves."""
    path, rate = tmp_path / f"x.{kind}", 8000
    both = np.stack([tone(440, 0.5, 16000), tone(3000, 0.5, 16000)], axis=1)
    soundfile.write(path, both, 16000)
    found = read_wave(path, rate=rate, samples=6000)
    expected = tone(440, 0.5, rate, 0.25) + tone(3000, 0.5, rate, 0.25)
    assert found.dtype == np.float32 and not found[:1000].any() and not found[5000:].any()
    inner = slice(100, -100)  # the filter rings at the ends
    tolerance = 0.05 if kind == "ogg" else 0.003  # lossy; the filter's ripple
    np.testing.assert_allclose(found[1000:5000][inner], expected[inner], atol=tolerance)
    part = read_wave(path, rate=rate, samples=1000)  # the middle, of which alone is read
    np.testing.assert_allclose(part[inner], expected[1500:2500][inner], atol=tolerance)
    draws = [Draw(np.array([0, place], np.uint64)) for place in range(8)]
    starts = [read_wave(path, rate=rate, samples=1000, draw=draw) for draw in draws]
    assert len({wave.tobytes() for wave in starts}) > 4


@pytest.mark.parametrize("rate, frame, hop, mels", [(8000, 256, 125, 20), (16000, 400, 160, 40)])
def test_log_mel_is_scipys_spectrogram_summed_by_triangles(rate, frame, hop, mels):
    sound = Sound(rate, mels, frame, hop, 60.0)
    waves = np.random.default_rng(0).normal(size=(2, 20 * hop)) * [[0.1], [0.01]]
    found = jax.jit(lambda waves: log_mel(waves, sound))(jnp.asarray(waves, jnp.float32))
    padded = np.pad(waves, ((0, 0), ((frame - hop) // 2, frame)))
    points = transform_length(frame)
    hertz, _, power = signal.spectrogram(
        padded, rate, "hann", frame, frame - hop, points, detrend=False, scaling="spectrum"
    )
    power[:, [0, -1]] *= 2  # scipy counts every other frequency twice
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), mels + 2) / 2595) - 1)
    bands = np.zeros((2, 20, mels))
    for band in range(mels):
        weight = np.interp(hertz, edges[band : band + 3], [0, 1, 0])
        bands[:, :, band] = np.einsum("bfn,f->bn", power, weight)[:, :20]
    expected = np.log(np.maximum(bands / bands.max(axis=(1, 2), keepdims=True), 1e-6))
    np.testing.assert_allclose(found, expected, atol=2e-3)  # float32 sums of a few hundred terms, in the logarithm
    assert found.shape == (2, *sound.shape(20 * hop)) and (mel_bank(sound).max(axis=0) > 0).all()


def test_a_tone_lies_in_its_band_and_loudness_and_silence_do_not_matter():
    sound = Sound(8000, 40, 256, 125)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42) / 2595) - 1)
    waves = np.stack([tone(edges[20], 1.0, 8000), tone(edges[20], 1.0, 8000, 0.01), np.zeros(8000)])
    found = np.asarray(log_mel(jnp.asarray(waves, jnp.float32), sound))
    assert (found[0].argmax(axis=1) == 19).all()
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)
    assert found.max() <= 0 and (found[2] == found[2].min()).all() and np.isfinite(found).all()


def test_the_contract_of_the_source(folder):
    dataset = load(config(folder, valid=0.25, test=0.25))
    check(dataset, batch_size=4)
    schema = dataset.schema
    assert schema.classes == ("high", "low") and schema.input_kind == "sound" and schema.sound.rate == RATE
    assert dict(schema.counts) == {"train": 12, "valid": 6, "test": 6}
    assert Schema.from_json(schema.to_json()) == schema == load(config(folder, valid=0.25, test=0.25)).schema
    rows = np.concatenate([split.rows for split in dataset.splits.values()])
    assert sorted(rows.tolist()) == list(range(24))
    train = dataset.splits["train"]
    seen = np.asarray(preprocess(schema, train.arrays["inputs"]))
    assert seen.shape == (12, *schema.inputs(1, raw=False).shape[1:])
    np.testing.assert_allclose(seen.mean(axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(axis=(0, 1)), 1, atol=1e-3)
    file = folder / train.where(3).split(",")[0]
    np.testing.assert_array_equal(read_wave(file, rate=RATE, samples=SAMPLES), train.arrays["inputs"][3])
    waves = load(config(folder, audio={"mels": None}))
    scaled = np.asarray(preprocess(waves.schema, waves.splits["train"].arrays["inputs"]))
    assert scaled.shape[1:] == (SAMPLES,) and abs(np.sqrt(np.mean(scaled**2)) - 1) < 1e-3


@pytest.mark.parametrize("processes", [1, 2])
def test_streamed_is_held_in_any_number_of_processes_and_workers_from_any_step_on(folder, processes):
    held = load(config(folder)).splits
    how = {"seed": 3, "batch_size": 4}
    with training_stream(held["train"], workers=0, **how) as stream:
        expected = stream(range(12))
    found = []
    for index in range(processes):
        own = load(config(folder, audio={"stream": True})).splits["train"]
        with training_stream(own, workers=2, index=index, count=processes, **how) as stream:
            found.append(stream(range(5, 12)))
    for number, batch in enumerate(expected[5:]):
        for name in ("id", "inputs", "targets", "weight"):
            np.testing.assert_array_equal(np.concatenate([own[number][name] for own in found]), batch[name])


def test_random_parts_are_drawn_while_training_alone(folder):
    part = load(config(folder, audio={"seconds": 0.1, "crop": "random"})).splits["train"]
    streams = [training_stream(part, seed=1, batch_size=4, workers=workers) for workers in (0, 2)]
    one, two = (stream(range(8)) for stream in streams)
    streams[1].close()
    seen = {}
    for batch, same in zip(one, two, strict=True):
        np.testing.assert_array_equal(batch["inputs"], same["inputs"])
        for number, wave in zip(batch["id"].tolist(), batch["inputs"], strict=True):
            seen.setdefault(number, []).append(wave.tobytes())
    assert any(len(set(waves)) > 1 for waves in seen.values())
    first, again = (next(evaluation_batches(part, 4, workers=0))["inputs"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ConfigError, match="data.audio.crop random takes parts of files"):
        load(config(folder, audio={"crop": "random", "stream": False}))


def test_names_hold_labels_and_splits_go_by_pattern_and_by_group(tmp_path):
    for speaker in ("ann", "bob", "eve"):
        for digit in (3, 12):
            for index in range(4):
                soundfile.write(tmp_path / f"{digit}_{speaker}_{index}.wav", tone(100), RATE)
    how = {"names": "{label}_{speaker}_{index}.wav", "valid": 0.2, "standardize": False}

    def speakers(**more):
        dataset = load(config(tmp_path, **how, **more))
        assert dataset.schema.classes == ("3", "12")
        return {
            name: [dataset.splits[name].where(i).split(".")[0].split("_")[1:] for i in range(part.length)]
            for name, part in dataset.splits.items()
        }

    found = speakers(split_by="where:index=[0-1]")
    assert sorted(found["test"]) == sorted([s, i] for s in ("ann", "bob", "eve") for i in "01" for _ in range(2))
    assert {i for _, i in found["train"] + found["valid"]} == {"2", "3"}
    for fold, speaker in enumerate(("ann", "bob", "eve")):
        found = speakers(split_by="group:speaker", folds=3, fold=fold)
        assert {s for s, _ in found["test"]} == {speaker} and len(found["test"]) == 8
        assert speaker not in {s for s, _ in found["train"] + found["valid"]}
    found = speakers(split_by="group:speaker", test=0.4)
    assert sorted(s for part in found.values() for s in {s for s, _ in part}) == ["ann", "bob", "eve"]  # one in each
    assert speakers(split_by="where:path=.*_eve_.*")["test"] == speakers(split_by="where:speaker=eve")["test"]
    for split_by, words, more in (
        ("where:index=9", "takes 0 of 24 rows; index is", {}),
        ("where:who=ann", "has no column who; it has label, speaker, index, path", {}),
        ("where:index=[", "unterminated", {}),
        ("group:speaker", "has 3 groups, fewer than 4", {"folds": 4}),
        ("where:index=0", "data.folds 3 says nothing with data.split_by 'where", {"folds": 3}),
    ):
        with pytest.raises(ConfigError, match=words):
            speakers(split_by=split_by, **more)
    with pytest.raises(DataError, match="its name does not fit data.names '{label}-{speaker}.wav'"):
        load(config(tmp_path, names="{label}-{speaker}.wav"))


def broken(path, kind):
    """A file that is none, by what is wrong with it."""
    whole = path.read_bytes()
    match kind:
        case "is cut off":
            path.write_bytes(whole[:-50])
        case "holds nothing":
            path.write_bytes(b"")
        case "not a readable sound":
            path.write_bytes(b"%PDF-1.4 " + whole)
        case "holds no samples":
            soundfile.write(path, np.zeros(0), RATE)
        case "NaN or infinite":
            soundfile.write(path, np.array([0, np.nan] * 50), RATE, subtype="FLOAT")
        case "samples a second":
            path.write_bytes(whole[:24] + struct.pack("<I", 2**31 - 1) + whole[28:])


@pytest.mark.parametrize(
    "kind",
    ["is cut off", "holds nothing", "not a readable sound", "holds no samples", "NaN or infinite", "samples a second"],
)
def test_a_bad_file_is_named_or_left_out(tmp_path, kind):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(5):
            soundfile.write(tmp_path / name / f"{number}.wav", tone(50), RATE)
    bad = tmp_path / "b" / "3.wav"
    broken(bad, kind)
    with pytest.raises(BadSound, match=kind):
        read_wave(bad, rate=RATE, samples=SAMPLES)
    with pytest.raises(DataError, match=f"b/3.wav: .*{kind}.*--data.on_bad skip"):
        load(config(tmp_path))
    dataset = load(config(tmp_path, on_bad="skip"))
    assert sum(dict(dataset.schema.counts).values()) == 9
    assert all(split.where(i)[:7] != "b/3.wav" for split in dataset.splits.values() for i in range(split.length))
    part = load(config(tmp_path, on_bad="skip", audio={"stream": True}, test=0.0, valid=0.0)).splits["train"]
    weights = {part.where(int(i)): w for b in evaluation_batches(part, 5, workers=2)
               for i, w in zip(b["id"], b["weight"], strict=True)}  # fmt: skip
    assert [name for name, weight in weights.items() if not weight] == ["b/3.wav, row 0"]
    with pytest.raises(DataError, match="more than the 0 that data.most_bad allows"):
        load(config(tmp_path, on_bad="skip", most_bad=0))


def test_what_is_no_set_of_sounds_is_refused(tmp_path, folder):
    with pytest.raises(DataError, match="does not say of what class its files are"):
        load(config(folder / "low"))
    with pytest.raises(ConfigError, match="each hop must be at least 1"):
        load(config(folder, audio={"frame_seconds": 0.001}))


def test_a_run_learns_tones_and_predicts_a_file_as_it_was_seen(folder, tmp_path):
    """What evaluation wrote of a test file is what `predict` says of the file; the page and the sheet hold pictures."""
    stages = {
        "data": config(
            folder, augment=(Shift(), Gain(), Speed(), Filter(), Noise(), SpectrumWarp(), SpecAugment(), Mixup())
        ),
        "model": AudioResNet(width=4, depths=(1,)),
    }
    done = experiment(**stages, loop=loop(steps=20, eval_every=20))
    run(done, tmp_path / "run")
    dataset = load(done.data)
    table = np.load(tmp_path / "run" / "evaluation.npz")
    for number, row in enumerate(table["row"].tolist()):
        file = folder / dataset.splits["test"].where(number).split(",")[0]
        inputs = read_inputs(file, dataset.schema)
        np.testing.assert_array_equal(inputs[0], dataset.splits["test"].arrays["inputs"][number])
        found = evaluate.predict(tmp_path / "run", inputs)["probabilities"][0]
        np.testing.assert_allclose(found, table["probabilities"][number], atol=1e-6)
        assert row == dataset.splits["test"].rows[number]
    with pytest.raises(DataError, match="this run takes sounds; give .npy, .wav"):
        read_inputs(Path(__file__), dataset.schema)
    sheet = examples(done, dataset)
    assert len(sheet) == 16 and sheet[0].before.shape == sheet[0].after.shape == (8, 10, 1)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model": WaveformResNet()}, "model waveformresnet does not fit data.audio.mels 8"),
        ({"model": CNN()}, "model cnn takes images, but audio:.* holds sounds"),
        ({"augment": (Flip(),)}, "data.augment.0 flip takes images, but audio:.* holds sounds"),
        ({"augment": (SpecAugment(),), "audio": {"mels": None}, "model": WaveformResNet()}, "takes spectrograms, but"),
        ({"source": "wine", "augment": (Gain(),)}, "data.augment.0 gain takes sounds, but wine holds rows"),
        ({"source": "wine", "model": AudioResNet()}, "model audioresnet takes sounds, but wine holds rows"),
    ],
)
def test_what_does_not_go_with_sound_is_refused(folder, changes, words):
    data = config(folder, audio=changes.get("audio", {}), augment=changes.get("augment", ()))
    data = dataclasses.replace(data, source=changes.get("source", data.source))
    model = AudioResNet() if data.source != "wine" else MLP()
    with pytest.raises(ConfigError, match=words):
        check_schema(experiment(data=data, model=changes.get("model", model)), load(data).schema)
