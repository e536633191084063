"""A system of its own, small enough to reason about: regression on the mean colour, with dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mien import recipe as recipes
from mien.config import Config
from mien.data.collate import collate_plain
from mien.data.decode import decode_sample
from mien.recipe import Recipe
from mien.systems import SYSTEMS, System
from mien.systems.base import Batch, SystemModule


class PowerCut(BaseException):
    """Stands for an end without notice; no handler of the engine may catch it."""


class ToyModel(Config):
    width: int = 8
    dropout: float = 0.5


class ToyObjective(Config):
    pass


class ToyModule(SystemModule):
    """`interfere(loss, step)` is called in each training loss and may change it: a hook for faults."""

    interfere: Callable[[Tensor, int], Tensor] | None = None

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        assert isinstance(recipe.model, ToyModel)
        width = recipe.model.width
        self.net = nn.Sequential(
            nn.Linear(3, width), nn.Tanh(), nn.Dropout(recipe.model.dropout), nn.Linear(width, 1)
        )

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        colour = batch["img"].float().mean((2, 3)) / 255
        wanted = (batch["uid"] % 7).float() / 7
        loss = (self.net(colour).squeeze(1) - wanted).square().mean()
        if self.training and ToyModule.interfere is not None:
            loss = ToyModule.interfere(loss, step)
        return loss, {"twice": 2 * loss.detach()}

    def blocks(self) -> list[nn.Module]:
        return [self.net]

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.net.parameters())}]


def cut_at(step: int) -> None:
    """Runs end there without notice."""

    def interfere(loss: Tensor, at: int) -> Tensor:
        if at == step:
            raise PowerCut
        return loss

    ToyModule.interfere = interfere


def _transform(sample: Any, rng: Any, epoch: int) -> dict[str, Any]:
    return {"img": decode_sample(sample), "uid": sample.record["uid"]}


def _absent(*args: Any) -> Any:
    raise NotImplementedError


TOY = System(
    "toy", ToyModel, ToyObjective, ToyModule, lambda recipe, split: _transform, lambda recipe: collate_plain,
    _absent, _absent,
)  # fmt: skip


def toy_recipe(sets: dict[str, Path], root: Path, *overrides: str) -> Recipe:
    """20 steps of 16 samples; `root` receives the recipe file and the runs."""
    SYSTEMS["toy"] = TOY
    file = root / "recipe" / "toy.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        f"system: toy\nrun: {{root: {root}/runs}}\n"
        f"data: {{train: {{shards: {sets['train']}}}, workers: 0, log_samples: true}}\n"
        "engine: {max_steps: 20, global_batch: 16, checkpoint_every: 5, log_every: 1, threads: 1, ema: 0.9,\n"
        "  optimizer: {lr: 0.01}, schedule: {kind: constant}}\ntracking: {wandb: off}\n"
    )
    return recipes.load(file, overrides)
