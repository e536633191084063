"""The maths of patch grouping on similarities [T, P]; what touches patches [B, P, D] is a back end's.

A back end gives three functions: ``dots(patches, vectors, owner)``, the product of each vector [T, D] with
every patch of its owner, [T, P]; ``pool(patches, weight, owner)``, their weighted sum [T, D]; and
``spread(pairs, owner, count)``, the sum over the sentences of an image of weight [T, P] times vector [T, D],
for each (weight, vector) of ``pairs``, [count, P, D].
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from .dense.group_patches import EPS


def forward(ops: ModuleType, patches: Tensor, sentences: Tensor, owner: Tensor, threshold: float) -> Tensor:
    """Pool of the patches [B, P, D] of each sentence's image, unit rows [T, D] in the sums' dtype; owner
    int64 [T] >= 0."""
    share, _, _ = _shares(ops.dots(patches, sentences, owner), threshold)
    mean = ops.pool(patches, _weights(share), owner)
    return mean / mean.norm(dim=1, keepdim=True).clamp(min=EPS)


def backward(
    ops: ModuleType, gradient: Tensor, patches: Tensor, sentences: Tensor, owner: Tensor, threshold: float
) -> Tensor:
    """Gradient of the patches, [B, P, D] in the sums' dtype: through the mean, and through its weights."""
    similarity = ops.dots(patches, sentences, owner)
    share, low, high = _shares(similarity, threshold)
    weight = _weights(share)
    mean = ops.pool(patches, weight, owner)
    norm = mean.norm(dim=1, keepdim=True)
    q = mean / norm.clamp(min=EPS)
    along = (q * gradient).sum(1, keepdim=True) * (norm > EPS)
    to_mean = (gradient - q * along) / norm.clamp(min=EPS)
    to_weight = ops.dots(patches, to_mean, owner)
    to_similarity = _through_shares(to_weight, similarity, share, weight, low, high)
    pairs = [(weight, to_mean), (to_similarity, sentences.to(gradient.dtype))]
    return ops.spread(pairs, owner, len(patches))


def _shares(similarity: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Similarities scaled to 0..1 and thresholded, and their bounds."""
    low, high = similarity.amin(1, keepdim=True), similarity.amax(1, keepdim=True)
    share = (similarity - low) / (high - low + EPS)
    return share.masked_fill(share < threshold, 0), low, high


def _weights(share: Tensor) -> Tensor:
    """Shares divided by their sum; all alike where nothing is left."""
    total = share.sum(1, keepdim=True)
    return torch.where(total == 0, 1 / share.shape[1], share / total.masked_fill(total == 0, 1))


def _through_shares(
    to_weight: Tensor, similarity: Tensor, share: Tensor, weight: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Gradient of the similarities. The lowest and the highest carry the scale; ties divide its gradient, as
    autograd has it."""
    total = share.sum(1, keepdim=True)
    to_share = (to_weight - (weight * to_weight).sum(1, keepdim=True)) / total.masked_fill(total == 0, 1)
    to_share = to_share.masked_fill(share <= 0, 0) / (high - low + EPS)
    to_high = -(to_share * share).sum(1, keepdim=True)
    to_low = -to_share.sum(1, keepdim=True) - to_high
    result = to_share
    for bound, value in ((low, to_low), (high, to_high)):
        ties = similarity == bound
        result = result + value * ties / ties.sum(1, keepdim=True)
    return result
