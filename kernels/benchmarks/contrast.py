"""CLIP's loss, forward and backward: the back ends against plain autograd, open_clip and Inf-CL.

fp32 on a CPU, bf16 on a GPU. Example: python kernels/benchmarks/contrast.py --sizes 4096 16384 --depths 512
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import harness
import torch
from open_clip.loss import ClipLoss
from torch import Tensor
from torch.nn import functional as F

from mien_kernels import symmetric_contrast
from mien_kernels.backends import interpreted

SCALE = 50.0
CUDA = torch.cuda.is_available()
FUSED = CUDA or interpreted()
WAYS = ("open_clip", "autograd", "dense", "chunked", *(("triton",) if FUSED else ()))
if CUDA and importlib.util.find_spec("inf_cl"):
    WAYS = (*WAYS, "inf_cl")


def embeddings(size: int, depth: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit rows of pairs that resemble each other, as in training, and the scale; all need gradients."""
    where = harness.device()
    generator = torch.Generator(where).manual_seed(0)
    a, noise = (
        F.normalize(torch.randn(size, depth, generator=generator, device=where), dim=1) for _ in range(2)
    )
    b = F.normalize(a + 4 * noise, dim=1)
    dtype = torch.bfloat16 if CUDA else torch.float32
    a, b = (x.to(dtype).requires_grad_() for x in (a, b))
    return a, b, torch.tensor(SCALE, device=harness.device(), requires_grad=True)


def autograd(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """What people write first."""
    logits = scale * a.float() @ b.float().T
    own = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def loss_of(way: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The loss in one of `WAYS`."""
    if way == "autograd":
        return autograd
    if way == "open_clip":
        loss = ClipLoss()
        return lambda a, b, s: loss(a, b, s.to(a.dtype))
    if way == "inf_cl":
        from inf_cl import cal_flash_loss  # what its ring runs on one card; one direction

        return lambda a, b, s: (
            (cal_flash_loss(a, b, scale=s).mean() + cal_flash_loss(b, a, scale=s).mean()) / 2
        )
    return lambda a, b, s: symmetric_contrast(a, b, s, backend=way)


def build(way: str, size: int, depth: int) -> harness.Call:
    """Loss and gradients of `way`."""
    leaves, loss = embeddings(size, depth), loss_of(way)

    def run() -> Sequence[Tensor]:
        value = loss(*leaves)
        return value.detach(), *torch.autograd.grad(value, leaves)

    def exact() -> Sequence[Tensor]:
        doubles = [leaf.detach().double().requires_grad_() for leaf in leaves]
        value = symmetric_contrast(*doubles, backend="chunked")
        return value.detach(), *torch.autograd.grad(value, doubles)

    return harness.Call(run, exact)


def fits(way: str, size: int, depth: int) -> bool:
    """Whether the logits of a way have room: whole matrices take some 20 bytes a pair."""
    room = torch.cuda.mem_get_info()[0] if CUDA else 8e9
    if way in ("chunked", "inf_cl"):
        return size <= (131072 if CUDA else 65536)  # minutes beyond
    return way == "triton" or 20 * size**2 < room


if __name__ == "__main__":
    harness.main(
        build, WAYS, fits, stem="contrast", peer="open_clip", flops=lambda n, d: 8.0 * n * n * d,
        sizes=[1 << k for k in range(10, 19 if CUDA else 17)], depths=(512, 768), doc=__doc__,
    )  # fmt: skip
