"""The search for positives: the back ends against each other.

fp32. Example: python kernels/benchmarks/mine.py --sizes 107134 --depths 512 --ways chunked
"""

from __future__ import annotations

from collections.abc import Sequence

import harness
import torch
from torch import Tensor
from torch.nn import functional as F

from mien_kernels import Tags, mine
from mien_kernels.backends import interpreted

CUDA = torch.cuda.is_available()
FUSED = CUDA or interpreted()
WAYS = ("dense", "chunked", *(("triton",) if FUSED else ()))


def build(way: str, size: int, depth: int) -> harness.Call:
    """Positives by consensus, as the recipes mine them."""
    generator = torch.Generator().manual_seed(0)
    # a few hundred expressions, so that there is something to find
    centres = torch.randn(300, depth, generator=generator)
    which = torch.randint(300, (size,), generator=generator)
    image, text = (
        F.normalize(centres[which] + 2 * torch.randn(size, depth, generator=generator), dim=1).to(
            harness.device()
        )
        for _ in range(2)
    )
    tags = Tags.any((torch.arange(size) // 4).to(image.device))

    def search(backend: str, dtype: torch.dtype) -> Sequence[Tensor]:
        found = mine(image.to(dtype), text.to(dtype), tags=tags, backend=backend)
        return found.ab.weights, (found.ab.indices >= 0).sum(1)

    return harness.Call(lambda: search(way, torch.float32), lambda: search("chunked", torch.float64))


if __name__ == "__main__":
    harness.main(
        build, WAYS, lambda way, size, depth: way != "dense" or size <= 16384, stem="mine", peer="dense",
        flops=lambda n, d: 4.0 * n * n * d, sizes=[1024, 4096, 16384], depths=(512,), doc=__doc__,
    )  # fmt: skip
