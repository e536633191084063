"""Two ranks give the gradient of one process on the whole batch (spec 7.8)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from emocap_batches import batch_of, gradients_on_ranks, module_of

SIGMOID = {"loss": "sigmoid", "sentences_weight": 0.5}
CASES: dict[str, dict[str, Any]] = {
    "group": {"branch": "group", "rule": "consensus"},
    "cls": {"branch": "cls", "rule": "swap"},
    "sigmoid": {"branch": "group", "rule": "consensus", **SIGMOID},
    "sigmoid-ring": {"branch": "none", "exchange": "ring", **SIGMOID},
    "attn": {"branch": "attn", **SIGMOID},
    "attn-sampled": {"branch": "attn", "negatives": 3},
}


@pytest.fixture(scope="module")
def on_ranks(tmp_path_factory):
    """What two gloo processes find, by case: one pair of processes for all."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(gradients_on_ranks, (2, str(folder), CASES), nprocs=2)
    return torch.load(folder / "gradients.pt", weights_only=True)


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_two_ranks_equal_those_of_one_process(on_ranks, case):
    module, together = module_of(**CASES[case]).double(), dict(on_ranks[case])
    loss, _ = module.loss(batch_of(8), step=10)
    loss.backward()
    alone = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    assert together.pop("loss").item() == pytest.approx(loss.item(), abs=1e-12)
    torch.testing.assert_close(together.pop("stats"), module.objective.miner.stats, equal_nan=True)
    assert together.keys() == alone.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient, atol=1e-10, rtol=1e-7, msg=name)
