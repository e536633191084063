"""Which pairs are no negatives, in a shape that custom ops can pass and tiles can read (spec 7.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .tags import Tags

VOID = -1e30
"""Log-sum-exp of nothing: finite, so that what is computed from it stays finite."""

SCHEMA = (
    "Tensor? row_live, Tensor? column_live, Tensor? row_keys, Tensor? column_keys, int[] rules, "
    "Tensor? skip, Tensor? skip_t, int? diagonal"
)
"""The fields of ``Masks.pack`` in the schema of an op."""


@dataclass(frozen=True)
class Masks:
    """Pairs (row, column) of R x K that take no part; indices count from the first row and column here."""

    row_live: Tensor | None = None
    """bool [R]: other rows have no negatives."""
    column_live: Tensor | None = None
    """bool [K]: other columns are no negatives."""
    row_keys: Tensor | None = None
    """int64 [R, T]: see ``Tags``."""
    column_keys: Tensor | None = None
    """int64 [K, T]."""
    rules: tuple[tuple[int, ...], ...] = ()
    """Rules of both tags."""
    skip: Tensor | None = None
    """int32 [R, L]: columns left out of a row's sum; an index outside 0..K-1 names nothing."""
    skip_t: Tensor | None = None
    """int32 [K, L]: rows left out of a column's sum, where columns are summed too."""
    diagonal: int | None = None
    """Pair (i, i + diagonal) is left out of both sums."""

    @property
    def alike(self) -> bool:
        """True if rows and columns leave out the same pairs."""
        return self.skip is None and self.skip_t is None

    def pack(self) -> tuple[Any, ...]:
        """Arguments of an op, in the order of ``SCHEMA``; each rule is its length and its key columns."""
        flat = [number for rule in self.rules for number in (len(rule), *rule)]
        lists = (self.skip, self.skip_t, self.diagonal)
        return self.row_live, self.column_live, self.row_keys, self.column_keys, flat, *lists

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> Masks:
        """The inverse of ``pack``."""
        row_live, column_live, row_keys, column_keys, flat, skip, skip_t, diagonal = packed
        return cls(
            row_live, column_live, row_keys, column_keys, _rules(flat), skip, skip_t, diagonal
        )  # fmt: skip

    def moved(self, rows: int, columns: int) -> Masks:
        """Indices counted from a later row and column: ``rows``, ``columns`` >= 0 are subtracted."""
        return replace(
            self,
            skip=None if self.skip is None else self.skip - columns,
            skip_t=None if self.skip_t is None else self.skip_t - rows,
            diagonal=None if self.diagonal is None else self.diagonal + rows - columns,
        )

    def tile(self, rows: slice, columns: slice) -> Masks:
        """The masks of a part, its indices counted from its first row and column."""
        cut = lambda tensor, part: None if tensor is None else tensor[part]  # noqa: E731
        return Masks(
            cut(self.row_live, rows), cut(self.column_live, columns), cut(self.row_keys, rows),
            cut(self.column_keys, columns), self.rules, cut(self.skip, rows), cut(self.skip_t, columns),
            self.diagonal,
        ).moved(rows.start, columns.start)  # fmt: skip

    def shared(self) -> Tensor | None:
        """Bool [R, K] (broadcasts): pairs left out of rows and columns alike; the diagonal is not in it."""
        result = None if self.row_live is None else ~self.row_live[:, None]
        if self.column_live is not None:
            dead = ~self.column_live[None, :]
            result = dead if result is None else result | dead
        if self.row_keys is not None and self.column_keys is not None:
            same = Tags(self.row_keys, self.rules).matches(Tags(self.column_keys, self.rules))
            result = same if result is None else result | same
        return result


def listed(indices: Tensor, columns: int) -> Tensor:
    """Bool [R, columns]: pairs that the lists int [R, L] name; indices outside name nothing."""
    place = indices.long()
    place = place.masked_fill((place < 0) | (place >= columns), columns)
    # one more column takes what names nothing
    padded = torch.zeros(len(indices), columns + 1, dtype=torch.bool, device=indices.device)
    return padded.scatter_(1, place, True)[:, :columns]


def _rules(flat: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    rules, place = [], 0
    while place < len(flat):
        end = place + 1 + flat[place]
        rules.append(tuple(flat[place + 1 : end]))
        place = end
    return tuple(rules)
