"""Samples of a face reader: both pictures of a pair, each changed by itself, and what is true of them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien.data.collate import collate_plain
from mien.data.reader import Sample
from mien.errors import DataError
from mien.systems.editing.pair_samples import labels, picture
from mien.systems.facereader.codes import numbers_of
from mien.systems.facereader.config import ReaderModel, ReaderObjective
from mien.systems.rigface.records import from_record

Item = dict[str, Any]
SIDES = ("src", "tgt")


class Transform:
    """A stored pair to an item; all randomness comes from the generator, which the stream keys.

    Args:
        model: size.
        objective: how pictures are changed.
        train: whether they are.
    """

    def __init__(self, model: ReaderModel, objective: ReaderObjective, train: bool) -> None:
        self.size = model.image_size
        self.codes = model.codes
        self.changes = model.changes is not None
        self.objective = objective
        self.train = train

    def __call__(self, sample: Sample, rng: np.random.Generator, epoch: int) -> Item:
        """Item, first axis source and target.

        `img` float16 [2, 3, S, S] in 0..1, `parts` uint8 [2, S, S], `jaw` float32 [2, 2, 17, 2] in fractions
        of the side, `units` [2, 12], `pose` [2, 3] in degrees, `person` int64 and `uid`; where the model
        reads them, `codes` float32 [2, `codes.WIDTH`], and `twins` like `img`, but both moved alike and
        coloured nearly alike, as an edit and its source are.

        Raises:
            DataError: for a pair that cannot be used.
        """
        sides = [self._side(sample, part, rng) for part in SIDES]
        person = hashlib.sha256(sample.record["group"].encode()).digest()
        whole = {name: torch.stack([side[name] for side in sides]) for name in sides[0]}
        if self.changes:
            whole["twins"] = self._twins(sample, rng)
        return {**whole, "person": int.from_bytes(person[:8], "big") >> 1, "uid": sample.record["uid"]}

    def _side(self, sample: Sample, part: str, rng: np.random.Generator) -> dict[str, Tensor]:
        record = sample.record
        image, larger = picture(sample, part, self.size)
        parts = torch.from_numpy(labels(sample, part, self.size).copy())
        bent, rest = record[f"jaw_{part}"], record.get(f"jaw_rest_{part}", record[f"jaw_{part}"])
        jaw = torch.tensor([bent, rest], dtype=torch.float32) / (larger * self.size)
        pixels = image.float() / 255
        moved = (0, 0)
        if self.train:
            pixels = self._recolour(self._backdrop(pixels, parts, rng), rng)
            moved = self._step(rng)
            pixels, parts, jaw = self._move(pixels, parts, jaw, *moved)
        shift = (moved[0] / self.size, moved[1] / self.size)
        codes = {"codes": torch.from_numpy(_codes(sample, part, shift))} if self.codes else {}
        return codes | {
            "img": pixels.half(),
            "parts": parts,
            "jaw": jaw,
            "units": torch.tensor(record[f"au_{part}"], dtype=torch.float32),
            "pose": torch.tensor(record.get(f"pose_{part}", [0.0, 0.0, 0.0]), dtype=torch.float32),
        }

    def _twins(self, sample: Sample, rng: np.random.Generator) -> Tensor:
        pair = torch.stack([picture(sample, part, self.size)[0] for part in SIDES]).float() / 255
        if not self.train:
            return pair.half()
        right, down = self._step(rng)
        pair = torch.roll(pair, (down, right), (2, 3))
        shared, strength = rng.uniform(-1, 1, 2), self.objective.jitter
        gain, gamma = (float(np.exp(strength * value)) for value in shared)
        own = torch.from_numpy(np.exp(0.1 * strength * rng.standard_normal((2, 3))).astype(np.float32))
        pair = gain * pair.clamp(1e-4, 1) ** gamma * own[:, :, None, None]
        # Networks draw less sharply than the face world does.
        soft = torch.nn.functional.avg_pool2d(pair, 3, 1, 1, count_include_pad=False)
        pair = torch.lerp(pair, soft, torch.from_numpy(rng.random(2, dtype=np.float32))[:, None, None, None])
        noise = torch.from_numpy(rng.standard_normal(pair.shape, dtype=np.float32))
        return (pair + 0.04 * strength * noise).clamp(0, 1).half()

    def _backdrop(self, pixels: Tensor, parts: Tensor, rng: np.random.Generator) -> Tensor:
        if rng.random() >= self.objective.backdrop:
            return pixels
        colour = torch.from_numpy(rng.random(3, dtype=np.float32))[:, None, None]
        return torch.where(parts[None] == 0, colour, pixels)

    def _recolour(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        strength = self.objective.jitter
        gain = float(np.exp(strength * rng.uniform(-1, 1)))
        gamma = float(np.exp(strength * rng.uniform(-1, 1)))
        tint = torch.from_numpy(np.exp(0.3 * strength * rng.standard_normal(3)).astype(np.float32))
        noise = torch.from_numpy(rng.standard_normal(pixels.shape, dtype=np.float32))
        if not self.codes:
            pixels = gain * pixels.clamp(1e-4, 1) ** gamma * tint[:, None, None]
        return (pixels + 0.06 * strength * noise).clamp(0, 1)

    def _step(self, rng: np.random.Generator) -> tuple[int, int]:
        """Pixels to the right and down."""
        reach = int(self.objective.shift * self.size)
        right, down = (int(step) for step in rng.integers(-reach, reach + 1, 2))
        return right, down

    def _move(
        self, pixels: Tensor, parts: Tensor, jaw: Tensor, right: int, down: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Shift by whole pixels, the border repeated."""
        places = torch.arange(self.size)
        rows, columns = (places - down).clamp(0, self.size - 1), (places - right).clamp(0, self.size - 1)
        moved = jaw + torch.tensor([right, down], dtype=torch.float32) / self.size
        return pixels[:, rows][:, :, columns], parts[rows][:, columns], moved


def _codes(sample: Sample, part: str, shift: tuple[float, float]) -> np.ndarray:
    record = sample.record.get(f"codes_{part}")
    if record is None:
        fix = "train on a set of mien data synth --kind rig_pairs, or set model.codes=false"
        raise DataError("a pair without codes of its 3D faces", where=sample.where, fix=fix)
    return numbers_of(from_record(record, sample.where), sample.where, shift)


collate = collate_plain
"""Batches of the items, see `mien.data.collate`."""
