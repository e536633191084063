from __future__ import annotations

import exchange_worker as worker
import pytest
import torch
import torch.multiprocessing as mp


@pytest.fixture(scope="module", params=[1, 2, 4])
def ranks(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"world{request.param}")
    mp.spawn(worker.work, (request.param, str(folder)), nprocs=request.param)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


@pytest.mark.parametrize(("kind", "weights"), worker.CASES)
def test_ranks_together_equal_one_process(ranks, kind, weights):
    towers = worker.Towers()
    loss = worker.loss_of(kind, weights, towers, slice(0, worker.ROWS), None)
    loss.backward()
    want = {"loss": loss.detach(), **worker.gradients(towers)}
    assert weights in ("nothing", "one row") or want["theta"].abs() > 1e-4
    for rank in ranks:
        for name, value in rank[f"{kind}/{weights}"].items():
            torch.testing.assert_close(value, want[name], rtol=1e-6, atol=1e-12)


def test_gather_rows_keeps_rank_order_and_type(ranks):
    world = len(ranks)
    for rank in ranks:
        half, boolean = rank["gathered"]["half"], rank["gathered"]["bool"]
        assert half.dtype == torch.bfloat16
        assert half[:, 0].tolist() == [float(r + 1) for r in range(world) for _ in range(2)]
        assert boolean.dtype == torch.bool
        assert boolean[:, 0].tolist() == [r > 0 for r in range(world) for _ in range(2)]
