"""Sentence-guided patch grouping on gathered patches, T x P x D (EmoCapCLIP spec 3, V1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-6
"""Keeps scale and norm of what is constant or zero finite (spec 7.12)."""


def grouped(patches: Tensor, sentences: Tensor, owner: Tensor, threshold: float) -> Tensor:
    """Pool of the patches [B, P, D] of each sentence's image, unit rows [T, D]; owner >= 0."""
    own = patches[owner]
    similarity = torch.einsum("tpd,td->tp", own, sentences)
    low = similarity.amin(1, keepdim=True)
    span = similarity.amax(1, keepdim=True) - low
    share = (similarity - low) / (span + EPS)
    share = share.masked_fill(share < threshold, 0)
    total = share.sum(1, keepdim=True)
    flat = total == 0
    share = torch.where(flat, 1 / patches.shape[1], share / total.masked_fill(flat, 1))
    return F.normalize(torch.einsum("tp,tpd->td", share, own), dim=1, eps=EPS)
