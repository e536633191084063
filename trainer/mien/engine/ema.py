"""Exponential moving average of the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Ema:
    """Average of a module's trainable parameters, on their devices and in float32 or finer.

    The decay of update t is min(decay, (1 + t) / (10 + t)), so that early averages do not hang on to the
    initial weights (as in TensorFlow's ExponentialMovingAverage). Buffers and frozen parameters are not
    averaged: they belong to the module as it is.

    Args:
        module: whose weights to average.
        decay: weight of the past, in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._live = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._mean = {name: p.detach().to(_at_least_float32(p), copy=True) for name, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of one more step into the average."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        live = [p.detach().to(_at_least_float32(p)) for p in self._live.values()]
        torch._foreach_lerp_(list(self._mean.values()), live, 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the module has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, object]:
        """Plain types and tensors: `updates` and `weights` by parameter name."""
        return {"updates": self.updates, "weights": dict(self._mean)}

    def load_state_dict(self, saved: dict[str, object]) -> None:
        """Restore what `state_dict` gave."""
        weights = saved["weights"]
        updates = saved["updates"]
        assert isinstance(weights, dict)
        assert isinstance(updates, int)
        self.updates = updates
        for name, mean in self._mean.items():
            mean.copy_(weights[name])

    @torch.no_grad()
    def _swap(self) -> None:
        for name, live in self._live.items():
            mean: Tensor = self._mean[name]
            before = live.detach().clone()
            live.copy_(mean)
            mean.copy_(before)


def _at_least_float32(weight: Tensor) -> torch.dtype:
    return torch.promote_types(weight.dtype, torch.float32)
