"""Contrast on the whole R x K matrix of logits (EmoCapCLIP spec 3, 7.1-7.6, 7.12)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..forms import positives, softplus
from ..masks import listed
from ..side import Side
from .paired import paired_sum


def contrast_sum(anchors: Tensor, candidates: Tensor, scale: Tensor, side: Side) -> Tensor:
    """Sum over rows of w_i l_i, 0-d; anchors [R, D] against candidates [K, D] in one floating dtype, dead
    rows zero."""
    return _row_sum((scale * anchors) @ candidates.T, side)


def symmetric_sum(a: Tensor, b: Tensor, scale: Tensor, ab: Side, ba: Side) -> Tensor:
    """Sum of both directions of a [N, D] against b [N, D], 0-d; the logits are computed once."""
    if ab.plain and ba.plain and ab.form == "out" and ab.offset == 0:
        return paired_sum(a, b, scale, ab.row_weight, _left_out_of_pairs(ab))
    logits = (scale * a) @ b.T
    return _row_sum(logits, ab) + _row_sum(logits.T, ba)


def _row_sum(logits: Tensor, side: Side) -> Tensor:
    indices, weights = positives(side, len(logits), logits.device)
    weights, left_out = weights.to(logits.dtype), _left_out(logits, indices, side)
    if side.form == "sigmoid":
        assert side.bias is not None
        losses = _sigmoid(logits + side.bias, indices, weights, left_out)
    else:
        losses = _FORMS[side.form](logits, indices, weights, left_out)
    return losses.sum() if side.row_weight is None else (side.row_weight * losses).sum()


def _left_out(logits: Tensor, positives: Tensor, side: Side) -> Tensor | None:
    """Bool, broadcasts to R x K: pairs outside the normaliser; None if there are none."""
    invalid = None if side.valid is None else ~side.valid[None, :]
    excluded = None if side.tags is None else side.tags[0].matches(side.tags[1])
    if side.ignore is not None:
        ignored = listed(side.ignore, logits.shape[1])
        excluded = ignored if excluded is None else excluded | ignored
    if excluded is None:
        return invalid
    excluded = excluded & ~listed(positives, logits.shape[1])
    return excluded if invalid is None else excluded | invalid


def _left_out_of_pairs(side: Side) -> Tensor | None:
    """Bool N x N, for ``paired_sum``: dead rows, dead columns, and tags of two different pairs that match."""
    result = None
    if side.tags is not None:
        result = side.tags[0].matches(side.tags[1]).fill_diagonal_(False)
    if side.valid is not None:
        dead = ~side.valid
        edges = dead[:, None] | dead[None, :]
        result = edges if result is None else result | edges
    return result


def _logsumexp(logits: Tensor, left_out: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Log-sum-exp of what is left of each row, and which rows are empty (their value is finite but void)."""
    if left_out is None:
        return logits.logsumexp(1), None
    empty = left_out.all(1)
    return logits.masked_fill(left_out & ~empty[:, None], -torch.inf).logsumexp(1), empty


def _at(logits: Tensor, indices: Tensor) -> Tensor:
    return logits.gather(1, indices.clamp(min=0))


def _out(logits: Tensor, indices: Tensor, weights: Tensor, left_out: Tensor | None) -> Tensor:
    """l_i = sum_j Y_ij (LSE_i - z_ij): positives compete with each other. A row without positives gives 0."""
    normaliser, _ = _logsumexp(logits, left_out)
    return weights.sum(1) * normaliser - (weights * _at(logits, indices)).sum(1)


def _in(logits: Tensor, indices: Tensor, weights: Tensor, left_out: Tensor | None) -> Tensor:
    """l_i = LSE_i - LSE+_i, MIL-NCE: one good positive is enough; the size of the weights does not matter."""
    normaliser, _ = _logsumexp(logits, left_out)
    among, none = _logsumexp(logits, ~listed(indices, logits.shape[1]))
    assert none is not None
    return (normaliser - among).masked_fill(none, 0)


def _dec(logits: Tensor, indices: Tensor, weights: Tensor, left_out: Tensor | None) -> Tensor:
    """l_i = sum_j Y_ij log(1 + exp(LSE-_i - z_ij)): each positive against the negatives only."""
    positive = listed(indices, logits.shape[1])
    outside = positive if left_out is None else positive | left_out
    normaliser, empty = _logsumexp(logits, outside)
    assert empty is not None
    return (weights * softplus(normaliser[:, None] - _at(logits, indices))).sum(1).masked_fill(empty, 0)


def _sigmoid(logits: Tensor, indices: Tensor, weights: Tensor, left_out: Tensor | None) -> Tensor:
    """l_i = sum_j Y_ij log(1 + exp(-z_ij)) + sum over negatives of log(1 + exp(z_ij)): each pair alone."""
    outside = listed(indices, logits.shape[1])
    outside = outside if left_out is None else outside | left_out
    negative = softplus(logits).masked_fill(outside, 0).sum(1)
    return negative + (weights * softplus(-_at(logits, indices))).sum(1)


_FORMS = {"out": _out, "in": _in, "dec": _dec}
