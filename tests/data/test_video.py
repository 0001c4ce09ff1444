"""Files of video: which frames make a clip, that the draw alone decides it, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from jaxnets import data
from jaxnets.data import Data, Video, load
from jaxnets.data.video import decoding
from jaxnets.data.video.clips import read_clip
from jaxnets.data.video.decoding import BadClip
from jaxnets.errors import ConfigError, DataError

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
    av = pytest.importorskip("av", reason="video files are decoded by PyAV: pip install jaxnets[video]")
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for one in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
        file.mux(stream.encode())


@pytest.mark.parametrize("kind, codec", [("mp4", "mpeg4"), ("avi", "ffv1"), ("gif", None)])
def test_encoded_files_are_their_frames(tmp_path, kind, codec):
    path, frames = tmp_path / f"film.{kind}", film(side=32)
    if codec is None:
        pytest.importorskip("av", reason="video files are decoded by PyAV: pip install jaxnets[video]")
        first, *others = map(Image.fromarray, frames)
        first.save(path, save_all=True, append_images=others, duration=40)
    else:
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
