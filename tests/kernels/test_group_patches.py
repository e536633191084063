from __future__ import annotations

import kernel_references as reference
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mien_kernels import group_patches


def inputs(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    patches = F.normalize(torch.randn(3, 9, 5, generator=generator, dtype=torch.float64), dim=2)
    sentences = F.normalize(torch.randn(7, 5, generator=generator, dtype=torch.float64), dim=1)
    return patches.to(dtype), sentences.to(dtype), torch.tensor([0, 0, 1, 2, 2, 2, 0])


@pytest.mark.parametrize("threshold", [None, 0.0, 0.5, 0.99])
@pytest.mark.parametrize("seed", range(3))
def test_equals_loops(threshold, seed):
    patches, sentences, owner = inputs(seed)
    want = reference.group_patches(patches.numpy(), sentences.numpy(), owner.numpy(), threshold)
    np.testing.assert_allclose(group_patches(patches, sentences, owner, threshold).numpy(), want, atol=1e-12)


def test_gradient_reaches_patches_only(backend):
    patches, sentences, owner = inputs()
    patches.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: group_patches(x, sentences, owner), (patches,), fast_mode=backend == "triton"
    )
    sentences.requires_grad_()
    pooled = group_patches(patches, sentences, owner)
    assert torch.autograd.grad(pooled.sum(), sentences, allow_unused=True)[0] is None


def test_equal_patches_give_the_uniform_average():
    patches = torch.tensor([1.0, 0.0, 0.0]).expand(1, 4, 3).clone()
    patches[0, 1] = patches[0, 3] = torch.tensor([0.0, 1.0, 0.0])
    sentence = torch.tensor([[0.0, 0.0, 1.0]])  # at a right angle to all
    pooled = group_patches(patches, sentence, torch.tensor([0]))
    torch.testing.assert_close(pooled, torch.tensor([[0.5**0.5, 0.5**0.5, 0.0]]))


def test_padding_and_zero_patches():
    patches, sentences, owner = inputs()
    patches[1] = 0
    patches.requires_grad_()
    owner[0] = -1
    pooled = group_patches(patches, sentences, owner)
    assert (pooled[0] == 0).all()
    torch.testing.assert_close(pooled[3:].norm(dim=1), torch.ones(4, dtype=torch.float64))
    assert torch.autograd.grad(pooled.square().sum() + pooled.sum(), patches)[0].isfinite().all()


def test_half_inputs_are_pooled_in_fp32():
    patches, sentences, owner = inputs(dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = group_patches(patches, sentences, owner)
    want = reference.group_patches(patches.double().numpy(), sentences.double().numpy(), owner.numpy())
    assert pooled.dtype == torch.float32
    np.testing.assert_allclose(pooled.numpy(), want, atol=1e-5)


def test_faults_are_named():
    patches, sentences, owner = inputs()
    with pytest.raises(ValueError, match="patches must be"):
        group_patches(patches[0], sentences, owner)
    with pytest.raises(ValueError, match="owner must be"):
        group_patches(patches, sentences, owner[:2])
    with pytest.raises(ValueError, match="unknown back end"):
        group_patches(patches, sentences, owner, backend="fast")
