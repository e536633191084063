"""From what callers pass to what back ends read."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor

from .checks import check_shape
from .exchange import gather_rows, own_rows
from .side import Side
from .tags import Tags

Targets = tuple[Tensor, Tensor]


def make_side(
    rows: int,
    targets: Targets | None,
    row_weight: Tensor | None,
    ignore: Tensor | None,
    form: str,
    bias: Tensor | None,
) -> Side:
    """A ``Side`` of lists and weights; ValueError for shapes that do not fit."""
    indices = weights = None
    if targets is not None:
        indices, weights = targets
        check_shape(indices, "target indices", (rows, -1))
        check_shape(weights, "target weights", tuple(indices.shape))
        indices, weights = indices.long(), weights.detach()
    check_shape(ignore, "ignore", (rows, -1))
    return Side(
        indices=indices,
        weights=weights,
        row_weight=None if row_weight is None else 1.0 * row_weight.detach(),  # bool and int become float
        ignore=None if ignore is None else ignore.long(),
        form=form,
        bias=bias,
    )


def beyond_rank(side: Side, columns: int, group: dist.ProcessGroup) -> Side:
    """Extend what a side says of this rank's ``columns`` candidates to the candidates of all ranks."""
    tags = side.tags
    if tags is not None:
        tags = (tags[0], Tags(gather_rows(tags[1].keys, group), tags[1].rules))
    return replace(
        side,
        offset=own_rows(columns, group).start,
        valid=None if side.valid is None else gather_rows(side.valid, group),
        tags=tags,
    )


def normaliser(row_weight: Tensor | None, rows: int) -> Tensor | int:
    """Sum of the weights; 1 where it is 0, so that the loss is 0 times the embeddings and keeps its graph."""
    if row_weight is None:
        return max(rows, 1)
    total = row_weight.sum()
    return torch.where(total > 0, total, torch.ones_like(total))


def mean_normaliser(row_weight: Tensor | None, rows: int, group: dist.ProcessGroup) -> Tensor | float:
    """Z / W: divided by it, the rank losses have the loss of one process as their mean."""
    world = dist.get_world_size(group)
    if row_weight is None:
        return max(rows, 1)
    return normaliser(gather_rows(row_weight, group), rows * world) / world


def promote(
    a: Tensor, b: Tensor, scale: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """a and b in one dtype, scale and bias in that of the sums: fp32, fp64 if an input is."""
    common = torch.promote_types(a.dtype, b.dtype)
    exact = torch.float64 if torch.float64 in (common, scale.dtype) else torch.float32
    if exact == torch.float64:
        common = exact
    return a.to(common), b.to(common), scale.to(exact), None if bias is None else bias.to(exact)


def pair_of_tags(tags: Tags | tuple[Tags, Tags] | None) -> tuple[Tags, Tags] | None:
    """Tags of rows and of candidates."""
    return (tags, tags) if isinstance(tags, Tags) else tags


def cleared(rows: Tensor, live: Tensor | None) -> Tensor:
    """Zero dead rows, so that whatever lies there (NaN too) reaches neither the loss nor a gradient."""
    return rows if live is None else rows.masked_fill(~live[:, None], 0)
