"""A sweep small enough to train in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.runs import LOOP, TOWERS
from mien.faults.sets import write_set
from mien.sweep import load
from mien.sweep.config import SweepConfig

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
Make = Callable[..., Path]


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` and `val`."""
    root = tmp_path_factory.mktemp("sweep-sets")
    write_set(root / "train", 96)
    write_set(root / "val", 20, seed=1, first_uid=5000)
    return root


@pytest.fixture
def make(shards: Path, tmp_path: Path) -> Make:
    """Writes `STEM.yaml`, a sweep of four trials over a rate and a weight; arguments change its keys."""

    def write(stem: str = "small", /, **changes: Any) -> Path:
        fixed = dict(yaml.safe_load(f"{{{key}: {value}}}").popitem() for key, _, value in
                     (pair.partition("=") for pair in (*TOWERS, *LOOP)))  # fmt: skip
        fixed |= {
            "tracking.wandb": "off", "data.train.shards": str(shards / "train"), "data.workers": 0,
            "data.val.shards": str(shards / "val"), "engine.max_steps": 12, "engine.val_every": 4,
            "engine.checkpoint_every": 4,
        }  # fmt: skip
        tree = {
            "recipe": "emocapclip/tiny", "set": fixed, "root": str(tmp_path / "sweeps"), "method": "grid",
            "metric": "val/loss", "mode": "min",
            "space": {
                "engine.optimizer.lr": {"values": [0.001, 0.004]},
                "objective.local.weight": {"values": [0.0, 0.5]},
            },
        }  # fmt: skip
        tree |= {key: value for key, value in changes.items() if key != "set"}
        tree["set"] = {key: value for key, value in fixed.items() if key not in tree["space"]}
        tree["set"] |= changes.get("set", {})
        file = tmp_path / f"{stem}.yaml"
        file.write_text(yaml.safe_dump(tree, sort_keys=False))
        return file

    return write


@pytest.fixture
def config(make: Make) -> SweepConfig:
    """The sweep of `make()`."""
    return load.load(make())
