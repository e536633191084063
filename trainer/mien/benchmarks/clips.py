"""Evenly spaced frames of a clip, from a video file or from frame files, with bounds on all that is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mien.data.video import MAX_FRAMES, MAX_PIXELS, read_frames, too_large, too_long
from mien.errors import DataError

How = Literal["even", "expclip"]
"""Ways to choose frames."""

VIDEO_ENDINGS = (".mp4", ".avi", ".flv", ".mov", ".mkv", ".webm")
"""File endings that are read as video; others are pictures."""


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
        return read_frames(media[0], lambda total: frame_indices(total, count, how)).contiguous().numpy()
    return np.ascontiguousarray(_from_pictures(media, count, how).transpose(0, 3, 1, 2))


def _from_pictures(media: Sequence[Path], count: int, how: How) -> np.ndarray:
    if len(media) > MAX_FRAMES:
        raise too_long(media[0].parent, len(media))
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

    if not path.is_file():
        raise DataError("no such file", where=path, fix="copy the set again")
    if path.stat().st_size == 0:
        raise DataError("file is empty", where=path, fix="copy the file again")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise too_large(path, image.width, image.height)
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError("no picture that can be decoded", where=path, fix="copy the file again") from error


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"
