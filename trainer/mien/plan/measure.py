"""A real step on the CPU, to hold a plan against: FLOPs by torch's counter, memory by its profiler."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from mien import systems
from mien.plan.count import Half, Model, autocast, quietly, record
from mien.plan.memory import activity
from mien.plan.trace import FORMULAS
from mien.recipe import Recipe

_BACKWARD = "mien plan: backward"


@dataclass(frozen=True)
class Figures:
    """Of forward and backward of one micro batch on one process, planned or measured."""

    flops: int
    held: int
    """Bytes live between forward and backward beside weights and the batch."""
    tensors: int
    """Most bytes of tensors live at once, weights and gradients included, the batch not."""
    peak: int
    """The same of everything that the allocator gave, operators' own scratch memory too. On a CPU that
    grows with the threads. A plan cannot know it: there it is `tensors`."""


def planned(recipe: Recipe, micro: int, checkpointing: bool) -> Figures:
    """What a plan says, from shapes."""
    return counted(recipe, micro, checkpointing)[0]


def counted(recipe: Recipe, micro: int, checkpointing: bool) -> tuple[Figures, tuple[Half, Half]]:
    """The same, and the halves of the step that it comes from."""
    model = Model(recipe, checkpointing)
    encode, loss = model.encode(micro), model.objective(micro, 1)
    used = activity(_bytes(encode), _bytes(loss))
    peak = int(sum(p.nbytes for p in model.module.parameters()) + used.grown)
    return Figures(encode.flops + loss.flops, encode.held + loss.held, peak, peak), (encode, loss)


def _bytes(half: Half) -> dict[str, float]:
    return {name: float(value) for name, value in vars(half).items() if isinstance(value, int)}


def measured(recipe: Recipe, micro: int, checkpointing: bool, threads: int = 1) -> Figures:
    """What a real step does: the module's own `loss` on numbers, random weights, the same batch."""
    system = systems.get(recipe.system)
    assert system.planned is not None
    step = system.planned(recipe, checkpointing)
    torch.manual_seed(0)
    with quietly():
        module = system.build(step.recipe)
    batch = step.batch(micro)

    def loss() -> torch.Tensor:
        return module.loss(batch, recipe.engine.max_steps - 1)[0]

    def forward() -> torch.Tensor:
        with autocast(recipe):
            return loss()

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        # one at a time: the counter's hooks keep recomputed activations alive
        with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
            forward().backward()
        module.zero_grad(set_to_none=True)
        seen = record(module, loss, lambda: autocast(recipe), known=batch.values())
        held, peak = allocated(forward)
    finally:
        torch.set_num_threads(before)
    weights = sum(p.nbytes for p in module.parameters())
    tensors = max(seen.forward_peak, seen.backward_peak_with_gradients)
    return Figures(counter.get_total_flops(), held, weights + tensors, weights + peak)


def allocated(forward: Callable[[], torch.Tensor]) -> tuple[int, int]:
    """Bytes that the CPU's allocator gave and had not got back: between the passes, and at most.

    Operators' own scratch memory is in it.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        loss = forward()
        with record_function(_BACKWARD):
            loss.backward()
    inner: Any = profiler.profiler
    events = inner.kineto_results.events()
    start = next(event.start_ns() for event in events if event.name() == _BACKWARD)
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = held = peak = 0
    for moment, change in changes:
        now += change
        peak = max(peak, now)
        if moment < start:
            held = now
    return held, peak
