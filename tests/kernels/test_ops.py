"""What the ops promise beside their numbers: precision, memory, compilation, counting, checkpointing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from mien_kernels import Tags, choose_backend, contrast, group_patches, symmetric_contrast
from mien_kernels.masks import Masks

TILED = pytest.mark.parametrize("backend", ["chunked"], indirect=True)


def unit(rows, depth, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, depth, generator=generator, dtype=torch.float64), dim=1).to(dtype)


def with_gradients(function, *tensors):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    result = function(*leaves)
    return result.detach(), *torch.autograd.grad(result, leaves)


@pytest.mark.parametrize("rows", [40, 200])
def test_single_precision_against_double(rows):
    a, b = unit(rows, 48), F.normalize(unit(rows, 48) + 3 * unit(rows, 48, 1), dim=1)
    tags = Tags.any(torch.arange(rows) // 3)
    run = lambda *x: symmetric_contrast(*x, tags=tags)  # noqa: E731
    exact = with_gradients(run, a, b, torch.tensor(30.0, dtype=torch.float64))
    single = with_gradients(run, a.float(), b.float(), torch.tensor(30.0))
    torch.testing.assert_close(single[0].double(), exact[0], rtol=1e-6, atol=0)
    for one, other in zip(single[1:], exact[1:]):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tile", [(1, 1), (3, 3), (5, 2), (64, 64)])
@pytest.mark.parametrize("both", [True, False])
@TILED
def test_tiles_of_any_size_agree(tile, both, backend):
    from mien_kernels.chunked.negatives import backward, forward

    a, c, scale = unit(13, 8), unit(17, 8, 1), torch.tensor(60.0, dtype=torch.float64)
    keys = torch.arange(17) // 2
    lists = torch.tensor([[0, 3], [2, -1]])
    masks = Masks(
        torch.arange(13) != 4, torch.arange(17) != 5, keys[:13, None], keys[:, None], ((0,),),
        skip=lists.repeat(7, 1)[:13], skip_t=lists.repeat(9, 1)[:17],
    )  # fmt: skip
    whole = forward(a, c, scale, None, masks, both, (13, 17))
    part = forward(a, c, scale, None, masks, both, tile)
    u, v = unit(1, 13)[0], unit(1, 17)[0] if both else a.new_empty(0)
    for one, other in zip(
        (*part, *backward(u, v, *part, a, c, scale, None, masks, both, tile)),
        (*whole, *backward(u, v, *whole, a, c, scale, None, masks, both, (13, 17))),
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@TILED
def test_columns_that_underflow_beside_their_rows_are_exact(backend):
    """Rows near 100 and a column near -100: one exponential for both would lose the column."""
    a = unit(6, 4, dtype=torch.float32)
    b = a.clone()
    b[5] = -a.mean(0) / a.mean(0).norm()
    run = lambda *x: symmetric_contrast(*x)  # noqa: E731
    got = with_gradients(run, a, b, torch.tensor(300.0))
    want = with_gradients(run, a.double(), b.double(), torch.tensor(300.0, dtype=torch.float64))
    for one, other in zip(got, want):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4)


def test_torch_compile_sees_through(backend):
    a, b, scale = unit(24, 8, dtype=torch.float32), unit(24, 8, 1, torch.float32), torch.tensor(9.0)
    keys, weight = torch.arange(24) // 2, (torch.arange(24) % 5 > 0).float()
    shares = (torch.stack([torch.arange(24), torch.arange(24).roll(1)], 1), torch.full((24, 2), 0.5))

    def run(x, y, s):
        plain = symmetric_contrast(x, y, s)
        soft = symmetric_contrast(
            x, y, s, targets_ab=shares, row_weight=weight, tags=Tags.any(keys), form="dec"
        )
        patches = y.reshape(4, 6, 8)
        return plain + soft + contrast(x, group_patches(patches, x, torch.arange(24) // 6), s)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for one, other in zip(with_gradients(compiled, a, b, scale), with_gradients(run, a, b, scale)):
        torch.testing.assert_close(one, other)


@TILED
def test_ops_are_registered_whole(backend):
    a, c, scale = (
        unit(5, 3).requires_grad_(),
        unit(7, 3, 1).requires_grad_(),
        torch.tensor(4.0).requires_grad_(),
    )
    masks = Masks(diagonal=1, column_live=torch.arange(7) != 2)
    for both in (True, False):
        torch.library.opcheck(
            torch.ops.mien_kernels.negatives.default, (a, c, scale, None, *masks.pack(), both, backend)
        )
    indices = torch.tensor([[0, 1], [-1, 6], [3, 3], [2, -1], [5, 0]])
    torch.library.opcheck(torch.ops.mien_kernels.listed_dots.default, (a, c, indices, backend))
    patches = unit(12, 3).reshape(2, 6, 3).requires_grad_()
    owner = torch.tensor([0, 1, 1])
    torch.library.opcheck(
        torch.ops.mien_kernels.group_patches.default, (patches, unit(3, 3, 2), owner, 0.2, backend)
    )


@TILED
def test_operations_are_counted(backend):
    a, b = unit(30, 8, dtype=torch.float32).requires_grad_(), unit(30, 8, 1, torch.float32).requires_grad_()
    with FlopCounterMode(display=False) as counter:
        symmetric_contrast(a, b, torch.tensor(5.0)).backward()
    assert counter.get_total_flops() == (2 + 6) * 30 * 30 * 8


def test_gradient_checkpointing(backend):
    a, b, scale = unit(12, 6), unit(12, 6, 1), torch.tensor(8.0, dtype=torch.float64)
    plain = with_gradients(symmetric_contrast, a, b, scale)
    again = with_gradients(lambda *x: checkpoint(symmetric_contrast, *x, use_reentrant=False), a, b, scale)
    for one, other in zip(plain, again):
        assert torch.equal(one, other)


MEASURE = """
import resource, sys, torch
from mien_kernels import symmetric_contrast
rows = int(sys.argv[1])
a, b = (torch.nn.functional.normalize(torch.randn(rows, 64), dim=1).requires_grad_() for _ in range(2))
symmetric_contrast(a[:64], b[:64], torch.tensor(20.0), backend="chunked").backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
symmetric_contrast(a, b, torch.tensor(20.0), backend="chunked").backward()
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@TILED
def test_memory_does_not_grow_with_the_square_of_the_batch(backend):
    """Extra peak memory in a process of its own: 12,000 rows have 576 MB of logits."""
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, "12000"], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) < 60e6


def test_the_back_end_is_chosen_by_device_dtype_and_size(monkeypatch):
    monkeypatch.undo()
    many = 1 << 30
    assert choose_backend("contrast") == "dense"
    assert choose_backend("contrast", pairs=many) == "chunked"
    assert choose_backend("contrast", "dense", pairs=many) == "dense"
    assert choose_backend("contrast", device="cuda", dtype=torch.bfloat16, pairs=many) == "triton"
    assert choose_backend("contrast", device="cuda", dtype=torch.float64, pairs=many) == "chunked"
    with pytest.raises(ValueError, match="unknown back end 'fast' for mine: choose one of auto, dense"):
        choose_backend("mine", "fast")
