"""Samples of fine-tuning: an image or a clip, and its class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as VF

from mien.data.collate import collate_plain
from mien.data.config import AugmentConfig
from mien.data.decode import decode_sample
from mien.data.reader import Sample
from mien.data.schema import video_member
from mien.data.video import read_frames, scattered, spread
from mien.errors import DataError
from mien.systems.emocapclip.finetune.config import FinetuneModel
from mien.systems.emocapclip.samples import crop_box, jitter

Item = dict[str, Any]


class Transform:
    """A stored sample to an item; all randomness comes from the generator, which the stream keys.

    Args:
        model: size, classes, frames of a clip.
        augment: random changes, the same for all frames of a clip; None for evaluation.
    """

    def __init__(self, model: FinetuneModel, augment: AugmentConfig | None) -> None:
        self.size = model.image_size
        self.clip = model.clip
        self.numbers = {name: number for number, name in enumerate(model.classes)}
        self.augment = augment

    def __call__(self, sample: Sample, rng: np.random.Generator, epoch: int) -> Item:
        """Item with `img` uint8 [3, S, S], or [T, 3, S, S] of a clip, `label` and `uid`.

        Raises:
            DataError: for media that cannot be used, or a label that the recipe does not name.
        """
        label = sample.record["label"]
        if label not in self.numbers:
            known = ", ".join(self.numbers)
            raise DataError(f"label {label!r} is not in model.classes", where=sample.where, fix=known)
        return {
            "img": self.frames(sample, rng),
            "label": self.numbers[label],
            "uid": sample.record["uid"],
        }

    def frames(self, sample: Sample, rng: np.random.Generator) -> Tensor:
        """The image uint8 [3, S, S] or clip [T, 3, S, S] as the tower takes it.

        Raises:
            DataError: for media that cannot be used.
        """
        changed = self._change(self._see(sample, rng), rng)
        return changed[0] if self.clip is None else changed

    def _see(self, sample: Sample, rng: np.random.Generator) -> Tensor:
        """Frames uint8 [T, 3, H, W], one of an image."""
        if self.clip is None:
            return decode_sample(sample)[None]
        data = video_member(sample.members)
        if data is None:
            raise DataError("sample without a video", where=sample.where, fix="set model.clip=null")
        count = self.clip.frames
        choose = spread(count) if self.augment is None else scattered(count, rng)
        return read_frames(data, choose, sample.where)

    def _change(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        height, width = frames.shape[-2:]
        top, left, high, wide = 0, 0, height, width
        if self.augment is not None:
            top, left, high, wide = crop_box(height, width, self.augment.scale, rng)
        size = [self.size, self.size]
        frames = VF.resized_crop(frames, top, left, high, wide, size, antialias=True)
        if self.augment is None:
            return frames
        if rng.random() < self.augment.flip:
            frames = frames.flip(-1)
        if self.augment.jitter:  # side by side, so that one draw changes all frames alike
            joined = frames.permute(1, 2, 0, 3).flatten(2)
            joined = jitter(joined, self.augment.jitter, rng)
            frames = joined.unflatten(2, (len(frames), self.size)).permute(2, 0, 1, 3)
        return frames


def collate(items: list[Item | None]) -> dict[str, Any]:
    """`img` uint8 [B, 3, S, S] or [B, T, 3, S, S], `label` and `uid` int64 [B]; see `collate_plain`."""
    batch = collate_plain(items)
    batch["img"] = batch["img"].contiguous(
        memory_format=torch.channels_last if batch["img"].ndim == 4 else torch.contiguous_format
    )
    return batch
