"""The three products of patch grouping, some images at a time (see `mien_kernels.grouping`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..blocks import blocks


def dots(patches: Tensor, vectors: Tensor, owner: Tensor) -> Tensor:
    """Products of each vector [T, D] with the patches [B, P, D] of its owner, [T, P]."""
    dtype = torch.promote_types(torch.promote_types(patches.dtype, vectors.dtype), torch.float32)
    result = torch.empty(len(owner), patches.shape[1], dtype=dtype, device=patches.device)
    for group in _groups(owner, patches[0].numel()):
        products = group.padded(vectors, dtype) @ patches[group.images].to(dtype).mT
        result[group.sentences] = products[group.image, group.place]
    return result


def pool(patches: Tensor, weight: Tensor, owner: Tensor) -> Tensor:
    """Sums of the owner's patches by weight [T, P], [T, D]."""
    result = torch.empty(len(owner), patches.shape[2], dtype=weight.dtype, device=patches.device)
    for group in _groups(owner, patches[0].numel()):
        sums = group.padded(weight, weight.dtype) @ patches[group.images].to(weight.dtype)
        result[group.sentences] = sums[group.image, group.place]
    return result


def spread(pairs: Sequence[tuple[Tensor, Tensor]], owner: Tensor, count: int) -> Tensor:
    """Sums over the sentences of each image of weight [T, P] x vector [T, D], [count, P, D], in order."""
    weight, vector = pairs[0]
    result = torch.zeros(count, weight.shape[1], vector.shape[1], dtype=weight.dtype, device=weight.device)
    for group in _groups(owner, result[0].numel()):
        weights = torch.cat([group.padded(weight, result.dtype) for weight, _ in pairs], 1)
        vectors = torch.cat([group.padded(vector, result.dtype) for _, vector in pairs], 1)
        result[group.images] += weights.mT @ vectors
    return result


class _Group(NamedTuple):
    """Some images, and up to ``width`` sentences of each."""

    sentences: Tensor
    """Their numbers, int64 [t]."""
    images: Tensor
    """Numbers of the images, int64 [b]."""
    image: Tensor
    """Of each sentence: which of these images, int64 [t]."""
    place: Tensor
    """Of each sentence: where among those of its image, int64 [t] < width."""
    width: int

    def padded(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """Rows of the sentences, [b, width, ...], zero where an image has fewer."""
        shape = (len(self.images), self.width, *rows.shape[1:])
        result = torch.zeros(shape, dtype=dtype, device=rows.device)
        result[self.image, self.place] = rows[self.sentences].to(dtype)
        return result


def _groups(owner: Tensor, numbers: int) -> Iterator[_Group]:
    """All sentences, in groups of bounded memory; ``numbers`` are those of an image's patches.

    Images with many more sentences than the mean come again in later groups, so that padding stays below the
    sentences themselves.
    """
    if not len(owner):
        return
    order = owner.argsort(stable=True)
    images, counts = owner[order].unique_consecutive(return_counts=True)
    image = torch.arange(len(images), device=owner.device).repeat_interleave(counts)
    place = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[image]
    width = -(-2 * len(owner) // len(images))
    width = min(width, int(counts.max()))
    for first in range(0, int(counts.max()), width):
        for part in blocks(len(images), numbers):
            some = (place >= first) & (place < first + width) & (image >= part.start) & (image < part.stop)
            yield _Group(order[some], images[part], image[some] - part.start, place[some] - first, width)
