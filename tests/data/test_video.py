"""Files of video: which frames make a clip, that the draw alone decides it, and what is refused."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxnets import data
from jaxnets.config import Experiment
from jaxnets.data import Data, Video, load
from jaxnets.data.video import decoding
from jaxnets.data.video.clips import read_clip
from jaxnets.data.video.decoding import BadClip
from jaxnets.errors import ConfigError, DataError
from jaxnets.loop import Loop
from jaxnets.models import R2Plus1D
from jaxnets.optim import AdamW
from jaxnets.predictions import predict_files
from jaxnets.run import run

FRAMES, STEP = 12, 10  # of a file; levels from one of its frames to the next


def film(first=0, side=8):
    """(t h w 3) uint8 whose every frame is of one grey that tells its number."""
    levels = (first + STEP * np.arange(FRAMES)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (FRAMES, side, side + 4, 3)).copy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten clips a class; the first level tells the class."""
    root = tmp_path_factory.mktemp("films")
    for number, kind in enumerate(("dim", "bright")):
        (root / kind).mkdir()
        for index in range(10):
            np.save(root / kind / f"{index}.npy", film(100 * number + index))
    return root


def config(folder, **video):
    return Data(source=f"video:{folder}", batch_size=4, workers=0, video=Video(**{"frames": 3, "size": 8} | video))


def test_clips_are_drawn_while_training_and_in_the_middle_else(folder):
    """The greys of a clip say which frames it holds."""
    dataset = load(config(folder, step=2))
    schema, train = dataset.schema, dataset.splits["train"]
    assert schema.classes == ("bright", "dim") and schema.input_shape == (3, 8, 8, 3)
    starts = set()
    for workers in (0, 2):
        with data.training_stream(train, seed=0, batch_size=4, workers=workers) as stream:
            batches = stream([0, 1, 2, 3, 4, 5, 6, 7])
        greys = np.concatenate([batch["inputs"] for batch in batches])[:, :, 0, 0, 0].astype(int)
        targets = np.concatenate([batch["targets"] for batch in batches])
        assert (np.diff(greys, axis=1) == 2 * STEP).all()
        assert ((greys[:, 0] >= 100) | (targets == 1)).all()
        starts.add(tuple(greys[:, 0] % 100 // STEP))
    (starts,) = starts  # both ways the same
    assert len(set(starts)) >= 5 and max(starts) <= FRAMES - 5
    batch = data.fetch(dataset.splits["test"], data.Wanted(np.arange(4, dtype=np.int32), np.ones(4, np.float32)))
    middle = (FRAMES - 5) // 2
    assert (batch["inputs"][:, 0, 0, 0, 0] % 100 // STEP == middle).all()


def encode(path, frames, codec, **options):
    """Frames (t h w 3) as a file of video; without a codec as Pillow writes them."""
    av = pytest.importorskip("av", reason="video files are decoded by PyAV: pip install jaxnets[video]")
    if codec is None:
        first, *others = map(Image.fromarray, frames)
        first.save(path, save_all=True, append_images=others, duration=40)
        return
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for one in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
        file.mux(stream.encode())


@pytest.mark.parametrize("kind, codec", [("mp4", "mpeg4"), ("avi", "ffv1"), ("gif", None)])
def test_encoded_files_are_their_frames(tmp_path, kind, codec):
    path, frames = tmp_path / f"film.{kind}", film(side=32)
    encode(path, frames, codec)
    clip = read_clip(path, Video(frames=5, step=2, size=16))
    np.testing.assert_allclose(clip, frames[1:11:2, :16, :16], atol=4.9)  # lossy; half of STEP
    ends = read_clip(path, Video(frames=FRAMES + 2, size=16))
    np.testing.assert_allclose(
        ends[:, 0, 0, 0], np.append(frames[:, 0, 0, 0], frames[-1:, 0, 0, 0].repeat(2)), atol=4.9
    )
    path.write_bytes(b"nothing" * 50)
    with pytest.raises(BadClip, match="not a readable video"):
        read_clip(path, Video(frames=2))


@pytest.mark.parametrize(
    "kind, codec, options, sought",
    [
        ("mp4", "libx264", {"g": "6", "bf": "2"}, True),
        ("mkv", "libx264", {"x264-params": "open-gop=1:keyint=6:bframes=2"}, True),
        ("mkv", "libx264", {"x264-params": "intra-refresh=1:keyint=6"}, False),
        ("mp4", "mpeg4", {"g": "6", "bf": "2"}, True),
        ("avi", "mpeg4", {"g": "6"}, True),
        ("webm", "libvpx-vp9", {"g": "6", "cpu-used": "8", "deadline": "realtime"}, True),
        ("mkv", "ffv1", {"g": "6"}, False),
    ],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_a_clip_from_the_nearest_key_frame_on_is_the_clip_from_the_beginning(tmp_path, kind, codec, options, sought):
    path, total = tmp_path / f"film.{kind}", 30
    draw = np.random.default_rng(0)
    scene = draw.integers(0, 256, (64, 200, 3), dtype=np.uint8)
    encode(path, np.stack([scene[:, 3 * n : 3 * n + 64] for n in range(total)]), codec, **options)
    known = decoding.film(path)
    assert known.total == total and (len(known.starts) > 3 or not sought)
    whole = [np.asarray(frame) for frame in decoding.frames_at(known._replace(times=None), np.arange(total))]
    assert len({frame.tobytes() for frame in whole}) == total
    hits = 0
    for begin in range(total - 3):
        wanted = begin + np.array([0, 2, 3, 3])
        for place, frame in zip(wanted, decoding.frames_at(known, wanted), strict=True):
            np.testing.assert_array_equal(frame, whole[place])
        hits += bool(decoding._from_start(known, wanted))
    assert hits > total // 2 if sought else hits == 0


def test_what_is_no_clip_is_named(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"data.video.frames 0: give at least 1"):
        load(config(folder, frames=0))
    for kind, dtype in (("a", np.float32), ("b", np.uint8)):
        (tmp_path / kind).mkdir()
        for index in range(4):
            np.save(tmp_path / kind / f"{index}.npy", film().astype(dtype))
    with pytest.raises(DataError, match=r"a/\d.npy: holds float32 of shape \(12, 8, 12, 3\), not uint8"):
        load(config(tmp_path))


def sweep(rising, index, side=16):
    """(t side side+4 3) uint8: a bar that goes down or up, from a place of its own; a frame alone says nothing."""
    frames = np.full((10, side, side + 4, 3), 20, np.uint8)
    for number in range(10):
        row = (index + (number if rising else -number)) * 2 % side
        frames[number, row : row + 2] = 230
    return frames


def test_a_run_learns_from_encoded_files_and_predicts_one_as_it_was_seen(tmp_path, capsys):
    """What evaluation wrote of a test file is what `predict` says of the file, and of its clip as an array."""
    for number, kind in enumerate(("down", "up")):
        (tmp_path / "films" / kind).mkdir(parents=True)
        for index in range(12):
            encode(tmp_path / "films" / kind / f"{index}.mp4", sweep(number, index), "mpeg4")
    source = config(tmp_path / "films", frames=4, size=16)
    experiment = Experiment(
        data=dataclasses.replace(source, batch_size=8),
        model=R2Plus1D(width=4, depths=(1,), stem="small"),
        optim=AdamW(lr=1e-2),
        loop=Loop(steps=30, save_every=30, eval_every=30),
    )
    figures = run(experiment, tmp_path / "run").figures
    assert figures["test"]["accuracy"] >= 0.75  # one of four at random: 5 in 16 or more
    part = load(experiment.data).splits["test"]
    place = next(i for i in range(part.length) if part.where(i).startswith("up/"))
    file = tmp_path / "films" / part.where(place).partition(",")[0]
    with np.load(tmp_path / "run" / "evaluation.npz") as kept:
        said = kept["probabilities"][place]
    np.save(tmp_path / "whole.npy", sweep(1, int(file.stem)))  # the video before it was encoded
    np.save(tmp_path / "clip.npy", read_clip(file, experiment.data.video))
    predict_files(tmp_path / "run", [file, tmp_path / "clip.npy", tmp_path / "whole.npy"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [row["file"] for row in rows] == [str(file), str(tmp_path / "clip.npy"), str(tmp_path / "whole.npy")]
    for row in rows[:2]:
        np.testing.assert_allclose([row["p(down)"], row["p(up)"]], said, atol=1e-5)
    np.testing.assert_allclose(rows[2]["p(up)"], said[1], atol=0.2)  # but for what the codec lost
    file.write_bytes(b"nothing" * 50)
    with pytest.raises(DataError, match=rf"{file.name}: not a readable video .*; give a file that can be played"):
        predict_files(tmp_path / "run", [file])
    with pytest.raises(DataError, match="this run takes videos; give .npy, .mp4, .mov"):
        predict_files(tmp_path / "run", [Path(__file__)])
