"""Plug-ins that read a picture's bytes: always the same of one picture, another of any other."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

UNREAD = 13
"""One picture in so many cannot be read by `units`."""


def _seed(picture: torch.Tensor) -> int:
    return int.from_bytes(hashlib.sha256(picture.contiguous().numpy().tobytes()).digest()[:8], "big")


class FakeUnits:
    """Any intensities; a row of NaN for one picture in `UNREAD`."""

    name = "fake/1"

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.stack([self.row(_seed(picture)) for picture in pictures]))

    def row(self, seed: int) -> np.ndarray:
        if seed % UNREAD == 0:
            return np.full(12, np.nan, np.float32)
        return np.random.default_rng(seed).uniform(-1, 6, 12).astype(np.float32)


class OtherUnits(FakeUnits):
    """Everybody at rest."""

    name = "still/1"

    def row(self, seed: int) -> np.ndarray:
        return np.zeros(12, np.float32)


class FakeIdentity:
    """Rows that are alike for no two pictures."""

    name = "nobody/1"

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        rows = [np.random.default_rng(_seed(picture)).normal(size=512) for picture in pictures]
        return torch.from_numpy(np.stack(rows))


class Narrow(FakeUnits):
    """Eleven units."""

    name = "narrow/1"

    def row(self, seed: int) -> np.ndarray:
        return np.zeros(11, np.float32)
