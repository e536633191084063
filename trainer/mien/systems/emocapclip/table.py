"""Targets from a table of the whole set: neighbours of a sample that are in its batch (spec section 4)."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from mien.data.neighbours import Neighbours, Side
from mien.systems.emocapclip.config import MiningConfig
from mien.systems.emocapclip.mining import Positives, positives_of
from mien_kernels import Lists, gather_rows, own_rows


class TableMiner:
    """Looks neighbours up; not a module, for the table is data and belongs into no checkpoint.

    Args:
        config: for the share and its warm-up.
        table: of the training set.
    """

    def __init__(self, config: MiningConfig, table: Neighbours) -> None:
        self.config = config
        self._one_set = table.ab is table.ba
        self._sides = (_tensors(table.ab), _tensors(table.ba))

    def _on(self, device: torch.device) -> tuple[Lists, Lists]:
        """Both directions on a device; moved there once."""
        if self._sides[0].indices.device != device:
            ab, ba = (Lists(*(part.to(device) for part in side)) for side in self._sides)
            self._sides = ab, ba
        return self._sides

    @torch.no_grad()
    def captions(self, index: Tensor, live: Tensor, step: int, group: dist.ProcessGroup | None) -> Positives:
        """Positives among whole captions.

        Args:
            index: int64 [B], position of this rank's samples in the training set, -1 where damaged.
            live: bool [B], rows that may have and be positives.
            step: for the warm-up.
            group: ranks whose batches count together, None for this one alone.
        """
        index = index.masked_fill(~live, -1)
        start = 0
        everyone = index
        if group is not None:
            everyone, start = gather_rows(index, group), own_rows(len(index), group).start
        ab, ba = self._on(index.device)
        found_ab = in_batch(ab, index, everyone)
        found_ba = found_ab if self._one_set else in_batch(ba, index, everyone)
        return positives_of(found_ab, found_ba, self.config, step, start)


def in_batch(table: Lists, index: Tensor, everyone: Tensor) -> Lists:
    """The lists of some samples in terms of rows of a batch.

    Args:
        table: lists of all N samples.
        index: int64 [B], samples whose lists are wanted, -1: none.
        everyone: int64 [R], samples of the rows of the batch, -1: none. Of a sample that comes twice (a batch
            may straddle two epochs) the first row counts.

    Returns:
        Indices of rows int32 [B, K], their shares fp32 [B, K] with sum 1 where a positive is there, ignored
        rows int32 [B, I].
    """
    here, there = index.clamp(min=0), (index >= 0)[:, None]
    order = everyone.argsort(stable=True)
    ranked = everyone[order]

    def rows_of(samples: Tensor) -> Tensor:
        wanted = samples[here].long()
        place = torch.searchsorted(ranked, wanted).clamp(max=len(ranked) - 1)
        found = (ranked[place] == wanted) & (wanted >= 0) & there
        return torch.where(found, order[place], -1).to(torch.int32)

    rows = rows_of(table.indices)
    weights = table.weights[here].masked_fill(rows < 0, 0)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-12)
    return Lists(rows, weights, rows_of(table.ignored))


def _tensors(side: Side) -> Lists:
    return Lists(*(_tensor(part) for part in (side.indices, side.weights, side.ignored)))


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.array(values))
