"""Evenly spaced frames of a clip, from a video file or from frame files, with bounds on all that is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mien.errors import DataError

if TYPE_CHECKING:
    import av

How = Literal["even", "expclip"]
"""Ways to choose frames."""

VIDEO_ENDINGS = (".mp4", ".avi", ".flv", ".mov", ".mkv", ".webm")
"""File endings that are read as video; others are pictures."""

MOST_BYTES = 512 * 2**20
"""Largest video file, bytes; the sets hold clips of seconds."""

MOST_FRAMES = 20_000
"""Longest clip, frames (more than ten minutes at 30 frames a second)."""

MOST_PIXELS = 4096 * 2304
"""Most pixels of a frame."""


def frame_indices(length: int, count: int, how: How = "even") -> list[int]:
    """Indices of `count` frames of a clip of `length` frames, ascending.

    `even` takes the centre of each of `count` equal segments; frames repeat where the clip is shorter.
    `expclip` does the same for clips of more than `count` frames and takes frame 0 `count` times for all
    others, as the published loader of Exp-CLIP does (emocapclip spec, section 6.3).

    Raises:
        ValueError: for a length or count below 1, or an unknown `how`.
    """
    if length < 1 or count < 1 or how not in ("even", "expclip"):
        raise ValueError(f"{count} frames of {length}, chosen by {how!r}")
    if how == "expclip" and length <= count:
        return [0] * count
    return [(2 * segment + 1) * length // (2 * count) for segment in range(count)]


def clip_frames(media: Sequence[Path], count: int, how: How = "even") -> np.ndarray:
    """Decodes evenly spaced frames; holds no more than these in memory.

    Args:
        media: one video file, or the frames of a clip in order.
        count: frames to take.
        how: as in `frame_indices`.

    Returns:
        uint8 [count, 3, H, W], RGB, at the size of the file.

    Raises:
        DataError: if a file is absent, empty, damaged, too large or too long, or frames differ in size.
        ValueError: for no media, count below 1, or an unknown `how`.
    """
    if not media:
        raise ValueError("a clip without media")
    if len(media) == 1 and media[0].suffix.lower() in VIDEO_ENDINGS:
        found = _from_video(media[0], count, how)
    else:
        found = _from_pictures(media, count, how)
    return np.ascontiguousarray(found.transpose(0, 3, 1, 2))


def _from_pictures(media: Sequence[Path], count: int, how: How) -> np.ndarray:
    if len(media) > MOST_FRAMES:
        raise _too_long(media[0].parent, len(media))
    chosen = frame_indices(len(media), count, how)
    pictures = {index: _picture(media[index]) for index in dict.fromkeys(chosen)}
    first = pictures[chosen[0]].shape
    for index, picture in pictures.items():
        if picture.shape != first:
            raise DataError(
                f"a frame of {_size(picture.shape)} pixels in a clip of {_size(first)}",
                where=media[index],
                fix="take the frames as their owner publishes them",
            )
    return np.stack([pictures[index] for index in chosen])


def _picture(path: Path) -> np.ndarray:
    from PIL import Image

    _require_file(path)
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise _too_large(path, image.width, image.height)
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError("no picture that can be decoded", where=path, fix="copy the file again") from error


def _from_video(path: Path, count: int, how: How) -> np.ndarray:
    import av

    _require_file(path)
    try:
        length = _packets(path)
        frames = _pick(path, frame_indices(length, count, how))
        if isinstance(frames, int):
            # The file holds fewer frames than packets (a damaged or odd end): choose among those that decode.
            frames = _pick(path, frame_indices(frames, count, how))
    except (av.FFmpegError, OSError) as error:
        raise DataError("no video that can be decoded", where=path, fix="copy the file again") from error
    if isinstance(frames, int):
        raise DataError("decodes differently each time", where=path, fix="copy the file again")
    return frames


def _require_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError("no such file", where=path, fix="copy the set again") from error
    if size == 0:
        raise DataError("file is empty", where=path, fix="copy the file again")
    if size > MOST_BYTES:
        raise DataError(f"file has {size} bytes, more than {MOST_BYTES}", where=path, fix="cut it into clips")


def _packets(path: Path) -> int:
    """Number of packets with content, which is the number of frames of an undamaged file."""
    import av

    with av.open(str(path), metadata_errors="replace") as container:
        if not container.streams.video:
            raise DataError("no video stream", where=path, fix="take the file with pictures")
        stream = container.streams.video[0]
        # Without a decoder the stream has no size either.
        if stream.codec_context is None:
            raise DataError("codec of the video is unknown", where=path, fix="encode the clip as h264")
        if stream.width * stream.height > MOST_PIXELS:
            raise _too_large(path, stream.width, stream.height)
        length = 0
        for packet in container.demux(stream):
            length += packet.size > 0
            if length > MOST_FRAMES:
                raise _too_long(path, length)
    if length == 0:
        raise DataError("video holds no frame", where=path, fix="copy the file again")
    return length


def _pick(path: Path, chosen: Sequence[int]) -> np.ndarray | int:
    """Frames uint8 [count, H, W, 3], or how many there are when the last one wanted is not there."""
    import av

    wanted, kept, length = set(chosen), {}, 0
    shape: tuple[int, ...] = ()
    with av.open(str(path), metadata_errors="replace") as container:
        for frame in _decode(container):
            if length in wanted:
                if frame.width * frame.height > MOST_PIXELS:
                    raise _too_large(path, frame.width, frame.height)
                pixels = frame.to_ndarray(format="rgb24")
                shape = shape or pixels.shape
                if pixels.shape != shape:
                    raise DataError("frames differ in size", where=path, fix="encode the clip again")
                kept[length] = pixels
            length += 1
            if length > chosen[-1]:
                return np.stack([kept[index] for index in chosen])
    if length == 0:
        raise DataError("video holds no frame", where=path, fix="copy the file again")
    return length


def _decode(container: Any) -> Iterator[av.VideoFrame]:
    yield from container.decode(container.streams.video[0])


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"


def _too_large(path: Path, width: int, height: int) -> DataError:
    return DataError(
        f"frames of {width} x {height} pixels, more than {MOST_PIXELS}", where=path, fix="scale the clip down"
    )


def _too_long(path: Path, length: int) -> DataError:
    return DataError(
        f"clip of {length} frames or more, more than {MOST_FRAMES}", where=path, fix="cut it into clips"
    )
