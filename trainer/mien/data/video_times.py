"""Chosen frames of a long video with their times; only what lies near them is decoded.

`mien.data.video.read_frames` counts frames by decoding all of them, which is right for clips whatever their
time stamps say. Here the stamps are believed, and of an hour of video little more than the frames is decoded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.video import Choose, Limits, opened, packets, pixels, require_size
from mien.errors import DataError

_FIX = "write it again"


@dataclass(frozen=True)
class _Stamps:
    """Time stamps in units of the stream, rising: of all frames, and of those that need no other."""

    frames: list[int]
    keys: list[int]


def read_timed_frames(
    path: Path, choose: Choose, limits: Limits
) -> tuple[list[NDArray[np.uint8]], list[float]]:
    """Chosen frames, turned upright as the camera's tag says, and their seconds from the first frame.

    Args:
        path: the video.
        choose: which frames, rising and each once.
        limits: of the file.

    Returns:
        RGB uint8 [H, W, 3] each; sizes may differ. Times of equal number.

    Raises:
        DataError: if it is no video, damaged, without time stamps, or exceeds a limit.
    """
    import av

    require_size(path, path, limits)
    try:
        with opened(path, path, limits) as container:
            stamps = _stamps(container, path, limits)
        wanted = [stamps.frames[number] for number in choose(len(stamps.frames))]
        with opened(path, path, limits) as container:
            frames = list(_walk(container, wanted, stamps.keys, path, limits))
            unit = float(container.streams.video[0].time_base or 0)
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
        raise DataError(f"no video that can be decoded: {reason}", where=path, fix=_FIX) from error
    if len(frames) < len(wanted):
        what = f"video ends early: {len(frames)} of {len(wanted)} frames could be decoded"
        raise DataError(what, where=path, fix=_FIX)
    return frames, [(stamp - stamps.frames[0]) * unit for stamp in wanted]


def middles(count: int) -> Choose:
    """The middle frame of each of `count` equal parts; a shorter video gives each of its frames once."""
    return lambda total: [int((n + 0.5) * total / min(count, total)) for n in range(min(count, total))]


def _stamps(container: Any, path: Path, limits: Limits) -> _Stamps:
    frames: list[int] = []
    keys: list[int] = []
    for packet in packets(container, path, limits):
        if packet.pts is None:
            continue
        frames.append(packet.pts)
        if packet.is_keyframe:
            keys.append(packet.pts)
    if not frames:
        raise DataError("video without time stamps", where=path, fix=_FIX)
    return _Stamps(sorted(frames), sorted(keys))


def _walk(
    container: Any, wanted: Sequence[int], keys: Sequence[int], path: Path, limits: Limits
) -> Iterator[NDArray[np.uint8]]:
    """Frames at rising stamps; jumps to a key frame where that skips some."""
    stream = container.streams.video[0]
    decoded = container.decode(stream)
    position: int | None = None
    for stamp in wanted:
        behind = bisect_right(keys, stamp)
        if behind and (position is None or keys[behind - 1] > position):
            container.seek(keys[behind - 1], stream=stream)
            decoded = container.decode(stream)
        for frame in decoded:
            if frame.pts is None:
                continue
            position = frame.pts
            if frame.pts >= stamp:
                yield _upright(frame, path, limits)
                break


def _upright(frame: Any, path: Path, limits: Limits) -> NDArray[np.uint8]:
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels(frame, path, limits), turns))
