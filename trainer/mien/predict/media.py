"""Inputs from files, behind limits: a small file can claim any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from mien.data.decode import decode_pillow
from mien.data.video import Limits
from mien.data.video_times import middles, read_timed_frames
from mien.errors import DataError, MienError

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
VIDEOS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".gif")
MAX_PIXELS = 1 << 26
"""Largest picture (8192 x 8192) and largest frame."""
MAX_IMAGE, MAX_VIDEO = 128 << 20, 8 << 30
"""Largest files, bytes."""
MAX_PACKETS = 1 << 20
"""Longest video, frames."""
MAX_INPUTS = 10_000
"""Most files of a folder."""
SHOWN = 384
"""Longest side of what is drawn, pixels."""

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Box:
    """A face in a picture: left, top, width and height in pixels."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str, where: str = "--box") -> Box:
        """Read "x,y,w,h", which `where` gave.

        Raises:
            MienError: if it is not that.
        """
        try:
            x, y, width, height = (int(part) for part in text.split(","))
        except ValueError as error:
            raise MienError(f"{text!r} is not a box", where=where, fix="write x,y,w,h in pixels") from error
        if min(x, y) < 0 or min(width, height) < 8:
            raise MienError(f"{text!r} is not a box", where=where, fix="at least 8 x 8 pixels, inside")
        return cls(x, y, width, height)

    def cut(self, picture: Picture, where: object) -> Picture:
        """The part of a picture [H, W, 3] inside the box.

        Raises:
            DataError: if the box reaches beyond it.
        """
        height, width = picture.shape[:2]
        if self.x + self.width > width or self.y + self.height > height:
            raise DataError(
                f"the box reaches beyond {width} x {height} pixels", where=where, fix="give a box inside it"
            )
        return picture[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class Media:
    """What one input shows.

    Attributes:
        path: the file.
        frames: uint8 [T, 3, S, S], as the image tower takes them; T is 1 for an image.
        shown: the same frames for drawing, uint8 [h, w, 3] with sides up to `SHOWN`.
        times: seconds of each frame; None for an image.
    """

    path: Path
    frames: Tensor
    shown: list[Picture]
    times: list[float] | None


def find(inputs: Sequence[Path]) -> list[Path | MienError]:
    """Files in order; a folder stands for the pictures and videos in it. What cannot be had is an error."""
    found: list[Path | MienError] = []
    for path in inputs:
        if not path.is_dir():
            known = path.is_file()
            found.append(path if known else DataError("no such file", where=path, fix="check the path"))
            continue
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGES + VIDEOS and f.is_file())
        if not files:
            kinds = " ".join((*IMAGES, *VIDEOS))
            found.append(DataError("no picture or video in this folder", where=path, fix=f"known: {kinds}"))
        if len(files) > MAX_INPUTS:
            found.append(DataError(f"{len(files)} files", where=path, fix=f"give at most {MAX_INPUTS}"))
            continue
        found.extend(files)
    return found


def read(path: Path, size: int, box: Box | None, count: int) -> Media:
    """Read an image or evenly spaced frames of a video, cut to the box.

    Args:
        path: file; its suffix says whether it is a video.
        size: side in pixels of the image tower.
        box: the face; None takes the whole picture as a face crop.
        count: frames of a video, at most.

    Raises:
        DataError: if it is too large, damaged, neither image nor video, or the box reaches beyond it.
    """
    moving = path.suffix.lower() in VIDEOS
    limit = MAX_VIDEO if moving else MAX_IMAGE
    try:
        if path.stat().st_size > limit:
            raise DataError("file too large", where=path, fix=f"keep it below {limit >> 20} MiB")
        if moving:
            bounds = Limits(MAX_VIDEO, MAX_PIXELS, MAX_PACKETS)
            pictures, times = read_timed_frames(path, middles(count), bounds)
            return _media(path, pictures, box, size, times)
        return _media(path, [_image(path)], box, size, None)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=path, fix="check the file") from error


def _image(path: Path) -> Picture:
    formats = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
    return decode_pillow(path.read_bytes(), formats, path, MAX_PIXELS)


def _media(
    path: Path, pictures: list[Picture], box: Box | None, size: int, times: list[float] | None
) -> Media:
    cut = [box.cut(picture, path) if box else picture for picture in pictures]
    if min(min(picture.shape[:2]) for picture in cut) < 8:
        raise DataError("less than 8 pixels high or wide", where=path, fix="give a larger picture")
    tensors = [torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1) for picture in cut]
    frames = torch.stack([vision.resize(tensor, [size, size], antialias=True) for tensor in tensors])
    return Media(path, frames, [_small(tensor) for tensor in tensors], times)


def _small(tensor: Tensor) -> Picture:
    height, width = tensor.shape[-2:]
    factor = min(1.0, SHOWN / max(height, width))
    sides = [max(1, round(height * factor)), max(1, round(width * factor))]
    small: Any = vision.resize(tensor, sides, antialias=True)
    return small.permute(1, 2, 0).numpy()
