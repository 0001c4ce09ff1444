"""A file of sound as an array of fixed length: mono, at one rate, cut or padded; what cannot be heard is refused."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.data.draws import Draw
from jaxnets.errors import MissingExtra

SUFFIXES = (".wav", ".flac", ".ogg")
_RATES = (100, 768_000)  # samples a second that are believed


class BadSound(ValueError):
    """A file holds no sound that can be used; the message says why, not where."""


def read_wave(path: Path, *, rate: int, samples: int, draw: Draw | None = None) -> np.ndarray:
    """(samples,) float32 from -1 to 1: the mean of the channels, resampled by a polyphase filter.

    Of a longer clip the middle is taken or, with `draw`, a random part; only that part is read. A shorter one lies in
    the middle of silence. Raises BadSound for what is no sound, OSError for a file that cannot be opened.
    """
    soundfile = _soundfile(path)
    _check_whole(path)
    try:
        with soundfile.SoundFile(path) as file:
            _check_header(file)
            wanted = math.ceil(samples * file.samplerate / rate)
            spare = max(0, file.frames - wanted)
            file.seek(spare // 2 if draw is None else draw.integers(0, spare + 1))
            wave = file.read(wanted, dtype="float32", always_2d=True).mean(axis=1)
            own_rate = file.samplerate
    except (BadSound, OSError):
        raise
    except Exception as error:  # whatever the decoder of foreign bytes raises
        why = getattr(error, "error_string", None) or str(error) or type(error).__name__
        raise BadSound(f"not a readable sound ({why})") from error
    if not len(wave):
        raise BadSound("holds no samples")
    if not np.isfinite(wave).all():
        raise BadSound(f"sample {int(np.flatnonzero(~np.isfinite(wave))[0])} is NaN or infinite")
    return fitted(resampled(wave, own_rate, rate), samples)


def heard(path: Path) -> tuple[int, float]:
    """(samples a second, seconds) of a file, by its header. BadSound for what is no sound."""
    soundfile = _soundfile(path)
    _check_whole(path)
    try:
        with soundfile.SoundFile(path) as file:
            _check_header(file)
            return int(file.samplerate), file.frames / file.samplerate
    except soundfile.LibsndfileError as error:
        raise BadSound(f"not a readable sound ({error.error_string})") from error


def resampled(wave: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """(t,) float32 at another rate, low-passed so that nothing folds down."""
    if rate == wanted:
        return wave
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return resample_poly(wave, wanted // common, rate // common).astype(np.float32)


def fitted(wave: np.ndarray, samples: int) -> np.ndarray:
    """The middle of a wave, or the wave in the middle of silence.

    >>> fitted(np.ones(2), 5).tolist(), fitted(np.arange(4), 2).tolist()
    ([0.0, 1.0, 1.0, 0.0, 0.0], [1, 2])
    """
    spare = samples - len(wave)
    if spare <= 0:
        return wave[-spare // 2 :][:samples]
    return np.pad(wave, (spare // 2, spare - spare // 2))


def _check_header(file: Any) -> None:
    if not _RATES[0] <= file.samplerate <= _RATES[1]:
        raise BadSound(f"has a rate of {file.samplerate} samples a second, not {_RATES[0]} to {_RATES[1]}")
    if not file.frames:
        raise BadSound("holds no samples")


def _check_whole(path: Path) -> None:
    """BadSound if a wav file is shorter than it says; the library would read what is left of it without a word."""
    with open(path, "rb") as file:
        start = file.read(8)
    size = path.stat().st_size
    if not size:
        raise BadSound("holds nothing")
    if len(start) == 8 and start[:4] == b"RIFF":
        (rest,) = struct.unpack("<I", start[4:])
        if size < rest + 8 < 2**32:  # all ones: written to a stream, its length was not known
            raise BadSound(f"is cut off: {size} of {rest + 8} bytes are there")


def _soundfile(path: Path) -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtra("soundfile", extra="audio", purpose=f"to read {path}") from error
    return soundfile
