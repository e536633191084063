"""Loss of a row from what its negatives add up to and from its positives (EmoCapCLIP spec 7.6)."""

from __future__ import annotations

import torch
from torch import Tensor

from .masks import VOID
from .side import Side


def positives(side: Side, rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Columns int64 [R, P] and weights fp32 (or as given) [R, P]; what does not count has -1 and 0."""
    if side.indices is None:
        indices = torch.arange(rows, device=device)[:, None] + side.offset
        weights = torch.ones(indices.shape, device=device)
    else:
        assert side.weights is not None
        indices, weights = side.indices, side.weights
    counts = (indices >= 0) & (weights > 0)
    if side.valid is not None:
        counts = counts & side.valid[indices.clamp(min=0)]
    if side.row_weight is not None:
        counts = counts & (side.row_weight > 0)[:, None]
    return indices.masked_fill(~counts, -1), weights.masked_fill(~counts, 0)


def row_losses(side: Side, negative: Tensor, z: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """l_i, [R].

    Args:
        side: for the form and the bias.
        negative: log-sum-exp over negatives [R], VOID where there is none; for ``sigmoid`` the sum of
            log(1 + e^(z + bias)) over them.
        z: logits of the positives, [R, P].
        indices: of the positives, -1 where none.
        weights: of the positives, 0 where none.
    """
    weights = weights.to(z.dtype)
    if side.form == "sigmoid":
        assert side.bias is not None
        return negative + (weights * softplus(-(z + side.bias))).sum(1)
    if side.form == "dec":
        return (weights * softplus(negative[:, None] - z)).sum(1)
    if side.form == "out" and z.shape[1] == 1:  # LSE - z without the difference of two large numbers
        return weights[:, 0] * softplus(negative - z[:, 0])
    among = _among(z, indices)
    everyone = torch.logaddexp(negative, among)
    if side.form == "in":
        return torch.where(among > VOID / 2, everyone - among, 0)
    return (weights * (everyone[:, None] - z)).sum(1)


def _among(z: Tensor, indices: Tensor) -> Tensor:
    """Log-sum-exp over the different positives of a row; VOID where there is none."""
    if indices.shape[1] == 1:
        return torch.where(indices >= 0, z, VOID)[:, 0]
    same = (indices[:, :, None] == indices[:, None, :]).tril(-1).any(2)
    return torch.where((indices >= 0) & ~same, z, VOID).logsumexp(1)


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), exact to rounding (torch's softplus is linear from 20 on)."""
    return torch.logaddexp(x, torch.zeros_like(x))
