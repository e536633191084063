"""Validation: every sample of `data.val` once, as many batches on every rank, with the averaged weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch

from mien.engine import rng
from mien.engine.agree import Agreement
from mien.engine.ema import Ema
from mien.engine.portable import Portable
from mien.systems.base import SystemModule


class Validation:
    """Runs a module over a set.

    Args:
        batches: re-iterable over this rank's batches, padded rows having `valid` False.
        agreement: the ranks.
    """

    def __init__(self, batches: Iterable[dict[str, Any]], agreement: Agreement) -> None:
        self.batches = batches
        self.agreement = agreement

    def run(self, module: SystemModule, ema: Ema | None, step: int) -> dict[str, float]:
        """Means over the valid samples of the set, the same on every rank.

        Training is not disturbed: generators, weights and mode are as before afterwards.
        """
        rows: list[dict[str, float]] = []
        valid: list[float] = []
        averaged = ema.applied() if ema else contextlib.nullcontext()
        strategy = module.trainer.strategy
        assert isinstance(strategy, Portable)
        module.eval()
        with rng.preserved(), averaged, torch.no_grad():
            for batch in self.batches:
                batch = module.transfer_batch_to_device(batch, module.device, 0)
                found = strategy.validate(batch, step)
                rows.append({name: float(value) for name, value in found.items()})
                valid.append(float(batch["valid"].sum()))
        module.train()
        # A batch of all ranks together counts by its samples, however they lie on the ranks.
        weights = self.agreement.total(valid)
        sums = {name: sum(w * row[name] for w, row in zip(weights, rows, strict=True)) for name in rows[0]}
        totals = self.agreement.total(list(sums.values()))
        samples = self.agreement.world * max(sum(weights), 1.0)
        return {name: total / samples for name, total in zip(sums, totals, strict=True)}
