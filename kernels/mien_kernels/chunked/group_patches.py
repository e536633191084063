"""Sentence-guided patch grouping, some sentences at a time, gradients by hand (EmoCapCLIP spec 3, V1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..blocks import add_by_owner, blocks
from ..dense.group_patches import EPS


def forward(patches: Tensor, sentences: Tensor, owner: Tensor, threshold: float) -> Tensor:
    """Pool of the patches [B, P, D] of each sentence's image, unit rows [T, D] in the sums' dtype; owner
    >= 0."""
    result = [
        _pool(patches[owner[part]], sentences[part], threshold).q
        for part in blocks(len(owner), patches[0].numel())
    ]
    return torch.cat(result)


def backward(
    gradient: Tensor, patches: Tensor, sentences: Tensor, owner: Tensor, threshold: float
) -> Tensor:
    """Gradient of the patches, [B, P, D] in the sums' dtype; sums over the sentences of an image run in
    order."""
    result = torch.zeros(patches.shape, dtype=gradient.dtype, device=patches.device)
    order = owner.argsort(stable=True)
    for part in blocks(len(owner), patches[0].numel()):
        rows = order[part]
        terms = _gradient(gradient[rows], patches[owner[rows]], sentences[rows], threshold)
        add_by_owner(result, owner[rows], terms)
    return result


class _Pooled(NamedTuple):
    own: Tensor
    """Patches of each sentence's image, [T, P, D]."""
    text: Tensor
    similarity: Tensor
    share: Tensor
    """Scaled to 0..1 and thresholded, [T, P]."""
    span: Tensor
    weight: Tensor
    norm: Tensor
    q: Tensor


def _pool(own: Tensor, sentences: Tensor, threshold: float) -> _Pooled:
    dtype = torch.promote_types(torch.promote_types(own.dtype, sentences.dtype), torch.float32)
    own, text = own.to(dtype), sentences.to(dtype)
    similarity = torch.einsum("tpd,td->tp", own, text)
    low = similarity.amin(1, keepdim=True)
    span = similarity.amax(1, keepdim=True) - low + EPS
    share = (similarity - low) / span
    share = share.masked_fill(share < threshold, 0)
    total = share.sum(1, keepdim=True)
    weight = torch.where(total == 0, 1 / own.shape[1], share / total.masked_fill(total == 0, 1))
    mean = torch.einsum("tp,tpd->td", weight, own)
    norm = mean.norm(dim=1, keepdim=True)
    return _Pooled(own, text, similarity, share, span, weight, norm, mean / norm.clamp(min=EPS))


def _gradient(gradient: Tensor, own: Tensor, sentences: Tensor, threshold: float) -> Tensor:
    """Gradient of each sentence's own patches, [T, P, D]: through the mean, and through the weights."""
    pooled = _pool(own, sentences, threshold)
    q, share, similarity = pooled.q, pooled.share, pooled.similarity
    along = (q * gradient).sum(1, keepdim=True) * (pooled.norm > EPS)
    to_mean = (gradient - q * along) / pooled.norm.clamp(min=EPS)
    to_weight = torch.einsum("td,tpd->tp", to_mean, pooled.own)
    total = share.sum(1, keepdim=True)
    to_share = (to_weight - (pooled.weight * to_weight).sum(1, keepdim=True)) / total
    to_share = torch.where((share > 0) & (total > 0), to_share, 0) / pooled.span
    # lowest and highest similarity carry the scale; ties share its gradient, as autograd has it
    to_high = -(to_share * share).sum(1, keepdim=True)
    to_low = -to_share.sum(1, keepdim=True) - to_high
    to_similarity = to_share
    for bound, value in ((similarity.amin(1, keepdim=True), to_low), (similarity.amax(1, keepdim=True), to_high)):
        ties = similarity == bound
        to_similarity = to_similarity + value * ties / ties.sum(1, keepdim=True)
    result = pooled.weight[:, :, None] * to_mean[:, None]
    return result.addcmul_(to_similarity[:, :, None], pooled.text[:, None])
