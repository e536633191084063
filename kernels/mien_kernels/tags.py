"""Integer tags that say which pairs are neither positive nor negative (EmoCapCLIP spec 4, 7.7, 7.12)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tags:
    """Tags of N rows and the rules by which two rows match; a matching pair is left out of the normaliser.

    Rows i and j match if, for at least one rule, *every* key of the rule is equal in both and not negative
    (a negative key means "has no such tag" and never matches). A pair that is a positive stays in.

    ``Tags.any(uid, group)`` leaves out pairs of equal uid or equal group: the global levels.
    ``Tags.all(uid, region)`` leaves out pairs of equal uid *and* region, so that another region of the same
    image stays a negative: the local level. ``Tags.all(uid, region) | Tags.any(text)`` joins both.
    """

    keys: Tensor
    """int64 [N, T]: the tags of each row."""
    rules: tuple[tuple[int, ...], ...]
    """Columns of ``keys``; the keys of one rule are joined by AND, the rules by OR."""

    @classmethod
    def any(cls, *keys: Tensor) -> Tags:
        """Match where one of the keys, int [N] each, is equal."""
        return cls(_stack(keys), tuple((column,) for column in range(len(keys))))

    @classmethod
    def all(cls, *keys: Tensor) -> Tags:
        """Match where all of the keys, int [N] each, are equal."""
        return cls(_stack(keys), (tuple(range(len(keys))),))

    def __or__(self, other: Tags) -> Tags:
        """Match where either side matches; ValueError if the two differ in N."""
        if len(self) != len(other):
            raise ValueError(f"cannot join the tags of {len(self)} rows with the tags of {len(other)} rows")
        shift = self.keys.shape[1]
        shifted = tuple(tuple(column + shift for column in rule) for rule in other.rules)
        return Tags(torch.cat([self.keys, other.keys], 1), self.rules + shifted)

    def __len__(self) -> int:
        return self.keys.shape[0]

    def __getitem__(self, rows: slice) -> Tags:
        """Give the tags of some rows."""
        return Tags(self.keys[rows], self.rules)

    def matches(self, columns: Tags) -> Tensor:
        """Bool [R, K]: which of these R rows match which of the K rows of ``columns`` (rules of ``self``)."""
        equal = [
            (mine[:, None] == theirs[None, :]) & (mine >= 0)[:, None]
            for mine, theirs in zip(self.keys.unbind(1), columns.keys.unbind(1))
        ]
        result = torch.zeros(len(self), len(columns), dtype=torch.bool, device=self.keys.device)
        for rule in self.rules:
            both = equal[rule[0]]
            for column in rule[1:]:
                both = both & equal[column]
            result |= both
        return result


def _stack(keys: tuple[Tensor, ...]) -> Tensor:
    if not keys:
        raise ValueError("Tags needs at least one key")
    for key in keys:
        if key.ndim != 1 or key.dtype.is_floating_point or len(key) != len(keys[0]):
            raise ValueError(
                "every tag must be an int [N] of one N, got "
                + ", ".join(f"{k.dtype} {[*k.shape]}" for k in keys)
            )
    return torch.stack([key.long() for key in keys], 1)
