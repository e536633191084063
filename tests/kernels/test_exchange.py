from __future__ import annotations

import exchange_worker as worker
import pytest
import torch
import torch.multiprocessing as mp
from each_backend import BACKENDS

WAYS = [("gather", name) for name in BACKENDS] + [("ring", name) for name in BACKENDS if name != "dense"]
JOBS = [(world, *way) for world in (1, 2, 4) for way in WAYS]
if BACKENDS == ["triton"]:  # the interpreter is slow: all that other ranks change, once
    JOBS = [(2, "gather", "triton"), (4, "ring", "triton")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the ranks of every job wrote: four processes for all, or each would import torch anew."""
    folder = tmp_path_factory.mktemp("exchange")
    mp.spawn(worker.all_jobs, (str(folder), JOBS), nprocs=1)
    return folder


@pytest.fixture(scope="module", params=JOBS, ids=lambda job: "-".join(map(str, job)))
def ranks(request, results):
    folder = worker.place(results, request.param)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param[0])]


@pytest.fixture
def backend():
    """In place of the one of this folder: here the back end is part of `ranks`."""


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


@pytest.mark.parametrize("kind", ["plain", "siglip"])
def test_open_clip_gives_the_same_loss_and_gradients(ranks, kind):
    for rank in ranks:
        ours, theirs = rank[f"{kind}/full"], rank[f"open_clip {kind}"]
        assert set(ours) == set(theirs)
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-9, atol=1e-12)


def test_torch_compile_makes_one_graph_of_it(ranks):
    for rank in ranks if len(ranks) == 2 else []:
        for one, other in zip(*rank["compiled"], strict=True):
            torch.testing.assert_close(one, other)


def test_gather_rows_keeps_rank_order_and_type(ranks):
    world = len(ranks)
    for rank in ranks:
        half, boolean = rank["gathered"]["half"], rank["gathered"]["bool"]
        assert half.dtype == torch.bfloat16
        assert half[:, 0].tolist() == [float(r + 1) for r in range(world) for _ in range(2)]
        assert boolean.dtype == torch.bool
        assert boolean[:, 0].tolist() == [r > 0 for r in range(world) for _ in range(2)]
