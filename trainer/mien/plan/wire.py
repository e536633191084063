"""Bytes on the wire, by collective and by strategy (Rajbhandari et al., ZeRO, arXiv 1910.02054)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mien.plan.assume import Assumptions
from mien.plan.gpus import Gpu
from mien.plan.trace import Sent


@dataclass(frozen=True)
class Traffic:
    """What a GPU sends in a step."""

    node: float = 0.0
    """Bytes to GPUs of its node."""
    network: float = 0.0
    """Bytes to other nodes."""
    collectives: int = 0
    """Number of calls; each has a latency."""

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.node + other.node, self.network + other.network, self.collectives + other.collectives
        )

    @property
    def total(self) -> float:
        """Bytes of both kinds."""
        return self.node + self.network


def shared(size: float, world: int, per_node: int, times: int = 1, calls: int = 1) -> Traffic:
    """Traffic of `times` all-gathers or reduce-scatters of `size` bytes; an all-reduce is both.

    A ring over W ranks sends (W-1)/W of the tensor from each. In two levels, with G GPUs a node and W = G N,
    that is (G-1)/G of it inside the node and (N-1)/N of each GPU's G-th share between nodes: the same sum.

    Args:
        size: bytes of the whole tensor.
        world: ranks, a multiple of `per_node` or below it.
        per_node: GPUs of a node.
        times: how often.
        calls: collectives that this is cut into.
    """
    if world == 1:
        return Traffic()
    inside = min(world, per_node)
    nodes = world // inside
    return Traffic(
        times * size * (inside - 1) / inside, times * size / inside * (nodes - 1) / nodes, times * calls
    )


@dataclass(frozen=True)
class Volume:
    """What a strategy sends in a step: bytes of whole tensors, and how often each goes round."""

    gradients: float
    gradient_rounds: int
    """While the backward pass goes on."""
    weights: float = 0.0
    weight_rounds: int = 0
    """While networks compute."""
    updated: float = 0.0
    """All-gathered once after the optimiser."""


def volume(strategy: str, parameters: int, master: int, compute: int, accumulate: int) -> Volume:
    """Gradients and weights that a step moves.

    ddp all-reduces gradients in the master dtype. ZeRO-1 and 2 reduce-scatter them in the computing dtype
    and all-gather the new weights; ZeRO-2 does the first for each micro batch. ZeRO-3 and fsdp2 all-gather
    weights in the forward and again in the backward pass and reduce-scatter gradients, for each micro batch;
    fsdp2 reduces in the master dtype.

    Args:
        strategy: one of `mien.plan.memory.STRATEGIES`.
        parameters: how many are trained.
        master: bytes of a master weight.
        compute: bytes of a weight in the dtype of the computation.
        accumulate: micro batches a step.
    """
    wide, narrow = float(parameters * master), float(parameters * compute)
    if strategy == "ddp":
        return Volume(wide, 2)
    if strategy == "zero1":
        return Volume(narrow, 1, updated=narrow)
    if strategy == "zero2":
        return Volume(narrow, accumulate, updated=narrow)
    if strategy == "zero3":
        return Volume(narrow, accumulate, narrow, 2 * accumulate)
    assert strategy == "fsdp2", strategy
    return Volume(wide, accumulate, narrow, 2 * accumulate)


def strategy_traffic(moved: Volume, world: int, per_node: int) -> Traffic:
    """Traffic of a volume."""
    parts = (
        (moved.gradients, moved.gradient_rounds),
        (moved.weights, moved.weight_rounds),
        (moved.updated, 1),
    )
    total = Traffic()
    for size, rounds in parts:
        if size and rounds:
            total += shared(size, world, per_node, rounds)
    return total


def features(sent: Iterable[Sent], world: int, per_node: int) -> Traffic:
    """Traffic of the collectives of the loss, recorded on `world` ranks."""
    total = Traffic()
    for kind, size in sent:
        if kind == "ring":  # neighbours on other nodes hold everybody up
            between = world > per_node
            total += Traffic(0.0 if between else size, size if between else 0.0, world - 1)
        else:
            total += shared(size, world, per_node, 2 if kind == "all_reduce" else 1)
    return total


def seconds(traffic: Traffic, gpu: Gpu, world: int, per_node: int, assume: Assumptions) -> float:
    """Time of the traffic where nothing hides it."""
    nodes = max(1, world // per_node)
    latency = assume.latency_node_s + assume.latency_network_s * math.log2(nodes)
    flow = traffic.node / gpu.link + traffic.network / gpu.nic
    return flow / assume.network_efficiency + traffic.collectives * latency
