"""Evenly spaced frames of a video with their times; only what lies near them is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import DataError
from mien.predict.media import MAX_PACKETS, MAX_PIXELS, Picture


@dataclass(frozen=True)
class _Stamps:
    """Time stamps in units of the stream, rising: of all frames, and of those that need no other."""

    frames: list[int]
    keys: list[int]


def read_frames(path: Path, count: int) -> tuple[list[Picture], list[float]]:
    """The middle frames of `count` equal parts, RGB uint8 [H, W, 3], and their seconds from the start.

    A video with fewer frames gives each once.

    Raises:
        DataError: if it is no video, damaged, too long, or its frames are too large.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stamps = _stamps(container, path)
        total = len(stamps.frames)
        kept = min(count, total)
        wanted = [stamps.frames[int((number + 0.5) * total / kept)] for number in range(kept)]
        with av.open(str(path)) as container:
            frames = list(_walk(container, wanted, stamps.keys))
            unit = float(container.streams.video[0].time_base or 0)
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
        raise DataError(f"video cannot be decoded: {reason}", where=path, fix="write it again") from error
    if len(frames) < kept:
        raise DataError(
            f"video ends early: {len(frames)} of {kept} frames could be decoded",
            where=path,
            fix="write it again",
        )
    return frames, [(stamp - stamps.frames[0]) * unit for stamp in wanted]


def _stamps(container: Any, path: Path) -> _Stamps:
    if not container.streams.video:
        raise DataError("file without a video stream", where=path, fix="give a video")
    context = container.streams.video[0].codec_context
    if context.width * context.height > MAX_PIXELS:
        what = f"frames too large: {context.width} x {context.height} pixels"
        raise DataError(what, where=path, fix=f"keep frames below {MAX_PIXELS} pixels")
    frames: list[int] = []
    keys: list[int] = []
    for packet in container.demux(video=0):
        if packet.pts is None or not packet.size:
            continue
        frames.append(packet.pts)
        if packet.is_keyframe:
            keys.append(packet.pts)
        if len(frames) > MAX_PACKETS:
            raise DataError(f"more than {MAX_PACKETS} frames", where=path, fix="cut the video")
    if not frames:
        raise DataError("video without frames or time stamps", where=path, fix="write it again")
    return _Stamps(sorted(frames), sorted(keys))


def _walk(container: Any, wanted: list[int], keys: list[int]) -> Iterator[Picture]:
    """Frames at rising stamps; jumps to a key frame where that skips some."""
    stream = container.streams.video[0]
    decoded = container.decode(stream)
    position: int | None = None
    for stamp in wanted:
        key = max((k for k in keys if k <= stamp), default=None)
        if key is not None and (position is None or key > position):
            container.seek(key, stream=stream)
            decoded = container.decode(stream)
        for frame in decoded:
            if frame.pts is None:
                continue
            position = frame.pts
            if frame.pts >= stamp:
                yield _upright(frame)
                break


def _upright(frame: Any) -> Picture:
    """RGB, turned as the camera's tag says."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
