"""`audio:PATH`: files of sound in folders of classes, named in a table, or named by a pattern; see `data.listing`.

What fits is decoded once and held as arrays; what does not is read while training, each clip when it is wanted.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from jaxnets.data.audio.decoding import SUFFIXES, BadSound, read_wave
from jaxnets.data.audio.spectrum import Sound, log_mel
from jaxnets.data.cache import prepared
from jaxnets.data.draws import Draw
from jaxnets.data.listed import classified, listing_rows
from jaxnets.data.listing import Listing, list_files
from jaxnets.data.place import locate
from jaxnets.data.reader import Bad, Leaf
from jaxnets.data.schema import Dataset, Schema, Split, moments
from jaxnets.data.stream import workers_of
from jaxnets.errors import ConfigError, DataError
from jaxnets.files import fingerprint, hash_file
from jaxnets.types import experiment_dataclass

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_IN_MEMORY = 1 << 29  # bytes of decoded clips; more are read while training
_FITTED = 512  # train clips that mean and deviation are fitted on, evenly spread
_AT_ONCE = 32  # clips that one thread decodes, or one call of the spectrogram takes


@experiment_dataclass
class Audio:
    """How files of sound become arrays, and how a model sees them."""

    rate: int = 16000  # samples a second; what has another rate is resampled
    seconds: float = 1.0  # of a clip; of longer ones a part is taken, shorter ones lie in the middle of silence
    crop: Literal["centre", "random"] = "centre"  # which part; random while training alone, and read while training
    mels: int | None = 64  # bands of the log-mel spectrogram; none = the model takes the samples
    frame_seconds: float = 0.025  # what one spectrum is taken of
    hop_seconds: float = 0.01  # from one spectrum to the next
    range_db: float = 80.0  # what lies further below the loudest band of its clip counts as silence
    stream: bool | None = None  # read while training; none = if the clips fill more than half a GiB


class AudioReader:
    """The clips of a listing, each read when it is wanted (see Reader)."""

    def __init__(self, listing: Listing, config: Audio, bad: Bad) -> None:
        self.listing, self._config, self._bad = listing, config, bad
        self._samples = samples_of(config)

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        return {"inputs": Leaf((self._samples,), "float32")}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        random = draws is not None and self._config.crop == "random"
        for place, row in enumerate(rows):
            draw = Draw(draws[place]) if random else None  # type: ignore[index]
            path = self.listing.file(int(row))
            try:
                out["inputs"][place] = read_wave(path, rate=self._config.rate, samples=self._samples, draw=draw)
            except (BadSound, OSError) as error:
                out["weight"][place] = 0  # unless the next line raises
                self._bad(str(path), error)


def samples_of(config: Audio) -> int:
    """Of one clip, a whole number of hops where there is a spectrogram.

    >>> samples_of(Audio(rate=8000, seconds=1.001)), samples_of(Audio(rate=8000, seconds=1.001, mels=None))
    (8000, 8008)
    """
    samples = round(config.rate * config.seconds)
    return samples if config.mels is None else samples - samples % _hop(config)


def sound_of(config: Audio) -> Sound:
    """How the model sees a clip. ConfigError if no frame fits into it."""
    if config.mels is None:
        return Sound(config.rate)
    frame, hop = round(config.rate * config.frame_seconds), _hop(config)
    if not 1 <= hop <= frame or samples_of(config) < hop:
        raise ConfigError(
            f"data.audio.frame_seconds {config.frame_seconds}, hop_seconds {config.hop_seconds} and seconds "
            f"{config.seconds} are {frame}, {hop} and {round(config.rate * config.seconds)} samples; each hop must be "
            "at least 1 and at most a frame and a clip"
        )
    return Sound(config.rate, config.mels, frame, hop, float(config.range_db))


def _hop(config: Audio) -> int:
    return max(1, round(config.rate * config.hop_seconds))


def read(config: Data, name: str) -> Dataset:
    """The source `audio:name`. ConfigError says what is wrong in the config; DataError names the file."""
    sound = sound_of(config.audio)
    bad = Bad(config.on_bad, most=config.most_bad)
    label = None if config.names else config.target
    listing = list_files(unpacked(name), kind="audio", suffixes=SUFFIXES, bad=bad, label_column=label)
    listing = classified(config, listing, bad, ways="or data.names as in {label}_{speaker}.wav")
    reader = AudioReader(listing, config.audio, bad)
    if streams(config.audio, len(listing)):
        rows = listing_rows(config, listing)
        splits = {split: _streamed(reader, ids) for split, ids in rows.items()}
    else:
        waves, heard = _decoded(reader, workers_of(config.workers))
        listing, waves = listing.take(np.flatnonzero(heard).tolist()), waves[heard]
        rows = listing_rows(config, listing)
        splits = {split: _held(listing, waves[ids], ids) for split, ids in rows.items()}
    return _dataset(config, listing, sound, splits)


def _dataset(config: Data, listing: Listing, sound: Sound, splits: dict[str, Split]) -> Dataset:
    train = splits["train"]
    if not train.length:
        raise DataError(f"{config.source}: the train split is empty; lower data.valid and data.test")
    hashes = listing.known_by()
    mean, std = fitted_moments(train, sound) if config.standardize else ((), ())
    schema = Schema(
        source=config.source,
        fingerprint=fingerprint(hashes),
        input_kind="sound",
        input_shape=(samples_of(config.audio),),
        input_dtype="float32",
        target_kind="class",
        input_mean=mean,
        input_std=std,
        classes=listing.classes,
        counts=tuple((split, part.length) for split, part in splits.items()),
        files=tuple(hashes.items()),
        sound=sound,
    )
    return Dataset(schema, splits)


def streams(config: Audio, clips: int) -> bool:
    """Whether clips are read while training. ConfigError if random parts of them are wanted from arrays."""
    if config.crop == "random" and config.stream is False:
        raise ConfigError("data.audio.crop random takes parts of files that are read while training; leave stream out")
    if config.stream is not None or config.crop == "random":
        return config.stream is not False
    return 4 * clips * samples_of(config) > _IN_MEMORY


def unpacked(name: str) -> str:
    """A folder in the cache with the content of a tar file, or `name` if it is none. It is unpacked once."""
    path = locate(name) if name.endswith((".tar", ".tar.gz", ".tgz")) else None
    if path is None:
        return name

    def unpack(aside: Path) -> None:
        try:
            with tarfile.open(path) as archive:
                archive.extractall(aside, filter="data")  # no absolute paths, no .., no devices
        except Exception as error:  # whatever tar, gzip and zlib raise at damaged bytes
            raise DataError(f"{path} cannot be unpacked: {error}; restore the file") from error

    folder = prepared(f"audio/{path.name.split('.')[0]}-{hash_file(path)[:16]}", unpack)
    inside = [entry for entry in folder.iterdir() if entry.is_dir()]
    return str(inside[0] if len(inside) == 1 else folder)


def _decoded(reader: AudioReader, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """(all clips (n t), which of them could be read (n,))."""
    count = len(reader.listing)
    waves = np.zeros((count, *reader.leaves["inputs"].shape), np.float32)
    weight = np.ones(count, np.float32)

    def decode(start: int) -> None:
        part = slice(start, min(start + _AT_ONCE, count))
        reader.fill(np.arange(part.start, part.stop), {"inputs": waves[part], "weight": weight[part]}, None)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        list(pool.map(decode, range(0, count, _AT_ONCE)))
    return waves, weight > 0


def _held(listing: Listing, waves: np.ndarray, ids: np.ndarray) -> Split:
    assert listing.labels is not None
    arrays = {"inputs": waves, "targets": listing.labels[ids]}
    return Split(arrays, len(ids), rows=ids, origins=_origins(listing.paths))


def _streamed(reader: AudioReader, ids: np.ndarray) -> Split:
    assert reader.listing.labels is not None
    arrays = {"targets": reader.listing.labels[ids]}
    return Split(arrays, len(ids), rows=ids, origins=_origins(reader.listing.paths), reader=reader)


def _origins(paths: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple((path, row) for row, path in enumerate(paths))


def fitted_moments(train: Split, sound: Sound) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each band, or mean 0 and the deviation of all samples, over clips of the train split."""
    ids = np.unique(np.linspace(0, train.length - 1, min(train.length, _FITTED)).astype(int))
    waves = _clips(train, ids)
    if not sound.mels:
        return (0.0,), (float(np.sqrt(np.mean(np.square(waves, dtype=np.float64)))) or 1.0,)
    seen = jax.jit(lambda waves: log_mel(waves, sound))
    padded = np.pad(waves, ((0, -len(waves) % _AT_ONCE), (0, 0)))
    bands = [np.asarray(seen(padded[start : start + _AT_ONCE])) for start in range(0, len(padded), _AT_ONCE)]
    return moments(np.concatenate(bands)[: len(waves)])


def _clips(split: Split, ids: np.ndarray) -> np.ndarray:
    """(n t) of these examples, without those that cannot be read."""
    if split.reader is None:
        return split.arrays["inputs"][ids]
    out: dict[str, Any] = {
        "inputs": np.zeros((len(ids), *split.reader.leaves["inputs"].shape), np.float32),
        "weight": np.ones(len(ids), np.float32),
    }
    split.reader.fill(split.row(ids), out, None)
    return out["inputs"][out["weight"] > 0]
