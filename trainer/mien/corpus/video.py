"""Video files through PyAV: facts, and frames upright and in square pixels, by their own times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError

if TYPE_CHECKING:
    import av

LARGEST_FRAME = 8192 * 4320
"""Most pixels of a frame; larger videos are turned away before a frame is decoded."""

MOST_DAMAGE = 200
"""Packets that may fail to decode before the rest of a video is given up."""


class VideoError(DataError):
    """A file that is no usable video; `reason` is a code for counts."""

    def __init__(self, reason: str, what: str, where: Path) -> None:
        self.reason = reason
        super().__init__(what, where=where, fix="it is left out")


@dataclass(frozen=True)
class Facts:
    """Width and height in pixels as shown (upright), mean frames a second, seconds, rotation in degrees."""

    width: int
    height: int
    fps: float
    seconds: float
    rotation: int
    codec: str


@dataclass
class Frame:
    """One decoded frame: `index` counts from 0, `t_ms` is its own time, `aspect` the shape of its pixels.

    `aspect` is the width of a stored pixel relative to its height.
    """

    index: int
    t_ms: int
    raw: av.VideoFrame
    aspect: float = 1.0

    def picture(self, height: int | None = None) -> np.ndarray:
        """Uint8 [h, w, 3] RGB, upright, in square pixels; `height` shrinks it, never enlarges."""
        raw, quarter = self.raw, _turned(self.raw)
        aspect = self.aspect
        # Pixels are made square by stretching the longer way, so that none are lost.
        wide, tall = (raw.width * aspect, raw.height) if aspect >= 1 else (raw.width, raw.height / aspect)
        shown = wide if quarter % 2 else tall
        scale = min(1.0, height / shown) if height else 1.0
        size = (max(2, round(wide * scale)), max(2, round(tall * scale)))
        if size == (raw.width, raw.height):
            pixels = raw.to_ndarray(format="rgb24")
        else:
            pixels = raw.reformat(*size, format="rgb24", interpolation="AREA").to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, quarter)) if quarter else pixels


def probe(path: Path) -> Facts:
    """Facts of a video file; its first frame is decoded.

    Raises:
        VideoError: with reason `corrupt`, `no_video` (audio only), `empty` or `too_large`.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError("no_video", "no video stream", path)
            stream = container.streams.video[0]
            if stream.width * stream.height > LARGEST_FRAME:
                what = f"frames of {stream.width} x {stream.height} pixels"
                raise VideoError("too_large", what, path)
            frame = next(_decode(container, path, []), None)
            if frame is None:
                raise VideoError("empty", "no frame can be decoded", path)
            seconds = (
                float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            )
            if not seconds and container.duration:
                seconds = container.duration / 1e6
            fps = float(stream.average_rate or stream.guessed_rate or 25)
            name = stream.codec_context.name
    except (av.FFmpegError, OSError) as error:
        raise VideoError("corrupt", f"cannot be read ({error.strerror})", path) from error
    tall, wide = frame.picture().shape[:2]
    return Facts(wide, tall, fps, round(seconds, 3), 90 * _turned(frame.raw), name)


def read_frames(path: Path, damage: list[str] | None = None) -> Iterator[Frame]:
    """Every frame in the order of showing.

    Packets that do not decode are skipped and told in `damage`, one text each; after `MOST_DAMAGE` of them
    the rest is given up.

    Raises:
        VideoError: with reason `corrupt` if the file cannot be opened at all.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError("no_video", "no video stream", path)
            yield from _decode(container, path, [] if damage is None else damage)
    except av.FFmpegError as error:
        raise VideoError("corrupt", f"cannot be read ({error.strerror})", path) from error


def _decode(container: Any, path: Path, damage: list[str]) -> Iterator[Frame]:
    import av

    stream = container.streams.video[0]
    fps = float(stream.average_rate or stream.guessed_rate or 25)
    aspect = _aspect(stream)
    index, last = 0, -1
    packets = container.demux(stream)
    while len(damage) < MOST_DAMAGE:
        try:
            packet = next(packets)
            decoded = packet.decode()
        except StopIteration:
            return
        except av.EOFError:
            return
        except av.FFmpegError as error:
            damage.append(f"{path.name}: {error.strerror}")
            continue
        for raw in decoded:
            t_ms = round(1000 * (raw.time if raw.time is not None else index / fps))
            # Times that stand still or run back would put two frames in one place.
            last = max(t_ms, last + 1)
            yield Frame(index, last, raw, aspect)
            index += 1


def _turned(raw: av.VideoFrame) -> int:
    """Quarter turns counter-clockwise that make a frame upright."""
    return round((raw.rotation or 0) / 90) % 4


def _aspect(stream: av.VideoStream) -> float:
    """Width of a pixel relative to its height; 1 if the file does not say, or says something absurd."""
    told = stream.sample_aspect_ratio
    aspect = float(told) if told else 1.0
    return aspect if 0.25 <= aspect <= 4 else 1.0
