"""Contrast with soft positives, exclusions, exact gradients across ranks (EmoCapCLIP spec 3, 7)."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor

from .backends import DENSE_PAIRS, choose_backend
from .checks import check_embeddings, check_names, check_shape, check_tags
from .exchange import gather
from .prepare import (
    Targets,
    beyond_rank,
    cleared,
    make_side,
    mean_normaliser,
    normaliser,
    pair_of_tags,
    promote,
)
from .ring import ring_sum, ring_symmetric_sum
from .sums import contrast_sum, symmetric_sum
from .tags import Tags


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
    logit_bias: Tensor | None = None,
    process_group: dist.ProcessGroup | None = None,
    exchange: str = "gather",
    backend: str = "auto",
) -> Tensor:
    """Weighted mean over rows of the contrast of each anchor with the candidates, a 0-d fp32 (fp64) tensor.

    With z_ij = logit_scale a_i.c_j, positives Y_ij >= 0, y_i = sum_j Y_ij and the normaliser
    LSE_i = log sum_{j in V(i)} exp z_ij, the loss is sum_i w_i l_i / sum_i w_i where l_i is, by ``form``,

    - ``out``: y_i LSE_i - sum_j Y_ij z_ij;
    - ``in``: LSE_i - log sum_{j positive} exp z_ij (MIL-NCE);
    - ``dec``: sum_j Y_ij log(1 + exp(LSE_i without positives - z_ij));
    - ``sigmoid``: sum_j Y_ij log(1 + exp(-z_ij - b)) + sum_{j negative} log(1 + exp(z_ij + b)), b =
      logit_bias (SigLIP).

    V(i) holds the valid candidates that no tag and no ``ignore`` entry excludes, and all positives. A row
    without positives or, for ``dec``, without negatives has loss and gradient 0; so has everything if sum_i
    w_i = 0.

    anchors [R, D], candidates [K, D]: fp16, bf16, fp32 or fp64, usually unit rows; products, sums and the
    loss are fp32 (fp64 if an input is). logit_scale: 0-d, the multiplier itself, not its logarithm.
    logit_bias: 0-d, of ``sigmoid`` only.
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
    check_embeddings(anchors, candidates, logit_scale)
    check_names(form, exchange, logit_bias)
    rows, columns = len(anchors), len(candidates)
    if targets is None and rows != columns:
        raise ValueError(
            f"{rows} anchors and {columns} candidates need targets: without, row i goes with candidate i"
        )
    pair = pair_of_tags(tags)
    check_shape(row_weight, "row_weight", (rows,))
    check_shape(candidate_valid, "candidate_valid", (columns,))
    check_tags(pair, rows, columns)
    world = 1 if process_group is None else dist.get_world_size(process_group)
    name = _back_end(backend, anchors, rows * columns * world, exchange, process_group)
    anchors, candidates, scale, bias = promote(anchors, candidates, logit_scale, logit_bias)
    side = make_side(rows, targets, row_weight, ignore, form, bias)
    side = replace(side, valid=candidate_valid, tags=pair)
    anchors = cleared(anchors, None if side.row_weight is None else side.row_weight > 0)
    candidates = cleared(candidates, side.valid)
    with torch.autocast(anchors.device.type, enabled=False):
        if process_group is None:
            return contrast_sum(anchors, candidates, scale, side, name) / normaliser(side.row_weight, rows)
        side = beyond_rank(side, columns, process_group)
        if exchange == "ring":
            total = ring_sum(anchors, candidates, scale, side, name, process_group)
        else:
            total = contrast_sum(anchors, gather(candidates, process_group), scale, side, name)
        return total / mean_normaliser(side.row_weight, rows, process_group)


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
    logit_bias: Tensor | None = None,
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
    check_embeddings(a, b, logit_scale)
    check_names(form, exchange, logit_bias)
    rows = len(a)
    if len(b) != rows:
        raise ValueError(f"a and b must have the same number of rows, got {rows} and {len(b)}")
    check_shape(row_weight, "row_weight", (rows,))
    pair = pair_of_tags(tags)
    check_tags(pair, rows, rows)
    ignore_ab, ignore_ba = ignore if isinstance(ignore, tuple) else (ignore, ignore)
    world = 1 if process_group is None else dist.get_world_size(process_group)
    name = _back_end(backend, a, rows * rows * world, exchange, process_group)
    a, b, scale, bias = promote(a, b, logit_scale, logit_bias)
    valid = None if row_weight is None else row_weight > 0
    ab, ba = (
        replace(make_side(rows, lists, row_weight, left, form, bias), valid=valid, tags=pair)
        for lists, left in ((targets_ab, ignore_ab), (targets_ba, ignore_ba))
    )
    a, b = cleared(a, valid), cleared(b, valid)
    with torch.autocast(a.device.type, enabled=False):
        if process_group is None:
            return symmetric_sum(a, b, scale, ab, ba, name) / (2 * normaliser(ab.row_weight, rows))
        ab = beyond_rank(ab, rows, process_group)
        ba = replace(ba, offset=ab.offset, valid=ab.valid, tags=ab.tags)
        if exchange == "ring":
            total = ring_symmetric_sum(a, b, scale, ab, ba, name, process_group)
        else:
            all_a, all_b = gather(torch.cat([a, b], 1), process_group).split(a.shape[1], 1)
            total = contrast_sum(a, all_b, scale, ab, name) + contrast_sum(b, all_a, scale, ba, name)
        return total / (2 * mean_normaliser(ab.row_weight, rows, process_group))


def _back_end(backend: str, a: Tensor, pairs: int, exchange: str, group: dist.ProcessGroup | None) -> str:
    if group is None or exchange != "ring":
        return choose_backend("contrast", backend, device=a.device, dtype=a.dtype, pairs=pairs)
    if backend == "dense":
        raise ValueError("exchange 'ring' works tile by tile: choose back end auto, chunked or triton")
    many = DENSE_PAIRS + 1
    return choose_backend("contrast", backend, device=a.device, dtype=a.dtype, pairs=many)
