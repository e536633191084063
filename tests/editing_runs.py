"""What makes runs of editors short, and spares their training."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mien import cli, systems
from mien import recipe as recipes
from mien.engine import given

SMALL = (
    "model.image_size=32", "model.unet.channels=[16,16]", "model.unet.groups=4", "model.unet.heads=2",
    "model.unet.prompt_width=8", "engine.threads=1", "engine.global_batch=8", "engine.schedule.warmup=2",
    "engine.log_every=1", "engine.ema=0.9", "data.workers=0", "data.log_samples=true", "data.val=null",
    "engine.val_every=null", "tracking.wandb=off",
)  # fmt: skip
"""Overrides of the tiny recipes."""

Mien = Callable[..., tuple[int, str, str]]


def untrained(root: Path, recipe: str, *overrides: str, run_id: str = "run", state: str = "finished") -> Path:
    """A run of `state` with random weights, none of them zero, without a process that trains it."""
    loaded = recipes.load(recipe, [*overrides, f"run.root={root}", "engine.ema=null", "tracking.wandb=off"])
    torch.manual_seed(0)
    module = systems.get(loaded.system).build(loaded)
    weights = {name: value.detach() for name, value in module.state_dict().items()}
    for value in weights.values():
        if not value.any():
            value.normal_(0, 0.05)
    run = given.make(loaded, run_id, weights, {})
    info = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(info | {"state": state}))
    return run.path


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mien:
    """`mien ARGS` in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run
