"""AdamW with moments of eight bits: it learns, resumes to the bit, keeps little, and is told where absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from mien import engine, optim
from mien.engine.config import EngineConfig, OptimizerConfig
from mien.engine.holdings import Replicated
from mien.engine.rundir import RunFolder
from mien.errors import RunError

from .runs import differences, learned, only_run, samples
from .toy import PowerCut, ToyModule, cut_at, toy_recipe

KEYS = ("engine.optimizer.kind=adamw8bit", "model.width=2048")  # 6,144 weights: enough to be kept in codes
TENSORS = ("state_dict", "exp_avg", "exp_avg_codes", "exp_avg_scale", "exp_avg_sq_codes", "exp_avg_sq_scale")


def saved(run: RunFolder) -> dict[str, Any]:
    found = run.checkpoint().load()
    return {key: found[key] for key in (*TENSORS, "ema", "lr_schedulers")}


def test_a_cut_run_ends_bitwise_equal_with_moments_in_codes(sets: dict[str, Path], tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = RunFolder(engine.run(toy_recipe(sets, tmp_path / "whole", *KEYS)))

    cut_at(13)
    with pytest.raises(PowerCut):
        engine.run(toy_recipe(sets, tmp_path / "cut", *KEYS))
    ToyModule.interfere = None
    run = RunFolder(engine.run(toy_recipe(sets, tmp_path / "cut", *KEYS), resume=True))
    assert run.path == only_run(tmp_path / "cut" / "runs").path
    state = saved(run)
    assert differences(state, saved(whole)) == []
    assert learned(run) == learned(whole)
    assert samples(run) == samples(whole)
    codes, scale = (state[f"exp_avg_sq_{part}"]["net.0.weight"] for part in ("codes", "scale"))
    assert codes.dtype == torch.uint8
    assert codes.numel() == 256 * scale.numel() == 6144
    assert len(codes.unique()) > 8
    assert "net.0.weight" not in state["exp_avg"]
    assert state["exp_avg"]["net.0.bias"].dtype == torch.float32
    losses = [row["train/loss"] for row in learned(whole)]
    assert sum(losses[-3:]) < sum(losses[:3])


def test_its_steps_follow_those_of_float32_moments() -> None:
    """30 steps towards a goal: the same way, give or take what eight bits cannot tell."""
    goal = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    ends = []
    for kind in ("adamw", "adamw8bit"):
        net = torch.nn.Linear(64, 64, bias=False)
        torch.nn.init.zeros_(net.weight)
        config = OptimizerConfig.model_validate({"kind": kind, "lr": 0.02, "weight_decay": 0.0})
        optimizer = optim.adamw(optim.decay_groups(net), config)
        for _ in range(30):
            optimizer.zero_grad()
            (net.weight - goal).square().sum().backward()
            optimizer.step()
        ends.append(net.weight.detach())
        moments = Replicated(net, optimizer).moments()
        bytes_ = sum(p.tensor.nbytes for parts in moments.values() for p in parts.values())
        assert bytes_ == {"adamw": 2 * 4 * 4096, "adamw8bit": 2 * (4096 + 4 * 16)}[kind]
    assert float(ends[0].abs().mean()) > 0.3
    assert float((ends[1] - ends[0]).abs().mean()) < 0.08 * float(ends[0].abs().mean())


def test_a_missing_package_is_told_before_anything_is_written(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.optim.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"engine.optimizer.kind: torchao is not installed; pip install"):
        engine.run(toy_recipe(sets, tmp_path, *KEYS))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("other", [{"strategy": "fsdp2"}, {"strategy": "deepspeed"}, {"precision": "64"}])
def test_layouts_that_cut_moments_are_refused(other: dict[str, str]) -> None:
    given = {"max_steps": 1, "global_batch": 1, "optimizer": {"kind": "adamw8bit"}, **other}
    with pytest.raises(ValidationError, match="adamw8bit goes with strategy auto or ddp"):
        EngineConfig.model_validate(given)
