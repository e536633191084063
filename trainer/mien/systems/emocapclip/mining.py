"""Mined positives as soft targets, and the state that mining keeps (spec section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mien.systems.emocapclip.config import MiningConfig
from mien_kernels import Lists, Tags, gather_rows, mine, own_rows

Targets = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Positives:
    """Soft targets and exclusions of both directions of a level, for `mien_kernels.symmetric_contrast`."""

    ab: Targets | None = None
    ba: Targets | None = None
    ignore: tuple[Tensor, Tensor] | None = None
    mined: Tensor | float = 0.0
    """Mined positives a row, mean."""


def share_at(config: MiningConfig, step: int) -> float:
    """lam at a step: 0 for `hold_steps`, linear to `share` over `ramp_steps`, then constant."""
    if config.rule is None or step < config.hold_steps:
        return 0.0
    if config.ramp_steps == 0:
        return config.share
    return config.share * min(1.0, (step - config.hold_steps + 1) / config.ramp_steps)


class Miner(nn.Module):
    """Runs `mien_kernels.mine` over all ranks; its buffers are running statistics, so that they resume."""

    stats: Tensor
    local_stats: Tensor

    def __init__(self, config: MiningConfig, backend: str) -> None:
        super().__init__()
        self.config = config
        self.backend = backend
        self.register_buffer("stats", torch.full((3, 2), torch.nan, dtype=torch.float64))
        self.register_buffer("local_stats", torch.full((3, 2), torch.nan, dtype=torch.float64))

    @torch.no_grad()
    def captions(
        self,
        image: Tensor,
        text: Tensor,
        valid: Tensor,
        tags: Tags,
        step: int,
        group: dist.ProcessGroup | None,
    ) -> Positives:
        """Positives among whole captions.

        Args:
            image: guidance of this rank's images, unit rows [B, D].
            text: guidance of their captions, unit rows [B, D'].
            valid: bool [B], rows that may be mined.
            tags: pairs that are never mined (same uid, same group).
            step: for the warm-up.
            group: ranks to mine over, None for this one alone.
        """
        config = self.config
        if config.rule is None:
            return Positives()
        image, text, valid, tags, rows = _everyone(image, text, valid, tags, group)
        found = mine(
            image, text, rule=config.rule, k=config.k, ignore=config.ignore, threshold=config.threshold,
            ignore_threshold=config.ignore_threshold, tags=tags, valid=valid, stats=self.stats, rows=rows,
            backend=self.backend,
        )  # fmt: skip
        if self.training:
            self.stats.copy_(found.stats)
        return positives_of(found.ab, found.ba, config, step, rows.start)

    @torch.no_grad()
    def sentences(
        self,
        text: Tensor,
        region: Tensor,
        mask: Tensor,
        tags: Tags,
        step: int,
        group: dist.ProcessGroup | None,
    ) -> Positives:
        """Positives among local sentences, by their text and inside equal regions only.

        Args:
            text: unit rows [T, D], T = B * M.
            region: int [T].
            mask: bool [T], real sentences.
            tags: pairs that are never mined (same image and region).
            step: for the warm-up.
            group: ranks to mine over, None for this one alone.
        """
        config = self.config
        if config.rule is None or not (config.local_k or config.local_ignore):
            return Positives()
        region, text, mask, tags, rows = _everyone(region, text, mask, tags, group)
        found = mine(
            None, text, rule="text", k=config.local_k, ignore=config.local_ignore,
            threshold=config.local_threshold, ignore_cosine=config.local_same, tags=tags, within=region,
            valid=mask, stats=self.local_stats, rows=rows, backend=self.backend,
        )  # fmt: skip
        if self.training:
            self.local_stats.copy_(found.stats)
        return positives_of(found.ab, found.ba, config, step, rows.start)


def _everyone(
    first: Tensor, text: Tensor, valid: Tensor, tags: Tags, group: dist.ProcessGroup | None
) -> tuple[Tensor, Tensor, Tensor, Tags, slice]:
    """The rows of all ranks, and where this rank's lie among them."""
    if group is None:
        return first, text, valid, tags, slice(0, len(valid))
    keys = Tags(gather_rows(tags.keys, group), tags.rules)
    gathered = (gather_rows(part, group) for part in (first, text, valid))
    return *gathered, keys, own_rows(len(valid), group)  # type: ignore[return-value]


def positives_of(ab: Lists, ba: Lists, config: MiningConfig, step: int, start: int) -> Positives:
    """Soft targets of mined lists at a step; `start` is the first of this rank's rows among all."""
    mined = (ab.indices >= 0).float().sum(1).mean() if ab.indices.shape[1] else 0.0
    share = share_at(config, step)
    if share == 0:  # not warm yet: the plain contrast, with nothing left out
        return Positives(mined=mined)
    return Positives(ab.targets(share, start), ba.targets(share, start), (ab.ignored, ba.ignored), mined)
