"""The fused kernels on a real card, against float64 on whole matrices. Run: `pytest -m gpu tests/gpu`."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mien_kernels import Tags, contrast, group_patches, mine, symmetric_contrast

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
"""Of gradients, against their largest entry."""


def unit(rows, depth, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, depth, generator=generator), dim=1).to("cuda", dtype)


def with_gradients(function, *tensors):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    result = function(*leaves)
    return result.detach(), *torch.autograd.grad(result, leaves)


def options(rows, kind):
    generator = torch.Generator().manual_seed(7)
    if kind == "plain":
        return {}
    lists = lambda width: torch.randint(-1, rows, (rows, width), generator=generator).cuda()  # noqa: E731
    shares = torch.rand(rows, 5, generator=generator).cuda()
    return {
        "row_weight": (torch.rand(rows, generator=generator) > 0.1).float().cuda(),
        "tags": Tags.any(torch.arange(rows).cuda() // 2, torch.arange(rows).cuda() % 97),
        "targets_ab": (lists(5), shares), "targets_ba": (lists(5), shares), "ignore": (lists(8), lists(8)),
        "form": "dec" if kind == "dec" else "out",
    }  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["plain", "masked", "dec"])
@pytest.mark.parametrize(("rows", "depth"), [(129, 8), (1000, 512), (777, 768), (300, 1536)])
def test_contrast(rows, depth, kind, dtype):
    a, noise = unit(rows, depth, 0, dtype), unit(rows, depth, 1, dtype)
    b, scale = F.normalize(a.float() + 4 * noise.float(), dim=1).to(dtype), torch.tensor(30.0, device="cuda")
    more = options(rows, kind)
    got = with_gradients(lambda *x: symmetric_contrast(*x, **more, backend="triton"), a, b, scale)
    again = with_gradients(lambda *x: symmetric_contrast(*x, **more, backend="triton"), a, b, scale)
    want = with_gradients(
        lambda *x: symmetric_contrast(*x, **more, backend="dense"), a.double(), b.double(), scale.double()
    )
    assert all(torch.equal(one, other) for one, other in zip(got, again))
    torch.testing.assert_close(got[0].double(), want[0], rtol=1e-5, atol=1e-6)
    for one, other in zip(got[1:], want[1:]):
        assert (one.double() - other).abs().max() <= TOLERANCE[dtype] * other.abs().max()
    assert F.cosine_similarity(got[1].double().flatten(), want[1].flatten(), 0) > 0.9999


def test_sigmoid_and_one_direction():
    a, c = unit(500, 256, 0, torch.float32), unit(900, 256, 1, torch.float32)
    targets = torch.arange(500).cuda()[:, None], torch.ones(500, 1).cuda()
    scale, bias = torch.tensor(10.0, device="cuda"), torch.tensor(-8.0, device="cuda")

    def run(backend):
        return lambda a, c, s, b: contrast(
            a, c, s, targets=targets, form="sigmoid", logit_bias=b, backend=backend
        )

    got = with_gradients(run("triton"), a, c, scale, bias)
    want = with_gradients(run("dense"), *(x.double() for x in (a, c, scale, bias)))
    for one, other in zip(got, want):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rule", ["consensus", "swap", "union", "text", "image", "cross"])
def test_mining(rule):
    centres = unit(40, 128, 0, torch.float32)
    which = torch.arange(3000).cuda() % 40
    image, text = (
        F.normalize(centres[which] + unit(3000, 128, seed, torch.float32), dim=1) for seed in (1, 2)
    )
    tags = Tags.any(torch.arange(3000).cuda() // 3)
    got, want = (mine(image, text, rule=rule, tags=tags, backend=name) for name in ("triton", "chunked"))
    for one, other in zip((got.ab, got.ba), (want.ab, want.ba)):
        # products differ in their last digits, which exchanges near ties
        assert (one.indices == other.indices).float().mean() > 0.999
        assert (one.indices >= 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_grouping(dtype):
    patches = unit(50 * 49, 512, 0, dtype).reshape(50, 49, 512).requires_grad_()
    text, owner = unit(200, 512, 1, dtype), torch.arange(200).cuda() // 4
    direction = torch.randn(200, 512, device="cuda")
    got = group_patches(patches, text, owner, backend="triton")
    exact = patches.detach().double().requires_grad_()
    want = group_patches(exact, text.double(), owner, backend="dense")
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-4)
    one, other = (
        torch.autograd.grad(got, patches, direction)[0],
        torch.autograd.grad(want, exact, direction.double())[0],
    )
    assert (one.double() - other).abs().max() <= 2 * TOLERANCE[dtype] * other.abs().max()


def test_a_quarter_million_rows_fit():
    torch.cuda.reset_peak_memory_stats()
    a, b = (unit(262_144, 512, seed, torch.bfloat16).requires_grad_() for seed in (0, 1))
    symmetric_contrast(a, b, torch.tensor(50.0, device="cuda"), backend="triton").backward()
    assert a.grad.isfinite().all()
    assert torch.cuda.max_memory_allocated() < 8e9
