"""Patch grouping, forward and backward, for 4 sentences an image and 49 patches: the back ends.

`size` is the number of images. Example: python kernels/benchmarks/group_patches.py --sizes 256 1024
"""

from __future__ import annotations

from collections.abc import Sequence

import harness
import torch
from torch import Tensor
from torch.nn import functional as F

from mien_kernels import group_patches
from mien_kernels.backends import interpreted

CUDA = torch.cuda.is_available()
FUSED = CUDA or interpreted()
WAYS = ("dense", "chunked", *(("triton",) if FUSED else ()))
SENTENCES, PATCHES = 4, 49


def build(way: str, size: int, depth: int) -> harness.Call:
    """Pooled patches and their gradient."""
    generator = torch.Generator().manual_seed(0)
    patches = F.normalize(torch.randn(size, PATCHES, depth, generator=generator), dim=2).to(harness.device())
    text = F.normalize(torch.randn(size * SENTENCES, depth, generator=generator), dim=1).to(harness.device())
    direction = torch.randn(size * SENTENCES, depth, generator=generator).to(harness.device())
    owner = torch.arange(size, device=harness.device()).repeat_interleave(SENTENCES)
    leaf = patches.requires_grad_()

    def pool(x: Tensor, backend: str) -> Sequence[Tensor]:
        pooled = group_patches(x, text.to(x.dtype), owner, backend=backend)
        return pooled.detach(), torch.autograd.grad(pooled, x, direction.to(x.dtype))[0]

    def exact() -> Sequence[Tensor]:
        return pool(leaf.detach().double().requires_grad_(), "dense")

    return harness.Call(lambda: pool(leaf, way), exact)


if __name__ == "__main__":
    harness.main(
        build, WAYS, lambda way, size, depth: True, stem="group_patches", peer="dense", flops=None,
        sizes=[64, 256, 1024], depths=(512,), doc=__doc__,
    )  # fmt: skip
