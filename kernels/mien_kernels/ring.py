"""The contrast across ranks in a ring: no rank ever holds more than two shards of candidates (spec 7.8).

Anchors stay where they are. Candidates go round, one rank a step; the next shard arrives while this one is
computed with. Sums over columns, and in the backward pass the gradient of a shard, follow their shard and are
home after the last step. After Inf-CL (arXiv 2410.17243), with masks, soft positives and both directions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _resolve_process_group

from .backends import load_backend
from .exchange import gather_rows
from .forms import positives
from .listed import listed_dots, listed_gradients
from .masks import SCHEMA, VOID, Masks
from .saved import restore, save
from .side import Side
from .sums import diagonal, shared_masks, skipped, weighted


def ring_sum(
    a: Tensor, c: Tensor, scale: Tensor, side: Side, backend: str, group: dist.ProcessGroup
) -> Tensor:
    """Sum over this rank's rows of w_i l_i, 0-d: a [R, D] against the candidates of all ranks, here c [K, D].

    Indices, tags and validity in ``side`` are those of all candidates, in rank order.
    """
    indices, weights = positives(side, len(a), a.device)
    masks = Masks(**shared_masks(side), skip=skipped(side, indices), diagonal=diagonal(side))
    lists = _Lists(None if side.plain else indices, None)
    negative, _, dots, _ = _ring(a, c, scale, side.bias, masks, lists, False, backend, group)
    z = scale * (_own_dots(a, c, indices, side.offset, backend) if side.plain else dots)
    return weighted(side, negative, z, indices, weights)


def ring_symmetric_sum(
    a: Tensor, b: Tensor, scale: Tensor, ab: Side, ba: Side, backend: str, group: dist.ProcessGroup
) -> Tensor:
    """Sum of both directions over this rank's rows of a and b, [B, D] each; each tile of logits, of all
    ranks together, serves both."""
    if ab.form == "sigmoid":
        if ab.plain and ba.plain:
            return 2 * ring_sum(a, b, scale, ab, backend, group)
        forth = ring_sum(a, b, scale, ab, backend, group)
        return forth + ring_sum(b, a, scale, ba, backend, group)
    there, back = positives(ab, len(a), a.device), positives(ba, len(b), a.device)
    plain = ab.plain and ba.plain
    masks = Masks(
        **shared_masks(ab), skip=None if plain else skipped(ab, there[0], True),
        skip_t=None if plain else skipped(ba, back[0], True), diagonal=diagonal(ab) if plain else None,
    )  # fmt: skip
    lists = _Lists(None, None) if plain else _Lists(there[0], back[0])
    by_row, by_column, dots, dots_t = _ring(a, b, scale, None, masks, lists, True, backend, group)
    if plain:
        dots = dots_t = _own_dots(a, b, there[0], ab.offset, backend)
    return weighted(ab, by_row, scale * dots, *there) + weighted(ba, by_column, scale * dots_t, *back)


def _own_dots(a: Tensor, c: Tensor, indices: Tensor, offset: int, backend: str) -> Tensor:
    """Products of rows with this rank's own candidates."""
    return listed_dots(a, c, torch.where(indices >= 0, indices - offset, -1), backend)


class _Lists(NamedTuple):
    rows: Tensor | None
    """int64 [R, P]: candidates, of all ranks, whose products with a row are wanted."""
    columns: Tensor | None
    """int64 [K, Q]: rows, of all ranks, whose products with a column are wanted."""


def _ring(
    a: Tensor, c: Tensor, scale: Tensor, bias: Tensor | None, masks: Masks, lists: _Lists, both: bool,
    backend: str, group: dist.ProcessGroup,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Sums over negatives of rows and columns, and listed products of rows and columns."""
    rest = (*masks.pack(), *lists, both, backend, group.group_name)
    return torch.ops.mien_kernels.ring(a, c, scale, bias, *rest)


_TAIL = (
    f"Tensor a, Tensor c, Tensor scale, Tensor? bias, {SCHEMA}, Tensor? rows, Tensor? columns, bool both, "
    "str backend, str group"
)


@torch.library.custom_op(
    "mien_kernels::ring", mutates_args=(), schema=f"({_TAIL}) -> (Tensor, Tensor, Tensor, Tensor)"
)
def _forward(
    a: Tensor, c: Tensor, scale: Tensor, bias: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    masks, lists, both, backend, group = _unpack(rest)
    view = _View(a, c, masks, lists, group)
    ops = load_backend("negatives", backend)
    dots = a.new_zeros((len(a), 0) if lists.rows is None else lists.rows.shape, dtype=scale.dtype)
    by_row = dots.new_full((len(a),), 0.0 if bias is not None else VOID)
    wanted = 0 if lists.columns is None else lists.columns.shape[1]
    # a column's log-sum-exp and its listed products
    travelling = dots.new_zeros(len(c), 1 + wanted)
    travelling[:, 0] = VOID
    shard = c.contiguous()
    for step in range(view.world):
        part = view.part(step)
        coming = _Passing(shard, group) if step + 1 < view.world else None
        rows, columns = ops.forward(a, shard, scale, bias, part.masks, both)
        by_row = by_row + rows if bias is not None else torch.logaddexp(by_row, rows)
        if part.rows is not None:
            dots += listed_dots(a, shard, part.rows, backend)
        if part.columns is not None:
            travelling[:, 1:] += listed_dots(shard, a, part.columns, backend)
        if both:
            travelling[:, 0] = torch.logaddexp(travelling[:, 0], columns)
            travelling = _Passing(travelling, group).arrived()
        shard = shard if coming is None else coming.arrived()
    by_column = travelling[:, 0].clone() if both else dots.new_empty(0)
    return by_row, by_column, dots, travelling[:, 1:].clone()


@_forward.register_fake
def _(a: Tensor, c: Tensor, scale: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Tensor, ...]:
    rows, columns, both = rest[-5:-2]
    empty = lambda *shape: a.new_empty(shape, dtype=scale.dtype)  # noqa: E731
    widths = [0 if lists is None else lists.shape[1] for lists in (rows, columns)]
    by_column = empty(c.shape[0] if both else 0)
    return empty(a.shape[0]), by_column, empty(a.shape[0], widths[0]), empty(c.shape[0], widths[1])


@torch.library.custom_op(
    "mien_kernels::ring_backward",
    mutates_args=(),
    schema="(Tensor grad_row, Tensor grad_column, Tensor grad_dots, Tensor grad_dots_t, Tensor by_row, "
    f"Tensor by_column, {_TAIL}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _backward(
    grad_row: Tensor, grad_column: Tensor, grad_dots: Tensor, grad_dots_t: Tensor, by_row: Tensor,
    by_column: Tensor, a: Tensor, c: Tensor, scale: Tensor, bias: Tensor | None, *rest: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    masks, lists, both, backend, group = _unpack(rest)
    view = _View(a, c, masks, lists, group)
    ops = load_backend("negatives", backend)
    da = torch.zeros(a.shape, dtype=scale.dtype, device=a.device)
    dc = torch.zeros(c.shape, dtype=scale.dtype, device=c.device)
    dscale, dbias = torch.zeros_like(scale), torch.zeros_like(scale)
    # what columns of other ranks need: [W K, 2 + Q] numbers
    columns = torch.cat([by_column[:, None], grad_column[:, None], grad_dots_t], 1) if both else None
    everyone = None if columns is None else gather_rows(columns, group)
    shard = c.contiguous()
    for step in range(view.world):
        part = view.part(step)
        coming = _Passing(shard, group) if step + 1 < view.world else None
        value, v, g_t = by_column, grad_column, grad_dots_t
        if everyone is not None:
            value, v, g_t = everyone[part.here].tensor_split([1, 2], dim=1)
            value, v = value.flatten().contiguous(), v.flatten().contiguous()
        grads = ops.backward(grad_row, v, by_row, value, a, shard, scale, bias, part.masks, both)
        _add((da, dc, dscale, dbias), grads)
        if part.rows is not None:
            _add((da, dc), listed_gradients(grad_dots, a, shard, part.rows, backend))
        if part.columns is not None:
            _add((dc, da), listed_gradients(g_t, shard, a, part.columns, backend))
        dc = _Passing(dc, group).arrived()
        shard = shard if coming is None else coming.arrived()
    return da.to(a.dtype), dc.to(c.dtype), dscale, dbias


@_backward.register_fake
def _(*tensors: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    a, c, scale = tensors[6:9]
    empty = torch.empty_like
    return empty(a), empty(c), empty(scale), empty(scale)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    save(ctx, inputs, output[:2])


def _differentiate(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
    sums, inputs = restore(ctx)
    da, dc, dscale, dbias = torch.ops.mien_kernels.ring_backward(*gradients, *sums, *inputs)
    return da, dc, dscale, None if inputs[3] is None else dbias, *[None] * (len(inputs) - 4)


_forward.register_autograd(_differentiate, setup_context=_save)


def _unpack(rest: Any) -> tuple[Masks, _Lists, bool, str, dist.ProcessGroup]:
    *packed, rows, columns, both, backend, name = rest
    return Masks.unpack(packed), _Lists(rows, columns), both, backend, _resolve_process_group(name)


def _add(totals: tuple[Tensor, ...], more: tuple[Tensor, ...]) -> None:
    for total, part in zip(totals, more, strict=True):
        total += part


class _Part(NamedTuple):
    """What a rank knows of the shard that it holds at a step; indices count from the shard's first column and
    from the rank's first row."""

    here: slice
    """Where its columns lie among those of all ranks."""
    masks: Masks
    rows: Tensor | None
    columns: Tensor | None


class _View:
    def __init__(self, a: Tensor, c: Tensor, masks: Masks, lists: _Lists, group: dist.ProcessGroup) -> None:
        self.world, self.rank = dist.get_world_size(group), dist.get_rank(group)
        self.high, self.wide = len(a), len(c)
        everyone = lambda part: None if part is None else gather_rows(part, group)  # noqa: E731
        first = self.rank * self.high
        skip_t = everyone(masks.skip_t)
        self.masks = replace(masks, skip_t=None if skip_t is None else skip_t - first)
        self.rows = lists.rows
        columns = everyone(lists.columns)
        self.columns = None if columns is None else _within(columns, first, self.high)

    def part(self, step: int) -> _Part:
        """Step 0 is a rank's own shard, step t that of the rank t before."""
        first = (self.rank - step) % self.world * self.wide
        here = slice(first, first + self.wide)
        return _Part(
            here,
            self.masks.tile(slice(0, self.high), here),
            None if self.rows is None else _within(self.rows, first, self.wide),
            None if self.columns is None else self.columns[here],
        )


def _within(indices: Tensor, first: int, count: int) -> Tensor:
    """Indices counted from ``first``; -1 where they name none of the ``count`` from there on."""
    moved = indices - first
    return moved.masked_fill((indices < 0) | (moved < 0) | (moved >= count), -1)


class _Passing:
    """A tensor on its way to the next rank, and the one that comes from the rank before."""

    def __init__(self, tensor: Tensor, group: dist.ProcessGroup) -> None:
        world, rank = dist.get_world_size(group), dist.get_rank(group)
        self.tensor, self.coming, self.works = tensor, tensor, []
        if world == 1:
            return
        self.coming = torch.empty_like(tensor)
        after, before = (dist.get_global_rank(group, (rank + way) % world) for way in (1, -1))
        operations = [
            dist.P2POp(dist.isend, tensor, after, group),
            dist.P2POp(dist.irecv, self.coming, before, group),
        ]
        self.works = dist.batch_isend_irecv(operations)

    def arrived(self) -> Tensor:
        """What came; waits for both ways."""
        for work in self.works:
            work.wait()
        return self.coming
