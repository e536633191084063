"""V2: patches pooled by attention that a sentence asks for, with a sigmoid loss (spec section 3).

After FLAIR (Xiao et al., arXiv 2412.03561): each image is pooled anew for every text that it is compared
with, its own sentences and sentences of other images, so that positives have no advantage over negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mien.systems.emocapclip.rows import unit
from mien_kernels import gather, gather_rows, own_rows

_HEADS = 8
_ELEMENTS = 1 << 24
"""Numbers that a chunk of images may hold at once: 64 MiB in float32."""
_MASK = 0x7FFF_FFFF_FFFF_FFFF


class AttentionPool(nn.Module):
    """Multi-head attention from sentences to patches with a slot of zeros that may be attended to instead.

    The slot lets a sentence that an image does not show attend to nothing.

    Args:
        width: D; it has eight heads, or as many fewer as divide D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(min(_HEADS, width), 0, -1) if width % heads == 0)
        self.norm_query, self.norm_patches = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.zeros_(layer.bias)

    def ask(self, sentences: Tensor) -> Tensor:
        """Sentences t [..., D] to queries of the same shape."""
        return self.query(self.norm_query(sentences))

    def hold(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Patches x [B, P, D] to keys and values [B, P + 1, D]; the last of each is zero."""
        normed = self.norm_patches(patches)
        return F.pad(self.key(normed), (0, 0, 0, 1)), F.pad(self.value(normed), (0, 0, 0, 1))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Queries [B, T, D] to unit rows [B, T, D]: the image pooled for each of its T texts."""
        split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (queries, keys, values)]
        pooled = F.scaled_dot_product_attention(*split)
        return unit(self.out(pooled.transpose(1, 2).flatten(2)))


@dataclass(frozen=True)
class Sentences:
    """The sentences of B images, M each."""

    embedding: Tensor
    """t, unit rows [B, M, D]; zero where padded."""
    mask: Tensor
    """bool [B, M]: which are real."""
    keys: Tensor
    """int64 [B, M]: equal keys are equal texts."""
    uid: Tensor
    """int64 [B], the same on any number of ranks."""
    grp: Tensor
    """int64 [B]: images of one group, such as a shot, are no negatives of each other; -1 has none."""


def attention_contrast(
    pool: AttentionPool, patches: Tensor, sentences: Sentences, scale: Tensor, bias: Tensor,
    negatives: int | None, step: int, group: dist.ProcessGroup | None = None,
) -> Tensor:  # fmt: skip
    """Sigmoid loss over pairs of an image and a text, a 0-d tensor.

    With q_ij the image i pooled for text j and z_ij = scale q_ij.t_j + bias, the loss is the sum of
    log(1 + exp(-z_ij)) over own sentences and of log(1 + exp(z_ij)) over one sentence each of other images,
    divided by the number of own sentences of all images. Which sentence of which image is a function of both
    `uid` and of `step`: the same on any number of ranks and after a resume. Images of one group, and a text
    that the image has too, are no negatives; an image without sentences takes no part.

    Images are pooled a chunk at a time and, if there are several, again in backward: memory is bounded,
    whatever the batch.

    Args:
        pool: the attention.
        patches: x, unit rows [B, P, D], float32 or float64.
        sentences: of the same B images.
        scale: 0-d multiplier.
        bias: 0-d.
        negatives: K, other images that lend an image a text; None takes all of the batch.
        step: number of the step.
        group: ranks, each with its own B images; the mean over ranks is the loss of one process with all.
    """
    text = sentences.embedding.flatten(0, 1)
    asked = torch.cat([pool.ask(text), text], 1)
    everyone, first, world = sentences, 0, 1
    if group is not None:
        asked, world = gather(asked, group), dist.get_world_size(group)
        first = own_rows(len(patches), group).start
        parts = (sentences.mask, sentences.keys, sentences.uid, sentences.grp)
        everyone = Sentences(sentences.embedding, *(gather_rows(part, group) for part in parts))
    texts, live = choose_texts(sentences, everyone, first, negatives, step)
    there = sentences.mask.any(1)
    keys, values = pool.hold(patches.masked_fill(~there[:, None, None], 0))
    sign = torch.where(torch.arange(texts.shape[1], device=texts.device) < sentences.mask.shape[1], -1.0, 1.0)

    def total(rows: slice) -> Tensor:
        queries, candidates = asked[texts[rows]].chunk(2, -1)
        pooled = pool.attend(queries, keys[rows], values[rows])
        logits = scale * (pooled * candidates).sum(-1) + bias
        return (F.softplus(logits * sign.to(logits.dtype)) * live[rows]).sum()

    size = _chunk(texts.shape[1], keys, pool.heads)
    chunks = [slice(start, start + size) for start in range(0, len(patches), size)]
    if len(chunks) == 1:
        summed = total(chunks[0])
    else:
        again = [checkpoint(total, c, use_reentrant=False, preserve_rng_state=False) for c in chunks]
        summed = torch.stack(again).sum()
    return summed * world / everyone.mask.sum().clamp(min=1)


def choose_texts(
    own: Sentences, everyone: Sentences, first: int, negatives: int | None, step: int
) -> tuple[Tensor, Tensor]:
    """The texts that each image is compared with: its own, then one of each of K other images.

    Args:
        own: sentences of this rank's B images.
        everyone: sentences of the N images of all ranks (`embedding` is not read).
        first: number of this rank's first image among them.
        negatives: K; None is N, the image itself being none.
        step: number of the step, keys the choice.

    Returns:
        Index int64 [B, M + K] into the N * M sentences of all, and bool [B, M + K], which count.
    """
    rows, count = own.mask.shape
    device = own.mask.device
    mine = torch.arange(first * count, (first + rows) * count, device=device).view(rows, count)
    drawn = _hash(own.uid[:, None], everyone.uid[None], step)
    has = everyone.mask.sum(1)
    real_first = (~everyone.mask).int().argsort(dim=1, stable=True)
    numbers = drawn % has.clamp(min=1)
    images = torch.arange(len(has), device=device).expand_as(numbers)
    theirs = images * count + real_first[images, numbers]
    same = (own.uid[:, None] == everyone.uid) | ((own.grp[:, None] == everyone.grp) & (own.grp >= 0)[:, None])
    text = everyone.keys.flatten()[theirs]
    said = ((text[..., None] == own.keys[:, None]) & own.mask[:, None]).any(-1)
    allowed = (has > 0) & ~same & ~said & own.mask.any(1)[:, None]
    if negatives is not None and negatives < len(has):
        order = _hash(own.uid[:, None], everyone.uid[None], step + 1_000_003).masked_fill(~allowed, _MASK)
        picked = order.topk(negatives, 1, largest=False).indices
        theirs, allowed = theirs.gather(1, picked), allowed.gather(1, picked)
    return torch.cat([mine, theirs], 1), torch.cat([own.mask, allowed], 1)


def _hash(a: Tensor, b: Tensor, step: int) -> Tensor:
    """Non-negative int64 that looks random, of two broadcast int64 and a number; the same on every device."""
    mixed = a * 6364136223846793005 + b * 3935559000370003845 + (step * 1442695040888963407 & _MASK)
    for shift in (29, 32):
        mixed = (mixed ^ ((mixed & _MASK) >> shift)) * 2685821657736338717
    return ((mixed & _MASK) >> 8) ^ (mixed & 0xFF)


def _chunk(texts: int, keys: Tensor, heads: int) -> int:
    """Images a chunk: scores [heads, T, P + 1] and a few rows [T, D] for each."""
    places, width = keys.shape[1:]
    return max(1, _ELEMENTS // (texts * (heads * places + 6 * width)))
