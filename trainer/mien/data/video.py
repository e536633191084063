"""Frames of a video, behind limits: a small file can claim any size and any length."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import DataError

MAX_PIXELS = 1 << 23
"""Largest frame."""
MAX_FRAMES = 20_000
"""Longest video, in frames."""

Choose = Callable[[int], Sequence[int]]
"""How many frames there are -> which to keep, rising; one may be named several times."""


def read_frames(source: Path | bytes, choose: Choose, where: object = "") -> Tensor:
    """Chosen frames of a video file, RGB uint8 [T, 3, H, W]; no others are held in memory.

    Args:
        source: file, or its bytes.
        choose: which frames.
        where: for messages.

    Raises:
        DataError: if it is no video, holds no frames, is damaged, or exceeds a limit.
    """
    import av

    try:
        with av.open(_open(source)) as container:
            _check(container, where)
            total = sum(1 for packet in container.demux(video=0) if packet.size)
        if total == 0:
            raise DataError("video without frames", where=where, fix="write it again")
        if total > MAX_FRAMES:
            raise DataError(f"video of {total} frames", where=where, fix=f"cut it to {MAX_FRAMES} or fewer")
        with av.open(_open(source)) as container:
            return _pick(container, list(choose(total)), where)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _undecodable(error, where) from error


def iterate_frames(source: Path | bytes, where: object = "") -> Iterator[NDArray[np.uint8]]:
    """All frames of a video file, one at a time: RGB uint8 [H, W, 3].

    Raises:
        DataError: as `read_frames`.
    """
    import av

    try:
        with av.open(_open(source)) as container:
            _check(container, where)
            for number, frame in enumerate(container.decode(video=0)):
                if number == MAX_FRAMES:
                    fix = f"cut it to {MAX_FRAMES} or fewer"
                    raise DataError(f"video of more than {MAX_FRAMES} frames", where=where, fix=fix)
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _undecodable(error, where) from error


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


def _undecodable(error: Exception, where: object) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"video cannot be decoded: {reason}", where=where, fix="write it again")


def _open(source: Path | bytes) -> Any:
    return io.BytesIO(source) if isinstance(source, bytes) else str(source)


def _check(container: Any, where: object) -> None:
    if not container.streams.video:
        raise DataError("file without a video stream", where=where, fix="write it again")
    context = container.streams.video[0].codec_context
    if context.width * context.height > MAX_PIXELS:
        what = f"frames of {context.width} x {context.height} pixels"
        raise DataError(what, where=where, fix=f"keep frames below {MAX_PIXELS} pixels")


def _pick(container: Any, wanted: list[int], where: object) -> Tensor:
    kept: dict[int, Tensor] = {}
    last, needed = max(wanted), set(wanted)
    newest = None
    for number, frame in enumerate(container.decode(video=0)):
        newest = frame
        if number in needed:
            kept[number] = torch.from_numpy(frame.to_ndarray(format="rgb24"))
        if number == last:
            break
    if newest is None:
        raise DataError("video without frames", where=where, fix="write it again")
    if missing := needed - kept.keys():  # a file that ends early, or with packets that hold no frame
        end = torch.from_numpy(newest.to_ndarray(format="rgb24"))
        kept |= dict.fromkeys(missing, end)
    return torch.stack([kept[number] for number in wanted]).permute(0, 3, 1, 2)
