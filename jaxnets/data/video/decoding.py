"""The frames of an encoded file at some places, decoded from the nearest frame that stands alone.

Where it is not sure that this gives the same frames, bit for bit, a file is decoded from its beginning: another codec
than those below, packets without times or that do not make a frame each, frames that its decoder does not give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from jaxnets.errors import MissingExtra

_MOST_PIXELS = 1 << 26  # of one frame
_SEEKABLE = ("h264", "hevc", "mpeg4", "vp9", "libdav1d")  # their packets are a frame each, their key frames marked


class BadClip(ValueError):
    """A file holds no video that can be used; the message says why, not where."""


class Film(NamedTuple):
    """What is known of a file before it is decoded.

    total:  its frames
    times:  when each is shown, in the file's own unit; none where it has to be decoded from its beginning
    starts: the times of those at which decoding may begin
    """

    path: Path
    total: int
    times: Int64[np.ndarray, "total"] | None
    starts: Int64[np.ndarray, "starts"]


def film(path: Path) -> Film:
    """Packets are counted and not decoded; what a header says is often missing. BadClip for what is no video."""
    with _opened(path) as container:
        codec = container.streams.video[0].codec_context.name
        packets = [
            (packet.pts, packet.is_keyframe, packet.is_discard)
            for packet in container.demux(video=0)
            if packet.size > 0
        ]
    times = np.array([time for time, _, _ in packets if time is not None], np.int64)
    starts = np.sort(np.array([time for time, key, _ in packets if key and time is not None], np.int64))
    plain = len(np.unique(times)) == len(packets) > 0 and not any(discarded for *_, discarded in packets)
    seekable = codec in _SEEKABLE and plain and packets[0][1] and times[0] == times.min()
    return Film(path, len(packets), np.sort(times) if seekable else None, starts)


def frames_at(film: Film, wanted: Int64[np.ndarray, "t"]) -> list[Any]:
    """The frames at these places, in rising order, as images of Pillow. BadClip if the file ends before one of them."""
    try:
        found = _from_start(film, wanted)
    except BadClip:  # decoders refuse to begin there; whether the file is whole is told by its beginning
        found = {}
    found = found or _from_first(film, wanted)
    if missing := set(wanted.tolist()) - found.keys():
        raise BadClip(f"ends before frame {min(missing)} of {film.total}")
    return [found[number] for number in wanted.tolist()]


def _from_first(film: Film, wanted: np.ndarray) -> Mapping[int, Any]:
    found, known = {}, set(wanted.tolist())
    with _opened(film.path) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in known:
                found[number] = _picture(frame)
            if number >= wanted[-1]:
                break
    return found


def _from_start(film: Film, wanted: np.ndarray) -> Mapping[int, Any]:
    """The same from the last start that is not after the first of them; empty where that may give other frames."""
    if film.times is None:
        return {}
    numbers = {int(film.times[number]): number for number in wanted.tolist()}
    start = film.starts[np.searchsorted(film.starts, film.times[wanted[0]], side="right") - 1]
    if start == film.times[0]:
        return {}
    found: dict[int, Any] = {}
    with _opened(film.path) as container:
        container.seek(int(start), stream=container.streams.video[0])
        packets = container.demux(video=0)
        first = next(packets)
        if first.pts is None or not first.is_keyframe or first.pts > start:
            return {}
        for frame in _frames(first, packets):
            if frame.pts in numbers:
                found[numbers[frame.pts]] = _picture(frame)
            if len(found) == len(numbers):
                return found
    return {}


def _frames(first: Any, packets: Iterator[Any]) -> Iterator[Any]:
    yield from first.decode()
    for packet in packets:
        yield from packet.decode()


def _picture(frame: Any) -> Any:
    if frame.width * frame.height > _MOST_PIXELS:
        raise BadClip(f"a frame of {frame.width} × {frame.height} pixels; at most {_MOST_PIXELS} are unpacked")
    return frame.to_image()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A container with a stream of video; whatever the decoders say of its bytes is a BadClip."""
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise MissingExtra("av", extra="video", purpose=f"to read {path}") from error
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BadClip("holds no stream of video")
            yield container
    except FFmpegError as error:
        if isinstance(error, (FileNotFoundError, PermissionError)):
            raise
        raise BadClip(f"not a readable video ({error.strerror or error})") from error
