"""A recipe counted once: what every layout of it is computed from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mien.plan.assume import Assumptions
from mien.plan.count import Half, Model
from mien.plan.curve import between, knots
from mien.plan.gpus import Gpu
from mien.plan.memory import Activity, Weights, activity
from mien.plan.speed import Compute, roofline
from mien.recipe import Recipe

_BYTES = ("forward_peak", "held", "copies", "backward_peak", "backward_peak_with_gradients")


@dataclass
class Workload:
    """Networks at a few micro batches, with activations kept and recomputed; the loss as it is asked for."""

    recipe: Recipe
    weights: Weights
    coupled: bool
    """See `Planned`."""
    encoded: dict[bool, dict[int, Half]]
    """By activation checkpointing and micro batch."""
    model: Model
    objectives: dict[tuple[int, int], Half] = field(default_factory=dict)

    @property
    def master(self) -> int:
        """Bytes of a master weight."""
        return 8 if self.recipe.engine.precision == "64" else 4

    @property
    def compute(self) -> int:
        """Bytes of a weight in the dtype of the computation."""
        return {"bf16": 2, "32": 4, "64": 8}[self.recipe.engine.precision]

    @property
    def moments(self) -> float:
        """Bytes of a weight's moments together; of `muon` as if all weights were inner matrices."""
        kinds = {"adamw": 2.0 * self.master, "adamw8bit": 2 * (1 + 4 / 256), "muon": 1.0 * self.master}
        return kinds[self.recipe.engine.optimizer.kind]

    @property
    def ema(self) -> bool:
        """Whether the run keeps an average of its weights."""
        return self.recipe.engine.ema is not None

    def with_batch(self, samples: int) -> Workload:
        """The same with another global batch; what is counted stays shared."""
        engine = self.recipe.engine.model_copy(update={"global_batch": samples})
        return replace(self, recipe=self.recipe.model_copy(update={"engine": engine}))

    def objective(self, micro: int, world: int) -> Half:
        """The loss of `micro` samples on each of `world` ranks."""
        if (micro, world) not in self.objectives:
            self.objectives[micro, world] = self.model.objective(micro, world)
        return self.objectives[micro, world]

    def activity(self, micro: int, world: int, checkpointing: bool) -> Activity:
        """Memory of a micro batch beside weights and gradients."""
        halves, loss = self.encoded[checkpointing], self.objective(micro, world)
        encode = {name: between({m: getattr(h, name) for m, h in halves.items()}, micro) for name in _BYTES}
        return activity(encode, {name: float(getattr(loss, name)) for name in _BYTES})

    def seconds(self, micro: int, world: int, checkpointing: bool, gpu: Gpu, assume: Assumptions) -> Compute:
        """Time of a micro batch on one GPU."""

        def at(part: str) -> float:
            halves = self.encoded[checkpointing]
            return between({m: roofline(getattr(h, part), gpu, assume) for m, h in halves.items()}, micro)

        loss = self.objective(micro, world)
        both = roofline(loss.forward, gpu, assume) + roofline(loss.backward, gpu, assume)
        return Compute(at("forward"), at("backward"), both)

    def launches(self, micro: int, world: int, checkpointing: bool) -> float:
        """Kernels of a micro batch."""
        halves = self.encoded[checkpointing]
        own = between({m: h.launches for m, h in halves.items()}, micro)
        return own + self.objective(micro, world).launches

    def flops(self, micro: int, world: int, checkpointing: bool = False) -> float:
        """FLOPs of a micro batch on one GPU; without recomputation by default, as MFU counts them."""
        own = between({m: h.flops for m, h in self.encoded[checkpointing].items()}, micro)
        return own + self.objective(micro, world).flops

    def batch_bytes(self, micro: int) -> float:
        """Bytes of a micro batch as it arrives."""
        return self.model.batch_bytes(1) * float(micro)


def count(recipe: Recipe, largest: int) -> Workload:
    """Count a recipe's networks for micro batches up to `largest`.

    Raises:
        RunError: for a system that cannot be planned, or networks that cannot be built.
    """
    encoded: dict[bool, dict[int, Half]] = {}
    model: Any = None
    for checkpointing in (True, False):
        model = Model(recipe, checkpointing)
        encoded[checkpointing] = {micro: model.encode(micro) for micro in knots(largest)}
    return Workload(recipe, Weights.of(model.module), model.planned.coupled, encoded, model)
