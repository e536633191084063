"""Contrast with soft positives, exclusions, exact gradients across ranks (EmoCapCLIP spec 3, 7)."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor

from .backends import load_backend
from .exchange import gather, gather_rows, own_rows
from .side import FORMS, Side
from .tags import Tags

EXCHANGES = ("gather",)
"""Ways to see the candidates of other ranks."""

Targets = tuple[Tensor, Tensor]


def contrast(
    anchors: Tensor,
    candidates: Tensor,
    logit_scale: Tensor,
    *,
    targets: Targets | None = None,
    row_weight: Tensor | None = None,
    candidate_valid: Tensor | None = None,
    tags: Tags | tuple[Tags, Tags] | None = None,
    ignore: Tensor | None = None,
    form: str = "out",
    process_group: dist.ProcessGroup | None = None,
    exchange: str = "gather",
    backend: str = "auto",
) -> Tensor:
    """Weighted mean over rows of the contrast of each anchor with the candidates, a 0-d fp32 (fp64) tensor.

    With z_ij = logit_scale a_i.c_j, positives Y_ij >= 0, y_i = sum_j Y_ij and the normaliser
    LSE_i = log sum_{j in V(i)} exp z_ij, the loss is sum_i w_i l_i / sum_i w_i where l_i is, by ``form``,

    - ``out``: y_i LSE_i - sum_j Y_ij z_ij;
    - ``in``: LSE_i - log sum_{j positive} exp z_ij (MIL-NCE);
    - ``dec``: sum_j Y_ij log(1 + exp(LSE_i without positives - z_ij)).

    V(i) holds the valid candidates that no tag and no ``ignore`` entry excludes, and all positives. A row
    without positives or, for ``dec``, without negatives has loss and gradient 0; so has everything if sum_i
    w_i = 0.

    anchors [R, D], candidates [K, D]: fp16, bf16, fp32 or fp64, usually unit rows; products, sums and the
    loss are fp32 (fp64 if an input is). logit_scale: 0-d, the multiplier itself, not its logarithm.
    targets: (indices int [R, P] into the candidates, -1 = padding; weights float [R, P]); repeated indices
    add; an entry of weight 0 or whose candidate is not valid is no positive. None: candidate i is the one of
    row i (R = K).
    row_weight: float >= 0 [R], 0 = dead row. candidate_valid: bool [K]. Contents of dead rows, NaN too, are
    not read.
    tags: a ``Tags`` of the rows and candidates (R = K), or one for each. ignore: int [R, I], -1 = padding.

    process_group: every rank of it passes its own rows and its own candidates (equal shapes on all ranks),
    with all indices counted in rank order through the candidates of all ranks. The rank's loss is W / Z times
    the sum over its own rows, Z = sum of the weights of all ranks: the *mean* over ranks of losses and of
    gradients (DDP) is then that of one process with all rows. All ranks must make the same calls, whatever is
    dead.

    Raises ValueError for shapes that do not fit and for unknown names.
    """
    _check_embeddings(anchors, candidates, logit_scale)
    _check_names(form, exchange)
    rows, columns = len(anchors), len(candidates)
    if targets is None and rows != columns:
        raise ValueError(
            f"{rows} anchors and {columns} candidates need targets: without, row i goes with candidate i"
        )
    pair = _pair_of_tags(tags)
    _check(row_weight, "row_weight", (rows,))
    _check(candidate_valid, "candidate_valid", (columns,))
    _check_tags(pair, rows, columns)
    side = _side(rows, targets, row_weight, ignore, form)
    side = replace(side, valid=candidate_valid, tags=pair)
    sum_rows = load_backend("contrast", backend).contrast_sum
    anchors, candidates, logit_scale, dtype = _promote(anchors, candidates, logit_scale)
    with torch.autocast(anchors.device.type, enabled=False):
        if process_group is None:
            total = sum_rows(anchors.to(dtype), candidates.to(dtype), logit_scale, side)
            return total / _normaliser(side.row_weight, rows)
        candidates = gather(candidates, process_group, dtype)
        side = _beyond_rank(side, columns, process_group)
        total = sum_rows(anchors.to(dtype), candidates, logit_scale, side)
        return total / _mean_normaliser(side.row_weight, rows, process_group)


def symmetric_contrast(
    a: Tensor,
    b: Tensor,
    logit_scale: Tensor,
    *,
    targets_ab: Targets | None = None,
    targets_ba: Targets | None = None,
    row_weight: Tensor | None = None,
    tags: Tags | None = None,
    ignore: Tensor | tuple[Tensor | None, Tensor | None] | None = None,
    form: str = "out",
    process_group: dist.ProcessGroup | None = None,
    exchange: str = "gather",
    backend: str = "auto",
) -> Tensor:
    """Mean of ``contrast`` of a with b and of b with a, both [B, D]; with nothing else this is CLIP's loss.

    See ``contrast`` for the shapes, dtypes, forms and errors. A row of weight 0 is dead in both: it is no
    anchor and no candidate. ``ignore`` is one list int [B, I] for both directions or a pair (of a's rows, of
    b's rows). With a ``process_group`` every rank passes its own B rows; indices in targets and ignore are
    global.
    """
    _check_embeddings(a, b, logit_scale)
    _check_names(form, exchange)
    rows = len(a)
    if len(b) != rows:
        raise ValueError(f"a and b must have the same number of rows, got {rows} and {len(b)}")
    _check(row_weight, "row_weight", (rows,))
    pair = _pair_of_tags(tags)
    _check_tags(pair, rows, rows)
    ignore_ab, ignore_ba = ignore if isinstance(ignore, tuple) else (ignore, ignore)
    valid = None if row_weight is None else row_weight > 0
    ab = replace(_side(rows, targets_ab, row_weight, ignore_ab, form), valid=valid, tags=pair)
    ba = replace(_side(rows, targets_ba, row_weight, ignore_ba, form), valid=valid, tags=pair)
    ops = load_backend("contrast", backend)
    a, b, logit_scale, dtype = _promote(a, b, logit_scale)
    with torch.autocast(a.device.type, enabled=False):
        if process_group is None:
            total = ops.symmetric_sum(a.to(dtype), b.to(dtype), logit_scale, ab, ba)
            return total / (2 * _normaliser(ab.row_weight, rows))
        everyone = gather(torch.cat([a, b], 1), process_group, dtype)
        all_a, all_b = everyone.split(a.shape[1], 1)
        ab = _beyond_rank(ab, rows, process_group)
        ba = replace(ba, offset=ab.offset, valid=ab.valid, tags=ab.tags)
        total = ops.contrast_sum(a.to(dtype), all_b, logit_scale, ab)
        total = total + ops.contrast_sum(b.to(dtype), all_a, logit_scale, ba)
        return total / (2 * _mean_normaliser(ab.row_weight, rows, process_group))


def _side(
    rows: int, targets: Targets | None, row_weight: Tensor | None, ignore: Tensor | None, form: str
) -> Side:
    indices = weights = None
    if targets is not None:
        indices, weights = targets
        _check(indices, "target indices", (rows, -1))
        _check(weights, "target weights", tuple(indices.shape))
        indices, weights = indices.long(), weights.detach()
    _check(ignore, "ignore", (rows, -1))
    return Side(
        indices=indices,
        weights=weights,
        row_weight=None if row_weight is None else 1.0 * row_weight.detach(),  # bool and int become float
        ignore=None if ignore is None else ignore.long(),
        form=form,
    )


def _beyond_rank(side: Side, columns: int, group: dist.ProcessGroup) -> Side:
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


def _normaliser(row_weight: Tensor | None, rows: int) -> Tensor | int:
    """Sum of the weights; 1 where it is 0, so that the loss is 0 times the embeddings and keeps its graph."""
    if row_weight is None:
        return max(rows, 1)
    total = row_weight.sum()
    return torch.where(total > 0, total, torch.ones_like(total))


def _mean_normaliser(row_weight: Tensor | None, rows: int, group: dist.ProcessGroup) -> Tensor | float:
    """Z / W: divided by it, the rank losses have the loss of one process as their mean."""
    world = dist.get_world_size(group)
    if row_weight is None:
        return max(rows, 1)
    return _normaliser(gather_rows(row_weight, group), rows * world) / world


def _promote(a: Tensor, b: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, torch.dtype]:
    """a and b in one dtype, the scale in that of the sums, and that dtype: fp32, fp64 if an input is."""
    common = torch.promote_types(a.dtype, b.dtype)
    dtype = torch.float64 if torch.float64 in (common, scale.dtype) else torch.float32
    return a.to(common), b.to(common), scale.to(dtype), dtype


def _pair_of_tags(tags: Tags | tuple[Tags, Tags] | None) -> tuple[Tags, Tags] | None:
    return (tags, tags) if isinstance(tags, Tags) else tags


def _check_embeddings(a: Tensor, b: Tensor, scale: Tensor) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"embeddings must be [R, D] and [K, D], got {[*a.shape]} and {[*b.shape]}")
    if scale.ndim != 0:
        raise ValueError(f"logit_scale must be a 0-d tensor, got shape {[*scale.shape]}")


def _check_names(form: str, exchange: str) -> None:
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}: choose one of {', '.join(FORMS)}")
    if exchange not in EXCHANGES:
        raise ValueError(f"unknown exchange {exchange!r}: choose one of {', '.join(EXCHANGES)}")


def _check_tags(tags: tuple[Tags, Tags] | None, rows: int, columns: int) -> None:
    if tags is None:
        return
    if (len(tags[0]), len(tags[1])) != (rows, columns):
        raise ValueError(
            f"tags of {len(tags[0])} rows and {len(tags[1])} candidates for {rows} and {columns}"
        )
    if tags[0].rules != tags[1].rules:
        raise ValueError("tags of rows and of candidates must have the same rules")


def _check(tensor: Tensor | None, name: str, shape: tuple[int, ...]) -> None:
    """ValueError unless the tensor is absent or has the shape; -1 stands for any length."""
    if tensor is None:
        return
    fits = tensor.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, tensor.shape))
    if not fits:
        wanted = ", ".join("*" if length < 0 else str(length) for length in shape)
        raise ValueError(f"{name} must have shape [{wanted}], got {[*tensor.shape]}")
