"""Cross-modal guided positive mining (EmoCapCLIP spec 4, 7.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .backends import choose_backend, load_backend
from .query import Guide, Query
from .tags import Tags

RULES = ("consensus", "swap", "union", "text", "image", "cross")
"""What makes a pair positive (spec 4, R1-R4)."""

_IMAGE, _TEXT, _CROSS = 0, 1, 2  # rows of the statistics
_GUIDES = {  # rule -> guides of image rows, guides of text rows, how they combine
    "consensus": ((_TEXT, _IMAGE), (_TEXT, _IMAGE), "min"),
    "union": ((_TEXT, _IMAGE), (_TEXT, _IMAGE), "max"),
    "text": ((_TEXT,), (_TEXT,), "min"),
    "image": ((_IMAGE,), (_IMAGE,), "min"),
    "swap": ((_TEXT,), (_IMAGE,), "min"),
    "cross": ((_CROSS,), (_CROSS,), "min"),
}


class Lists(NamedTuple):
    """Mined lists of one direction."""

    indices: Tensor
    """int32 [R, K]: positives in falling order of agreement, -1 where there is none."""
    weights: Tensor
    """fp32 [R, K]: their softmax weights, sum 1 where there is a positive; 0 where there is none."""
    ignored: Tensor
    """int32 [R, I]: likely false negatives, disjoint from ``indices``, -1 where there is none."""

    def targets(self, share: float | Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """Soft targets (indices int32 [R, 1 + K], weights fp32 [R, 1 + K]) for ``contrast``.

        The own pair ``start + i`` keeps 1 - share, the positives divide ``share`` (0..1); a row without
        positives keeps 1. ``start``: the first of the searched rows (that of ``own_rows`` across ranks).
        """
        own = torch.arange(start, start + len(self.indices), device=self.indices.device, dtype=torch.int32)[
            :, None
        ]
        mined = share * self.weights
        return torch.cat([own, self.indices], 1), torch.cat([1 - mined.sum(1, keepdim=True), mined], 1)


@dataclass(frozen=True)
class Mined:
    """Result of ``mine``: one set of lists a direction (the same object where the rule has one only)."""

    ab: Lists
    """Image rows: positive texts."""
    ba: Lists
    """Text rows: positive images."""
    stats: Tensor
    """fp64 [3, 2]: mean, sd used for image-image, text-text and image-text similarities; NaN: unused."""


@torch.no_grad()
def mine(
    image: Tensor | None,
    text: Tensor | None,
    *,
    rule: str = "consensus",
    k: int = 4,
    ignore: int = 8,
    threshold: float = 1.5,
    ignore_threshold: float = 2.0,
    ignore_cosine: float | None = None,
    temperature: float = 0.5,
    tags: Tags | None = None,
    within: Tensor | None = None,
    valid: Tensor | None = None,
    stats: Tensor | None = None,
    momentum: float = 0.99,
    rows: slice | None = None,
    backend: str = "auto",
) -> Mined:
    """Find for each row other rows whose expression is alike, and rows that are too alike to be negatives.

    image, text: unit rows [N, D_image], [N, D_text] of the same N pairs; one that the rule does not read may
    be None. Everything is computed in fp32 (fp64 if given). Similarities are standardised, S~ = (S-mean)/sd.

    rule: ``consensus`` A = min(S~text, S~image); ``union`` their max; ``text``, ``image`` one of them;
    ``swap`` S~text for image rows, S~image for text rows; ``cross`` S~ between image and text rows (equal D).
    Positives of row i: the ``k`` highest A_ij >= threshold, ties by lower j, weights softmax(A/temperature).
    Ignored: the next ``ignore`` by S~text (by the rule's own similarity where it does not read text) that are
    not positives, with S~ >= ignore_threshold or, if ``ignore_cosine`` is given, with plain cosine >=
    ignore_cosine.
    Neither list ever holds the row itself, a row that ``tags`` match (leave these out by the tags of
    ``contrast``), a row of another class of ``within`` (int [N]), or a row that is not ``valid`` (bool [N])
    or not finite; such a row finds nothing itself.

    stats: what the last call returned, blended as momentum * stats + (1 - momentum) * now (NaN: not known
    yet). None: the statistics of these N rows, mean and sd over all pairs of two different usable rows.
    rows: search for these rows only. Each rank gathers image, text, tags and valid of all ranks and passes
    its ``own_rows``; the lists are those of one process up to the rounding of the products.

    Raises ValueError for shapes that do not fit and for unknown names.
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}: choose one of {', '.join(RULES)}")
    for_image, for_text, combine = _GUIDES[rule]
    image, text = _read(image, text, {*for_image, *for_text}, rule)
    usable = _usable(image, text, valid)
    _check_rows(tags, "tags", len(usable))
    _check_rows(within, "within", len(usable))
    sources = _sources(image, text, usable)
    used = _statistics(sources, {*for_image, *for_text}, usable, stats, momentum)

    def search(guides: tuple[int, ...], flip: bool) -> Lists:
        pairs = [sources[guide][::-1] if flip else sources[guide] for guide in guides]
        query = Query(
            guides=tuple(Guide(*pair, *used[guide].to(pair[0].dtype)) for pair, guide in zip(pairs, guides)),
            combine=combine,
            rows=slice(None) if rows is None else rows,
            usable=usable,
            tags=tags,
            within=within,
            k=k,
            threshold=threshold,
            temperature=temperature,
            ignore=ignore,
            ignore_threshold=ignore_threshold,
            ignore_cosine=ignore_cosine,
        )
        count = len(range(*query.rows.indices(len(usable))))
        x = pairs[0][0]
        name = choose_backend("mine", backend, device=x.device, dtype=x.dtype, pairs=count * len(usable))
        return Lists(*load_backend("mine", name).search(query))

    ab = search(for_image, flip=False)
    one_set = for_image == for_text and rule != "cross"
    return Mined(ab, ab if one_set else search(for_text, flip=True), used)


def _read(
    image: Tensor | None, text: Tensor | None, guides: set[int], rule: str
) -> tuple[Tensor | None, Tensor | None]:
    """Embeddings that the rule reads, in fp32 or fp64; the others become None."""
    needed = {"image": guides & {_IMAGE, _CROSS}, "text": guides & {_TEXT, _CROSS}}
    result: list[Tensor | None] = []
    for name, rows in (("image", image), ("text", text)):
        if not needed[name]:
            result.append(None)
            continue
        if rows is None or rows.ndim != 2:
            raise ValueError(f"rule {rule!r} needs {name} rows [N, D]")
        result.append(rows.detach().to(torch.promote_types(rows.dtype, torch.float32)))
    one, other = result
    if one is not None and other is not None:
        fits = one.shape == other.shape if _CROSS in guides else len(one) == len(other)
        if not fits:
            raise ValueError(f"image {[*one.shape]} and text {[*other.shape]} do not fit for rule {rule!r}")
    return one, other


def _usable(image: Tensor | None, text: Tensor | None, valid: Tensor | None) -> Tensor:
    """Bool [N]: valid rows whose embeddings are finite."""
    finite = [rows.isfinite().all(1) for rows in (image, text) if rows is not None]
    result = finite[0] if len(finite) == 1 else finite[0] & finite[1]
    _check_rows(valid, "valid", len(result))
    return result if valid is None else result & valid.bool()


def _sources(image: Tensor | None, text: Tensor | None, usable: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
    """Pairs of embeddings behind each similarity, unusable rows zeroed so that no NaN spreads."""
    image, text = (None if rows is None else rows.masked_fill(~usable[:, None], 0) for rows in (image, text))
    result = {}
    if image is not None:
        result[_IMAGE] = image, image
    if text is not None:
        result[_TEXT] = text, text
    if image is not None and text is not None:
        result[_CROSS] = image, text
    return result


def _statistics(
    sources: dict[int, tuple[Tensor, Tensor]],
    guides: set[int],
    usable: Tensor,
    before: Tensor | None,
    momentum: float,
) -> Tensor:
    """Fp64 [3, 2]: mean and sd of each similarity in use, blended with what was known before."""
    now = torch.full((3, 2), torch.nan, dtype=torch.float64, device=usable.device)
    for guide in guides:
        now[guide] = _pair_statistics(*sources[guide], usable.sum())
    if before is None:
        return now
    before = before.to(now)
    blended = torch.where(before.isnan(), now, momentum * before + (1 - momentum) * now)
    return torch.where(now.isnan(), before, blended)


def _pair_statistics(x: Tensor, y: Tensor, count: Tensor) -> Tensor:
    """Mean and sd of x_i.y_j over i != j among ``count`` rows (the others are zero); NaN below two rows.

    Needs min(N, D)^2 memory: the sum of squares of X Y^T is that of its Gram matrices, tr(X^T X Y^T Y). fp64,
    as the variance is a difference of large numbers when embeddings crowd together.
    """
    x, y = x.double(), y.double()
    own = (x * y).sum(1)
    total = x.sum(0) @ y.sum(0) - own.sum()
    if len(x) <= x.shape[1]:
        squares = (x @ y.T).square().sum()
    else:
        squares = ((x.T @ x) * (y.T @ y)).sum()
    pairs = count * (count - 1)
    mean = total / pairs
    variance = (squares - own.square().sum()) / pairs - mean.square()
    return torch.stack([mean, variance.clamp(min=0).sqrt()]).masked_fill(pairs == 0, torch.nan)


def _check_rows(value: Tensor | Tags | None, name: str, rows: int) -> None:
    if value is not None and len(value) != rows:
        raise ValueError(f"{name} must have {rows} rows, got {len(value)}")
