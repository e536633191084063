"""Muon against torch's own and AdamW's, in a run that is cut, and where it is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from mien import engine, optim
from mien.engine.config import EngineConfig, OptimizerConfig
from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.optim_muon import Muon, orthogonal

from .runs import differences, learned
from .toy import PowerCut, ToyModule, cut_at, toy_recipe

CONFIG = OptimizerConfig(kind="muon", lr=0.02, weight_decay=0.1, betas=(0.9, 0.99), eps=1e-8)


@pytest.mark.parametrize("shape", [(24, 24), (8, 40), (40, 8)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    values = torch.linalg.svdvals(orthogonal(given))
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.3
    assert float((orthogonal(given) * given).sum()) > 0


@pytest.mark.parametrize("shape", [(64, 96), (64, 128), (64, 1000), (1000, 64)])
@pytest.mark.parametrize("weakest", [0.5, 1e-6])
def test_each_singular_value_goes_five_times_through_the_polynomial(
    shape: tuple[int, int], weakest: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(shape, generator=generator, dtype=torch.float64)
    left, values, right = torch.linalg.svd(given, full_matrices=False)
    values = torch.logspace(0, math.log10(weakest), len(values), dtype=torch.float64)
    values = found = values / values.norm()
    for _ in range(5):
        found = 3.4445 * found - 4.7750 * found**3 + 2.0315 * found**5
    told = orthogonal(((left * values) @ right).float())
    torch.testing.assert_close(told.double(), (left * found) @ right, rtol=0, atol=2e-4)


def test_matrices_step_as_with_torchs_muon_and_the_rest_as_with_adamw() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(12, 20), torch.nn.Tanh(), torch.nn.Linear(20, 6))
    twin = torch.nn.Sequential(torch.nn.Linear(12, 20), torch.nn.Tanh(), torch.nn.Linear(20, 6))
    twin.load_state_dict(net.state_dict())
    ours = optim.adamw(optim.inner_groups(net, ("2.",)), CONFIG)
    assert isinstance(ours, Muon)
    theirs = torch.optim.Muon([twin[0].weight], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    rest = torch.optim.AdamW(
        [
            {"params": [twin[2].weight], "weight_decay": 0.1},
            {"params": [twin[0].bias, twin[2].bias], "weight_decay": 0.0},
        ],
        lr=0.02, betas=CONFIG.betas, eps=CONFIG.eps,
    )  # fmt: skip
    start = net[0].weight.detach().clone()
    for _ in range(5):
        inputs = torch.randn(16, 12)
        for model, optimizers in ((net, (ours,)), (twin, (theirs, rest))):
            model(inputs).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
    moved, wanted = net[0].weight - start, twin[0].weight - start
    # Theirs computes in bfloat16.
    assert float((moved - wanted).detach().norm() / wanted.detach().norm()) < 0.05
    torch.testing.assert_close(net[2].weight, twin[2].weight, rtol=0, atol=2e-3)
    assert "exp_avg_sq" not in ours.state[net[0].weight]


def test_vectors_step_exactly_as_with_adamw() -> None:
    one, other = (torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    ours = Muon([{"params": [one], "weight_decay": 0.1}], 0.02, CONFIG.betas, CONFIG.eps)
    theirs = torch.optim.AdamW([other], lr=0.02, betas=CONFIG.betas, eps=CONFIG.eps, weight_decay=0.1)
    for step in range(6):
        for parameter, optimizer in ((one, ours), (other, theirs)):
            parameter.grad = torch.sin(parameter.detach() * 9 + step)
            optimizer.step()
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_a_cut_run_ends_bitwise_equal(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def groups(self: ToyModule) -> list[dict[str, Any]]:
        return optim.inner_groups(self, ("net.2",))

    monkeypatch.setattr(ToyModule, "param_groups", groups)
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = RunFolder(engine.run(toy_recipe(sets, tmp_path / "whole", "engine.optimizer.kind=muon")))

    cut_at(13)
    with pytest.raises(PowerCut):
        engine.run(toy_recipe(sets, tmp_path / "cut", "engine.optimizer.kind=muon"))
    ToyModule.interfere = None
    recipe = toy_recipe(sets, tmp_path / "cut", "engine.optimizer.kind=muon")
    run = RunFolder(engine.run(recipe, resume=True))
    ends = [one.checkpoint().load() for one in (run, whole)]
    kinds = ("state_dict", "ema", "exp_avg", "exp_avg_sq", "lr_schedulers")
    one, other = ({kind: end[kind] for kind in kinds} for end in ends)
    assert differences(one, other) == []
    assert learned(run) == learned(whole)
    assert "net.0.weight" in one["exp_avg"]
    assert "net.0.weight" not in one["exp_avg_sq"]


def test_where_it_is_refused() -> None:
    with pytest.raises(RunError, match="does not say which of its matrices"):
        optim.adamw(optim.decay_groups(torch.nn.Linear(3, 3)), CONFIG)
    given = {"max_steps": 1, "global_batch": 1, "optimizer": {"kind": "muon"}, "strategy": "fsdp2"}
    with pytest.raises(ValidationError, match="muon needs whole matrices"):
        EngineConfig.model_validate(given)
