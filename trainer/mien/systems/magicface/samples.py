"""Samples of MagicFace: source, target, condition image and the difference of action units."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mien.data.collate import collate_plain
from mien.data.reader import Sample
from mien.systems.editing import latents
from mien.systems.editing.conditions import condition_image
from mien.systems.editing.pair_samples import labels, picture
from mien.systems.editing.parsing import blacked
from mien.systems.magicface.config import MagicFaceModel

Item = dict[str, Any]


class Transform:
    """A stored pair to an item. Nothing is random: jaw colours tell left from right, so none is mirrored.

    Args:
        model: size, what is blacked out, which jaw.
    """

    def __init__(self, model: MagicFaceModel) -> None:
        self.size = model.image_size
        self.mask = model.mask_mode
        self.jaw = "jaw_rest_tgt" if model.jaw == "rest" else "jaw_tgt"
        self.stamp = latents.stamp(model)

    def __call__(self, sample: Sample, rng: np.random.Generator, epoch: int) -> Item:
        """Item of `src`, `tgt`, `cond` uint8 [3, S, S], `face` [1, S, S], `vector` float32 [12], `uid`.

        The condition image is made of the target (spec, 2): its background and its pose. Of a sample that was
        encoded ahead: `latents.item`.

        Raises:
            DataError: for a pair that cannot be used.
        """
        if latents.is_encoded(sample):
            return latents.item(sample, self.stamp)
        record = sample.record
        source, _ = picture(sample, "src", self.size)
        target, larger = picture(sample, "tgt", self.size)
        shown = labels(sample, "tgt", self.size)
        jaw = np.asarray(record.get(self.jaw, record["jaw_tgt"]), np.float32) / larger
        condition = condition_image(target.permute(1, 2, 0).numpy(), shown, jaw, self.mask)
        return {
            "src": source.contiguous(),
            "tgt": target.contiguous(),
            "cond": torch.from_numpy(condition).permute(2, 0, 1).contiguous(),
            "face": torch.from_numpy(blacked(shown, "face").astype(np.uint8))[None],
            "vector": torch.from_numpy(difference(record["au_src"], record["au_tgt"])),
            "uid": record["uid"],
        }


def difference(source: list[float], target: list[float]) -> np.ndarray:
    """Intensities of the target less those of the source, float32 [12]: AU12 > 0 makes a smile (spec, 1)."""
    return np.asarray(target, np.float32) - np.asarray(source, np.float32)


collate = collate_plain
"""Batches of the items, see `mien.data.collate`."""
