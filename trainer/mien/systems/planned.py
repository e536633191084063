"""What `mien plan` needs of a system to count a step without data and without a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mien.recipe import Recipe
from mien.systems.base import Batch, SystemModule


@dataclass(frozen=True)
class Planned:
    """A system's step in two halves: what every sample does alone, and what the batch does together.

    `objective(module, encode(module, batch), batch, step)` is `module.loss(batch, step)[0]` on a batch that
    has no gaps. The halves are counted apart, because the first grows with the samples of a rank alone and
    the second with those of all ranks too.
    """

    recipe: Recipe
    """The recipe to build: no starting weights, activation checkpointing as asked."""
    batch: Callable[[int], Batch]
    """Samples of a micro batch -> a batch of the largest shapes the recipe allows, on the CPU. Integers and
    booleans hold values that the step may branch on; floats may hold anything."""
    encode: Callable[[SystemModule, Batch], tuple[Tensor, ...]]
    """Outputs of the networks, samples first."""
    objective: Callable[[SystemModule, tuple[Tensor, ...], Batch, int], Tensor]
    """Loss, 0-d, of what `encode` gave, at a step."""
    coupled: bool
    """Whether the loss compares samples of a micro batch with each other, so that accumulating smaller micro
    batches is another training."""
