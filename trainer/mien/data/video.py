"""Frames of a video, behind limits: a small file can claim any size and any length."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import DataError

MAX_BYTES = 512 << 20
"""Largest file."""
MAX_PIXELS = 4096 * 2304
"""Largest frame."""
MAX_FRAMES = 20_000
"""Longest video, in frames: more than ten minutes at 30 a second."""


@dataclass(frozen=True)
class Limits:
    """What a video may claim: bytes of the file, pixels of a frame, frames in all."""

    bytes: int
    pixels: int
    frames: int


Choose = Callable[[int], Sequence[int]]
"""How many frames there are -> which to keep, rising; one may be named several times."""
_FIX = "copy the file again"


def read_frames(source: Path | bytes, choose: Choose, where: object = "") -> Tensor:
    """Chosen frames of a video file, RGB uint8 [T, 3, H, W]; no others are held in memory.

    Args:
        source: file, or its bytes.
        choose: which frames.
        where: for messages; default the file.

    Raises:
        DataError: if it is no video, holds no frames, is damaged, or exceeds a limit.
    """
    import av

    where = where or (source if isinstance(source, Path) else "")
    require_size(source, where, _clip_limits())
    try:
        frames = _pick(source, list(choose(_packets(source, where))), where)
        if isinstance(frames, int):
            # It holds fewer frames than packets (a damaged or odd end): choose among those that decode.
            frames = _pick(source, list(choose(frames)), where)
    except (av.FFmpegError, OSError) as error:
        raise DataError("no video that can be decoded", where=where, fix=_FIX) from error
    if isinstance(frames, int):
        raise DataError("decodes differently each time", where=where, fix=_FIX)
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def iterate_frames(source: Path | bytes, where: object = "") -> Iterator[NDArray[np.uint8]]:
    """All frames of a video file, one at a time: RGB uint8 [H, W, 3].

    Raises:
        DataError: as `read_frames`.
    """
    import av

    where = where or (source if isinstance(source, Path) else "")
    limits = _clip_limits()
    require_size(source, where, limits)
    number = 0
    try:
        with opened(source, where, limits) as container:
            for frame in container.decode(container.streams.video[0]):
                if number == limits.frames:
                    raise too_long(where, number)
                number += 1
                yield pixels(frame, where, limits)
    except (av.FFmpegError, OSError) as error:
        raise DataError("no video that can be decoded", where=where, fix=_FIX) from error
    if number == 0:
        raise DataError("video holds no frame", where=where, fix=_FIX)


def spread(count: int) -> Choose:
    """The middle frame of each of `count` equal segments; a short video repeats frames."""
    return lambda total: [min(total - 1, int((number + 0.5) * total / count)) for number in range(count)]


def scattered(count: int, rng: np.random.Generator) -> Choose:
    """A random frame of each of `count` equal segments."""
    return lambda total: [min(total - 1, int((n + rng.random()) * total / count)) for n in range(count)]


def to_mp4(frames: Iterable[NDArray[np.uint8]], rate: float = 25.0) -> bytes:
    """Frames of one size as an H.264 video, nearly without loss (CRF 10); MPEG-4 where there is no H.264.

    Args:
        frames: RGB uint8 [H, W, 3]; odd sides lose their last row or column.
        rate: frames a second.

    Raises:
        DataError: if there is no frame.
    """
    import av

    known = "libx264" in av.codecs_available
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream: Any = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("libx264" if known else "mpeg4", rate=Fraction(rate))
                stream.height, stream.width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
                stream.pix_fmt = "yuv420p"
                stream.options = {"crf": "10", "preset": "veryfast"} if known else {"qscale:v": "2"}
            even = np.ascontiguousarray(frame[: stream.height, : stream.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        if stream is None:
            raise DataError("clip without frames", fix="give one frame or more")
        container.mux(stream.encode())
    return target.getvalue()


def too_large(where: object, width: int, height: int, most: int | None = None) -> DataError:
    """The error of a frame that exceeds the limit, `MAX_PIXELS` when None."""
    what = f"frames of {width} x {height} pixels, more than {most or MAX_PIXELS}"
    return DataError(what, where=where, fix="scale the clip down")


def too_long(where: object, length: int, most: int | None = None) -> DataError:
    """The error of a clip that exceeds the limit, `MAX_FRAMES` when None."""
    what = f"clip of {length} frames or more, more than {most or MAX_FRAMES}"
    return DataError(what, where=where, fix="cut it into clips")


def require_size(source: Path | bytes, where: object, limits: Limits) -> None:
    """Raise DataError for a file that is absent, empty or larger than the limit."""
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
    except OSError as error:
        raise DataError("no such file", where=where, fix="copy the set again") from error
    if size == 0:
        raise DataError("file is empty", where=where, fix=_FIX)
    if size > limits.bytes:
        raise DataError(
            f"file has {size} bytes, more than {limits.bytes}", where=where, fix="cut it into clips"
        )


@contextlib.contextmanager
def opened(source: Path | bytes, where: object, limits: Limits) -> Iterator[Any]:
    """A container with a video stream that can be decoded and is not too large.

    Raises:
        DataError: if it has none.
        av.FFmpegError: if it is no container.
    """
    import av

    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    with av.open(file, metadata_errors="replace") as container:
        if not container.streams.video:
            raise DataError("no video stream", where=where, fix="take the file with pictures")
        stream = container.streams.video[0]
        if stream.codec_context is None:  # without a decoder the stream has no size either
            raise DataError("codec of the video is unknown", where=where, fix="encode the clip as h264")
        if stream.width * stream.height > limits.pixels:
            raise too_large(where, stream.width, stream.height, limits.pixels)
        yield container


def packets(container: Any, where: object, limits: Limits) -> Iterator[Any]:
    """Packets with content of the video stream: as many as an undamaged file has frames.

    Raises:
        DataError: if there are none or too many.
    """
    length = 0
    for packet in container.demux(container.streams.video[0]):
        if packet.size > 0:
            length += 1
            if length > limits.frames:
                raise too_long(where, length, limits.frames)
            yield packet
    if length == 0:
        raise DataError("video holds no frame", where=where, fix=_FIX)


def pixels(frame: Any, where: object, limits: Limits) -> NDArray[np.uint8]:
    """A decoded frame as RGB uint8 [H, W, 3].

    Raises:
        DataError: if it is larger than the limit; a stream may change its size.
    """
    if frame.width * frame.height > limits.pixels:
        raise too_large(where, frame.width, frame.height, limits.pixels)
    found: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return found


def _clip_limits() -> Limits:
    return Limits(MAX_BYTES, MAX_PIXELS, MAX_FRAMES)


def _packets(source: Path | bytes, where: object) -> int:
    limits = _clip_limits()
    with opened(source, where, limits) as container:
        return sum(1 for _ in packets(container, where, limits))


def _pick(source: Path | bytes, chosen: Sequence[int], where: object) -> NDArray[np.uint8] | int:
    """Frames uint8 [count, H, W, 3], or how many there are when the last one wanted is not there."""
    wanted, length, limits = set(chosen), 0, _clip_limits()
    kept: dict[int, NDArray[np.uint8]] = {}
    with opened(source, where, limits) as container:
        for frame in container.decode(container.streams.video[0]):
            if length in wanted:
                kept[length] = pixels(frame, where, limits)
                if len({picture.shape for picture in kept.values()}) > 1:
                    raise DataError("frames differ in size", where=where, fix="encode the clip again")
            length += 1
            if length > chosen[-1]:
                return np.stack([kept[index] for index in chosen])
    if length == 0:
        raise DataError("video holds no frame", where=where, fix=_FIX)
    return length
