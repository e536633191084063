"""What `make bench-gpu` plans, and what it says where there is no card."""

from __future__ import annotations

import pytest
import torch

from mien import recipe
from mien.plan import bench_gpu
from mien.plan.gpus import gpu_of
from mien.plan.measure import planned


@pytest.mark.parametrize(
    ("card", "name"), [("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA H200", "h200"), ("NVIDIA L40S", "l40s")]
)
def test_cards_are_known_by_what_the_driver_calls_them(card: str, name: str) -> None:
    assert bench_gpu._short(card) == name


def test_plans_are_those_of_the_planner() -> None:
    case = ("emocapclip/tiny", 4, True)
    ((ahead, kept),) = bench_gpu.plans(gpu_of("h100"), (case,))
    want = planned(recipe.load(case[0]), 4, True)
    assert (ahead.flops, ahead.peak) == (want.flops, want.peak)
    assert kept.flops < ahead.flops
    assert kept.peak > ahead.peak
    assert 0 < kept.seconds < ahead.seconds


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card: tests/gpu measures on it")
def test_without_a_card_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        bench_gpu.main([])
    assert end.value.code == 2
    assert "no CUDA device; run it on a machine with a GPU" in capsys.readouterr().err
