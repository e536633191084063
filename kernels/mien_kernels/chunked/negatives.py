"""Sums over negatives tile by tile, and their gradients by hand (EmoCapCLIP spec 7.2-7.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..masks import VOID, Masks, listed

_SAFE = 60.0  # e^60 times the smallest normal fp32 is still far below rounding
_FAINT = 1e-25  # a column sum below this may have lost terms to underflow


def forward(
    a: Tensor, c: Tensor, scale: Tensor, bias: Tensor | None, masks: Masks, both: bool,
    tile: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Sums of rows [R] and, if ``both``, of columns [K] (else [0]): see the op ``negatives``."""
    if bias is not None:
        sums = torch.zeros(len(a), dtype=scale.dtype, device=a.device)
        for part in _tiles(a, c, scale, masks, tile):
            z = _without(part.z.add_(bias), part.masks, part.masks.skip)
            sums[part.rows] += torch.logaddexp(z, z.new_zeros(()), out=z).sum(1)
        return sums, sums.new_empty(0)
    by_row = _Running(len(a), scale.dtype, a.device)
    by_column = _Running(len(c) if both else 0, scale.dtype, a.device)
    for part in _tiles(a, c, scale, masks, tile):
        if both and masks.alike:
            _add_both(by_row, by_column, part)
        elif both:
            by_row.add(part.rows, _without(part.z.clone(), part.masks, part.masks.skip))
            by_column.add(part.columns, _without(part.z, part.masks, part.masks.skip_t, True).T)
        else:
            by_row.add(part.rows, _without(part.z, part.masks, part.masks.skip))
    return by_row.value(), by_column.value()


def backward(
    grad_row: Tensor, grad_column: Tensor, by_row: Tensor, by_column: Tensor, a: Tensor, c: Tensor,
    scale: Tensor, bias: Tensor | None, masks: Masks, both: bool, tile: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of a, c, scale and bias, given those of the sums, in the dtype of the sums.

    The gradient of the logits is G_ij = u_i e^(z_ij - row_i) + v_j e^(z_ij - column_j), or u_i sigmoid(z_ij +
    bias) with a bias. It exists one tile at a time.
    """
    exact = scale.dtype
    da, dc = (torch.zeros(x.shape, dtype=exact, device=x.device) for x in (a, c))
    dbias = torch.zeros((), dtype=exact, device=a.device)
    u, v = grad_row.to(exact), grad_column.to(exact)
    for part in _tiles(a, c, scale, masks, tile):
        rows, columns, z = part.rows, part.columns, part.z
        if bias is not None:
            g = _without(z.add_(bias), part.masks, part.masks.skip).sigmoid_().mul_(u[rows, None])
            dbias += g.sum()
        elif both:
            g = _gradient(part, u[rows], v[columns], by_row[rows], by_column[columns])
        else:
            g = _without(z, part.masks, part.masks.skip).sub_(by_row[rows, None]).exp_().mul_(u[rows, None])
        da[rows].addmm_(g, part.right)
        dc[columns].addmm_(g.T, part.left)
    dscale = (a * da).sum()
    return da.mul_(scale), dc, dscale, dbias


class _Tile(NamedTuple):
    rows: slice
    columns: slice
    left: Tensor
    """scale times the rows of a."""
    right: Tensor
    z: Tensor
    """Logits; may be overwritten."""
    masks: Masks
    """Of this tile, its indices counted from its first row and column."""


def _tiles(
    a: Tensor, c: Tensor, scale: Tensor, masks: Masks, tile: tuple[int, int] | None
) -> Iterator[_Tile]:
    exact = scale.dtype
    high, wide = tile or _tile_size(a)
    scratch = torch.empty(high * wide, dtype=exact, device=a.device)
    for top in range(0, len(a), high):
        rows = slice(top, min(top + high, len(a)))
        left = a[rows].to(exact) * scale
        for first in range(0, len(c), wide):
            columns = slice(first, min(first + wide, len(c)))
            right = c[columns].to(exact)
            z = scratch[: len(left) * len(right)].view(len(left), len(right))
            torch.mm(left, right.T, out=z)
            yield _Tile(rows, columns, left, right, z, masks.tile(rows, columns))


def _tile_size(a: Tensor) -> tuple[int, int]:
    """Rows and columns of a tile: its logits stay in the cache of a CPU core, and keep a GPU busy."""
    return (1024, 1024) if a.device.type == "cpu" else (4096, 8192)


class _Running:
    """Log-sum-exp of rows whose columns come in parts."""

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.top = torch.full((size,), VOID, dtype=dtype, device=device)
        self.sum = torch.zeros(size, dtype=dtype, device=device)

    def add(self, rows: slice, z: Tensor) -> Tensor:
        """Add columns z [rows, columns]; overwrites z with e^(z - the new maximum), and returns it."""
        top = torch.maximum(self.top[rows], z.amax(1))
        e = z.sub_(top[:, None]).exp_()
        self.rescale(rows, top, e.sum(1))
        return e

    def rescale(self, rows: slice, top: Tensor, more: Tensor) -> None:
        """Add sums ``more``, relative to maxima ``top`` that are not below those before."""
        self.sum[rows] = self.sum[rows] * (self.top[rows] - top).exp() + more
        self.top[rows] = top

    def value(self) -> Tensor:
        return torch.where(self.sum > 0, self.top + self.sum.log(), VOID)


def _add_both(by_row: _Running, by_column: _Running, part: _Tile) -> None:
    """Add a tile to its rows and columns, with one exponential an entry where that is safe."""
    z = _without(part.z, part.masks, None)
    if z.device.type != "cpu":  # to ask whether it is safe would stop the queue
        by_column.add(part.columns, z.clone().T)
        by_row.add(part.rows, z)
        return
    e = by_row.add(part.rows, z)
    top = by_row.top[part.rows]
    highest = top.max()
    sums = e.T @ (top - highest).exp()
    if sums.min() > _FAINT:
        new = torch.maximum(by_column.top[part.columns], highest)
        by_column.rescale(part.columns, new, sums * (highest - new).exp())
    else:
        again = torch.mm(part.left, part.right.T, out=z)
        by_column.add(part.columns, _without(again, part.masks, None).T)


def _gradient(part: _Tile, u: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """G of a tile of both directions."""
    z, masks = part.z, part.masks
    if not masks.alike:
        down = _without(z.clone(), masks, masks.skip_t, True).sub_(by_column).exp_().mul_(v)
        return _without(z, masks, masks.skip).sub_(by_row[:, None]).exp_().mul_(u[:, None]).add_(down)
    z = _without(z, masks, None)
    if z.device.type == "cpu":
        middle = by_row.max()
        apart, across = (torch.where(x > VOID / 2, x - middle, 0) for x in (by_row, by_column))
        if apart.abs().max() + across.abs().max() < _SAFE:
            # e^(z - column) = e^(z - row) e^(row - column): one exponential an entry instead of two
            factors = torch.addr(u[:, None].expand_as(z), apart.exp(), v * (-across).exp())
            return z.sub_(by_row[:, None]).exp_().mul_(factors)
    down = (z - by_column).exp_().mul_(v)
    return z.sub_(by_row[:, None]).exp_().mul_(u[:, None]).add_(down)


def _without(z: Tensor, masks: Masks, lists: Tensor | None, columns: bool = False) -> Tensor:
    """Put -inf where a pair takes no part; ``lists`` are those of the rows, or of the columns."""
    left_out = masks.shared()
    if lists is not None:
        named = listed(lists, z.shape[0]).T if columns else listed(lists, z.shape[1])
        left_out = named if left_out is None else left_out | named
    if left_out is not None:
        z.masked_fill_(left_out, -torch.inf)
    if masks.diagonal is not None and -len(z) < masks.diagonal < z.shape[1]:
        z.diagonal(masks.diagonal).fill_(-torch.inf)
    return z
