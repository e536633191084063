"""Exponential moving average of the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from mien.engine.holdings import Holdings
from mien.engine.pieces import PartFiles, Piece


class Ema:
    """Average of the trainable parameters, in float32 or finer: each rank averages what it holds of them.

    The decay of update t is min(decay, (1 + t) / (10 + t)), so that early averages do not hang on to the
    initial weights (as in TensorFlow's ExponentialMovingAverage). Buffers and frozen parameters are not
    averaged: they belong to the module as it is.

    Args:
        holdings: whose weights to average.
        decay: weight of the past, in (0, 1).
    """

    def __init__(self, holdings: Holdings, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._holdings = holdings
        self._live = holdings.trainable()
        self._mean = {
            name: piece.tensor.detach().to(_at_least_float32(piece.tensor), copy=True)
            for name, piece in self._live.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of one more step into the average."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        live = [piece.tensor.detach().to(_at_least_float32(piece.tensor)) for piece in self._live.values()]
        if live:
            torch._foreach_lerp_(list(self._mean.values()), live, 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the module has the averaged weights; on all ranks at once."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def pieces(self) -> dict[str, Piece]:
        """The average for a checkpoint: `ema/<name>`."""
        return {f"ema/{name}": self._live[name].like(mean) for name, mean in self._mean.items()}

    def restore(self, files: PartFiles, updates: int) -> None:
        """Take the average out of a checkpoint.

        Args:
            files: the checkpoint's.
            updates: how many steps it held.
        """
        self.updates = updates
        files.fill(self.pieces())

    @torch.no_grad()
    def _swap(self) -> None:
        for name, piece in self._live.items():
            mean: Tensor = self._mean[name]
            before = piece.tensor.detach().clone()
            piece.tensor.copy_(mean)
            mean.copy_(before)
        self._holdings.refresh()


def _at_least_float32(weight: Tensor) -> torch.dtype:
    return torch.promote_types(weight.dtype, torch.float32)
