"""Seconds of a step: a roofline of its kernels, its traffic behind them, the optimiser, the loader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

from mien.plan.assume import Assumptions
from mien.plan.gpus import Gpu
from mien.plan.memory import Layout, Weights
from mien.plan.trace import Kernel
from mien.plan.wire import Traffic, Volume, seconds, shared

_ADAM_BYTES = 40
"""Of a float32 parameter at a step: the norm reads the gradient (4), clipping reads and writes it (8), AdamW
reads weight, gradient and two moments and writes all but the gradient (28)."""
_EMA_BYTES = 12
"""Reads the weight and the average and writes the average."""


def roofline(kernels: Mapping[Kernel, int], gpu: Gpu, assume: Assumptions) -> float:
    """Seconds of kernels one after another: each takes the most of its products, its bytes and its start.

    Products of 2-byte inputs run at the bf16 peak, all others at the float32 peak.
    """
    return sum(count * _kernel(kernel, gpu, assume) for kernel, count in kernels.items())


def _kernel(kernel: Kernel, gpu: Gpu, assume: Assumptions) -> float:
    half = kernel.dtype in (torch.bfloat16, torch.float16)
    products = kernel.flops / ((gpu.bf16 if half else gpu.fp32) * assume.efficiency)
    return max(products, kernel.bytes / (gpu.bandwidth * assume.memory_efficiency), assume.launch_s)


@dataclass(frozen=True)
class Compute:
    """Seconds of one micro batch on a GPU, with nothing to wait for."""

    forward: float
    backward: float
    objective: float
    """The loss, both ways."""

    @property
    def total(self) -> float:
        """Sum."""
        return self.forward + self.backward + self.objective


@dataclass(frozen=True)
class Step:
    """Seconds of an optimiser step by part; the parts follow each other."""

    forward: float
    backward: float
    objective: float
    gradients: float
    """Of their traffic, what no computation hides."""
    weights: float
    """The same of weights that ranks fetch from each other, before or after the optimiser."""
    features: float
    """Of embeddings that ranks exchange for the loss: nothing can be computed meanwhile."""
    optimizer: float
    offload: float
    """Gradients to host memory, Adam there, weights back."""
    data: float
    """Waiting for the loader."""

    @property
    def total(self) -> float:
        """Sum."""
        return sum(asdict(self).values())

    @property
    def exposed(self) -> float:
        """Seconds of traffic that nothing hides."""
        return self.gradients + self.weights + self.features


def step_of(
    layout: Layout,
    weights: Weights,
    compute: Compute,
    volume: Volume,
    features: Traffic,
    gpu: Gpu,
    assume: Assumptions,
    *,
    master: int = 4,
    ema: bool = False,
    workers: int = 8,
) -> Step:
    """A step of a layout.

    Args:
        layout: strategy and micro batch.
        weights: of the module.
        compute: of a micro batch.
        volume: of a step.
        features: of a micro batch.
        gpu: where.
        assume: rates.
        master: bytes of a master weight.
        ema: whether the run keeps an average.
        workers: loader processes of each rank.
    """
    rounds, world = layout.accumulate, layout.world
    working = rounds * compute.total
    owned = weights.trained / (1 if layout.strategy == "ddp" else world)
    touched = owned * (_ADAM_BYTES + (_EMA_BYTES if ema else 0)) * master / 4
    host = _offload(layout, owned, assume) if layout.offload else 0.0
    samples_s = max(1, workers) * assume.loader
    exchange = (layout, gpu, assume)
    return Step(
        forward=rounds * compute.forward,
        backward=rounds * compute.backward,
        objective=rounds * compute.objective,
        gradients=hidden_behind(
            rounds * compute.backward, volume.gradients, volume.gradient_rounds, *exchange
        ),
        weights=hidden_behind(
            rounds * (compute.forward + compute.backward), volume.weights, volume.weight_rounds, *exchange
        )
        + hidden_behind(0.0, volume.updated, 1 if volume.updated else 0, *exchange),
        features=rounds * seconds(features, gpu, world, layout.per_node, assume),
        optimizer=0.0 if layout.offload else touched / (gpu.bandwidth * assume.memory_efficiency),
        offload=host,
        data=max(0.0, rounds * layout.micro / samples_s - working),
    )


def hidden_behind(
    work: float, size: float, rounds: int, layout: Layout, gpu: Gpu, assume: Assumptions, parts: int = 16
) -> float:
    """Seconds of `rounds` all-gathers or reduce-scatters of `size` bytes that `work` seconds do not hide.

    They are cut into `parts`; the last one always waits for the last piece of work.
    """
    if not rounds or layout.world == 1:
        return 0.0
    traffic = shared(size, layout.world, layout.per_node, rounds, parts)
    time = seconds(traffic, gpu, layout.world, layout.per_node, assume)
    return max(time / parts, time - assume.overlap * work)


def _offload(layout: Layout, owned: float, assume: Assumptions) -> float:
    """The node's CPUs update the shares of all its GPUs; 2-byte gradients go down, 2-byte weights come up."""
    inside = min(layout.world, layout.per_node)
    return 4 * owned / assume.host_link + owned * inside / assume.host_adam
