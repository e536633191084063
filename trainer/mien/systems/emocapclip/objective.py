"""The loss: contrast at three levels with soft, mined targets (spec sections 3, 4, 7.8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mien.systems.emocapclip.attention import AttentionPool, Sentences, attention_contrast
from mien.systems.emocapclip.config import ObjectiveConfig
from mien.systems.emocapclip.local import queries
from mien.systems.emocapclip.mining import Miner, Positives
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.emocapclip.rows import unit
from mien.systems.emocapclip.table import TableMiner
from mien.systems.ranks import world_group
from mien_kernels import Tags, contrast, own_rows, symmetric_contrast

if TYPE_CHECKING:
    from mien.data.neighbours import Neighbours

Batch = dict[str, Tensor]
_MASK = 0x7FFF_FFFF_FFFF_FFFF


@dataclass(frozen=True)
class Encoded:
    """Unit rows float32 of a micro batch; rows that do not exist are zero."""

    image: Tensor
    """v [B, D]."""
    patches: Tensor | None
    """x [B, P, D] for the branches group and region."""
    global_: Tensor
    """g [B, D]."""
    summary: Tensor
    """s [B, D]."""
    local: Tensor
    """t [B, M, D]."""
    log_scale: Tensor
    local_log_scale: Tensor
    bias: Tensor | None = None
    """b of the sigmoid loss, 0-d."""
    local_bias: Tensor | None = None
    """b of a sigmoid local level, 0-d."""
    pool: AttentionPool | None = None
    """Attention pooling of V2."""


def with_scales(
    model: EmoCapCLIP, image: Tensor, patches: Tensor | None, global_: Tensor, summary: Tensor, local: Tensor
) -> Encoded:
    """Embeddings with the model's scales, biases and pooling."""

    def number(parameter: Tensor | None) -> Tensor | None:
        return None if parameter is None else parameter.squeeze(0)

    return Encoded(
        image, patches, global_, summary, local, model.log_scale.squeeze(0), model.local_log_scale.squeeze(0),
        number(model.logit_bias), number(model.local_logit_bias), model.pool,
    )  # fmt: skip


def text_keys(tokens: Tensor) -> Tensor:
    """A non-negative int64 hash of each row of tokens [..., L]: equal texts, equal keys, on every rank."""
    key = torch.zeros(tokens.shape[:-1], dtype=torch.int64, device=tokens.device)
    for column in tokens.long().unbind(
        -1
    ):  # a polynomial modulo 2^64; its multiplier is that of Knuth's MMIX
        key = key * 6364136223846793005 + column + 1
    return (key ^ (key >> 29)) & _MASK


class Objective(nn.Module):
    """Loss of a micro batch; its only state is the miner's running statistics."""

    def __init__(self, config: ObjectiveConfig) -> None:
        super().__init__()
        self.config = config
        self.form = "sigmoid" if config.loss == "sigmoid" else config.form
        self.miner = Miner(config.mining, config.backend)
        self.table: TableMiner | None = None

    def use(self, table: Neighbours) -> None:
        """Take whole captions' positives from a table of the training set from now on."""
        self.table = TableMiner(self.config.mining, table)

    def forward(self, encoded: Encoded, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Weighted sum of the levels, 0-d, and its parts for the log.

        Args:
            encoded: the embeddings.
            batch: `valid`, `uid`, `grp`, `has_g`, `has_s` [B], `tok_g`, `tok_s` [B, 77], `mask_l`, `region_l`
                [B, M], `tok_l` [B, M, 77], `lm5` [B, 5, 2], and `guide` for guidance from files.
            step: for the warm-up of mining.

        Returns:
            With several ranks the rank's loss; the mean over ranks is that of one process on all samples.
        """
        config, group = self.config, world_group()
        with torch.autocast(encoded.image.device.type, enabled=False):
            scale, local_scale = encoded.log_scale.exp(), encoded.local_log_scale.exp()
            logs: dict[str, Tensor | float] = {"scale": scale.detach()}
            if encoded.bias is not None:
                logs["bias"] = encoded.bias.detach()
            total = encoded.image.sum() * 0
            captions = self._captions(encoded, batch, step, group)
            if config.mining.rule:
                logs["mined"] = captions.mined
            for name, weight, text in (
                ("global", config.global_weight, encoded.global_),
                ("summary", config.summary_weight, encoded.summary),
            ):
                if weight:
                    level = self._level(encoded, text, scale, name[0], captions, batch, group)
                    logs[f"loss_{name}"] = level.detach()
                    total = total + weight * level
            if config.sentences_weight:
                level = self._image_to_sentences(encoded, scale, encoded.bias, batch, group)
                logs["loss_sentences"] = level.detach()
                total = total + config.sentences_weight * level
            if config.local.active:
                level = self._local(encoded, local_scale, batch, step, group)
                logs |= {"loss_local": level.detach(), "local_scale": local_scale.detach()}
                total = total + config.local.weight * level
        return total, logs

    def _captions(
        self, encoded: Encoded, batch: Batch, step: int, group: dist.ProcessGroup | None
    ) -> Positives:
        """Positives among whole captions, shared by the global and the summary level."""
        if self.config.mining.rule is None:
            return Positives()
        has = torch.zeros_like(batch["valid"])
        if self.config.global_weight:
            has = has | batch["has_g"]
        if self.config.summary_weight:
            has = has | batch["has_s"]
        live = batch["valid"] & has
        if self.config.mining.source == "table":  # of the training set: of no use in validation
            if self.table is None or not self.training:
                return Positives()
            return self.table.captions(batch["index"], live, step, group)
        image, text = encoded.image.detach(), unit((encoded.global_ + encoded.summary).detach())
        if self.config.mining.source == "guide":
            text, image = _guides(batch["guide"], image)
        return self.miner.captions(image, text, live, _same_image(batch), step, group)

    def _level(
        self, encoded: Encoded, text: Tensor, scale: Tensor, level: str, captions: Positives, batch: Batch,
        group: dist.ProcessGroup | None,
    ) -> Tensor:  # fmt: skip
        """Images against the sentences of one level; equal sentences of two images are never negatives."""
        live = batch["valid"] & batch[f"has_{level}"]
        tags = _same_image(batch) | Tags.any(text_keys(batch[f"tok_{level}"]))
        return symmetric_contrast(
            encoded.image, text, scale, targets_ab=captions.ab, targets_ba=captions.ba,
            ignore=captions.ignore, row_weight=live.to(text.dtype), tags=tags, form=self.form,
            logit_bias=encoded.bias, process_group=group, backend=self.config.backend,
            exchange=self.config.exchange,
        )  # fmt: skip

    def _local(
        self, encoded: Encoded, scale: Tensor, batch: Batch, step: int, group: dist.ProcessGroup | None
    ) -> Tensor:
        """The local level: V0 `cls`, V1 `group`, V2 `attn`, V3 `region`."""
        config = self.config
        mask = batch["mask_l"] & batch["valid"][:, None]
        if config.local.branch == "cls":
            return self._image_to_sentences(encoded, scale, encoded.local_bias, batch, group)
        assert encoded.patches is not None
        if config.local.branch == "attn":
            assert encoded.pool is not None
            assert encoded.local_bias is not None
            sentences = Sentences(encoded.local, mask, text_keys(batch["tok_l"]), batch["uid"], batch["grp"])
            negatives = config.local.negatives
            return attention_contrast(
                encoded.pool, encoded.patches, sentences, scale, encoded.local_bias, negatives, step, group
            )
        pooled = queries(config.local, encoded.patches, encoded.local, mask, batch["region_l"], batch["lm5"])
        count = mask.shape[1]
        text, flat, region = encoded.local.flatten(0, 1), mask.flatten(), batch["region_l"].flatten()
        uid, grp = (batch[key].repeat_interleave(count) for key in ("uid", "grp"))
        same_area = Tags.all(uid, region) | Tags.all(grp, region)
        found = self.miner.sentences(text.detach(), region, flat, same_area, step, group)
        return symmetric_contrast(
            pooled, text, scale, targets_ab=found.ab, targets_ba=found.ba, ignore=found.ignore,
            row_weight=flat.to(text.dtype), tags=same_area | Tags.any(text_keys(batch["tok_l"]).flatten()),
            form=self.form, logit_bias=encoded.local_bias, process_group=group, backend=config.backend,
            exchange=config.exchange,
        )  # fmt: skip

    def _image_to_sentences(
        self, encoded: Encoded, scale: Tensor, bias: Tensor | None, batch: Batch,
        group: dist.ProcessGroup | None,
    ) -> Tensor:  # fmt: skip
        """V0: an image has M positive sentences of weight 1/M, a sentence has one positive image.

        The sigmoid loss has no normaliser that would tell the directions apart: it takes every pair once, per
        sentence, which is FLAIR's multi-positive loss.
        """
        mask = batch["mask_l"] & batch["valid"][:, None]
        batch_size, count = mask.shape
        flat, text = mask.flatten(), encoded.local.flatten(0, 1)
        start = 0 if group is None else own_rows(batch_size, group).start
        images = torch.arange(batch_size, device=mask.device) + start
        own = images[:, None] * count + torch.arange(count, device=mask.device)
        shares = mask / mask.sum(1, keepdim=True).clamp(min=1)
        tags = _image_and_sentence_tags(batch, count)
        has = mask.any(1)

        def one_way(rows: Tensor, columns: Tensor, targets: tuple[Tensor, Tensor], flip: bool) -> Tensor:
            live, exists = (flat, has) if flip else (has, flat)
            return contrast(
                rows, columns, scale, targets=targets, row_weight=live.to(text.dtype), candidate_valid=exists,
                tags=tags[::-1] if flip else tags, form=self.form, logit_bias=bias, process_group=group,
                backend=self.config.backend, exchange=self.config.exchange,
            )  # fmt: skip

        owner = images.repeat_interleave(count)[:, None]
        to_image = one_way(text, encoded.image, (owner, torch.ones_like(owner, dtype=text.dtype)), flip=True)
        if self.form == "sigmoid":
            return to_image
        to_text = one_way(encoded.image, text, (own, shares.to(text.dtype)), flip=False)
        return (to_text + to_image) / 2


def _same_image(batch: Batch) -> Tags:
    return Tags.any(batch["uid"], batch["grp"])


def _image_and_sentence_tags(batch: Batch, count: int) -> tuple[Tags, Tags]:
    """Tags of images and sentences: they match for one image or group, or if the image has that sentence."""
    keys = text_keys(batch["tok_l"]).masked_fill(~batch["mask_l"], -1)
    uid, grp = batch["uid"], batch["grp"]
    images = Tags.any(uid, grp, *keys.unbind(1))
    flat = keys.flatten()
    sentences = Tags.any(uid.repeat_interleave(count), grp.repeat_interleave(count), *[flat] * count)
    return images, sentences


def _guides(guide: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Text and image guidance from files [B, 1 or 2, d]; with one row images go by v. NaN finds nothing."""
    return unit(guide[:, 0]), unit(guide[:, 1]) if guide.shape[1] == 2 else image
