"""Two ranks give the gradient of one process on the whole batch (spec 7.8)."""

from __future__ import annotations

import pytest
import torch
import torch.multiprocessing as mp
from emocap_batches import batch_of, gradients_on_ranks, module_of


@pytest.mark.parametrize(("branch", "rule"), [("group", "consensus"), ("cls", "swap")])
def test_gradients_of_two_ranks_equal_those_of_one_process(tmp_path, branch, rule):
    module = module_of(branch=branch, rule=rule).double()
    loss, _ = module.loss(batch_of(8), step=10)
    loss.backward()
    alone = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    mp.spawn(gradients_on_ranks, (2, str(tmp_path), branch, rule), nprocs=2)
    together = torch.load(tmp_path / "gradients.pt", weights_only=True)
    assert together.pop("loss").item() == pytest.approx(loss.item(), abs=1e-12)
    torch.testing.assert_close(together.pop("stats"), module.objective.miner.stats, equal_nan=True)
    assert together.keys() == alone.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient, atol=1e-10, rtol=1e-7, msg=name)
