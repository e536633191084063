"""Losses over uneven classes, against their papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from mien.systems.emocapclip.finetune.config import FinetuneObjective
from mien.systems.emocapclip.finetune.objective import Imbalanced

COUNTS = [60, 30, 10]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(7, 3, generator=generator), torch.tensor([0, 0, 1, 2, 1, 0, 2])


def test_without_anything_it_is_cross_entropy() -> None:
    logits, labels = batch()
    found = Imbalanced(FinetuneObjective(), COUNTS)(logits, labels)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels, reduction="none"))


@pytest.mark.parametrize("balance", ["inverse", "effective"])
def test_weights_even_out_and_leave_the_mean_over_the_set(balance: str) -> None:
    weight = Imbalanced(FinetuneObjective(balance=balance, beta=0.9), COUNTS).weight
    sizes = torch.tensor(COUNTS, dtype=torch.float32)
    assert float((weight * sizes).sum() / sizes.sum()) == pytest.approx(1)
    if balance == "inverse":
        torch.testing.assert_close(weight * sizes, torch.full((3,), 100 / 3))
    else:  # Cui et al., equation 4
        effective = torch.tensor([(1 - 0.9**n) / (1 - 0.9) for n in COUNTS])
        torch.testing.assert_close(weight / weight[0], effective[0] / effective)


def test_logits_carry_the_log_share() -> None:
    logits, labels = batch()
    found = Imbalanced(FinetuneObjective(balance="logits", tau=0.5), COUNTS)(logits, labels)
    shifted = logits + 0.5 * torch.tensor([math.log(n / 100) for n in COUNTS])
    torch.testing.assert_close(found, F.cross_entropy(shifted, labels, reduction="none"))


def test_focal_weighs_by_what_is_left_to_learn() -> None:
    logits, labels = batch()
    found = Imbalanced(FinetuneObjective(focal=2), COUNTS)(logits, labels)
    p = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(found, -((1 - p) ** 2) * p.log())
