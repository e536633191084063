"""Bytes on a GPU by part, for each strategy (Rajbhandari et al., ZeRO, arXiv 1910.02054, section 3 and 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from torch import nn

from mien.plan.assume import Assumptions

STRATEGIES = ("ddp", "zero1", "zero2", "zero3", "fsdp2")
"""What can be planned. Of one GPU only `ddp`, which then sends nothing, and what offloads."""

_BUCKET = 200_000_000
"""Numbers in DeepSpeed's bucket for reducing, as Lightning sets it."""


@dataclass(frozen=True)
class Weights:
    """Parameters of a module, in numbers."""

    parameters: int
    trained: int
    block: int
    """The largest of the parts that ZeRO-3 and fsdp2 fetch one by one."""
    rest: int
    """What is in no such part; ZeRO-3 and fsdp2 keep it whole from forward to backward."""
    buffers: int
    """Bytes."""

    @classmethod
    def of(cls, module: nn.Module) -> Weights:
        """Count a module; its parts are the members of the outermost module lists in it."""
        parameters = list(module.parameters())
        sizes = [sum(p.numel() for p in block.parameters()) for block in _blocks(module)]
        total = sum(p.numel() for p in parameters)
        return cls(
            total,
            sum(p.numel() for p in parameters if p.requires_grad),
            max(sizes, default=0),
            total - sum(sizes),
            sum(b.nbytes for b in module.buffers()),
        )


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


@dataclass(frozen=True)
class Layout:
    """How a step is laid over GPUs."""

    strategy: str
    micro: int
    """Samples of a micro batch on one GPU."""
    accumulate: int
    """Micro batches a step."""
    checkpointing: bool
    world: int
    per_node: int
    offload: bool = False
    """Whether the optimiser's moments and master weights lie in host memory."""

    @property
    def name(self) -> str:
        """Short, for tables."""
        return self.strategy + ("-offload" if self.offload else "")


@dataclass(frozen=True)
class Activity:
    """Bytes that a step needs while it runs, on one GPU, beside weights and gradients."""

    held: float
    """Live between forward and backward, of the networks, without `copies`."""
    copies: float
    """Weights in the dtype of the computation, kept by autocast."""
    objective: float
    """What the loss adds to `held` at the moment when memory is highest, if that moment is the loss's."""
    temporary: float
    """What the networks add to `held` at that moment, if it is theirs."""
    grown: float
    """Highest with gradients as they come, for one process that frees them after each step, from zero."""

    @property
    def peak(self) -> float:
        """Highest, without gradients."""
        return self.held + self.copies + self.objective + self.temporary


def activity(encode: dict[str, float], objective: dict[str, float]) -> Activity:
    """Memory of both halves one after the other: networks forward, loss, networks backward.

    Args:
        encode: `forward_peak`, `held`, `copies`, `backward_peak`, `backward_peak_with_gradients` of the
            networks, bytes.
        objective: the same of the loss; its memory lies on top of what the networks hold.
    """
    held = encode["held"]
    networks = max(encode["forward_peak"], encode["backward_peak"])
    loss = held + max(objective["forward_peak"], objective["backward_peak"])
    above = max(networks, loss, held) - held
    return Activity(
        held=held - encode["copies"],
        copies=encode["copies"],
        objective=above if loss >= networks else 0.0,
        temporary=0.0 if loss >= networks else above,
        grown=max(encode["forward_peak"], loss, encode["backward_peak_with_gradients"]),
    )


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU at the moment when most are in use."""

    weights: float
    copies: float
    """In the dtype of the computation: autocast's, or the blocks that ZeRO-3 and fsdp2 have fetched."""
    gradients: float
    optimizer: float
    """Moments and master weights."""
    ema: float
    activations: float
    objective: float
    """Of the loss: gathered embeddings, similarities, lists."""
    temporary: float
    buckets: float
    batch: float
    """This micro batch and the next, and the module's buffers."""
    context: float
    """CUDA, libraries, communicators, fragmentation."""

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return sum(asdict(self).values())

    @property
    def tensors(self) -> float:
        """Without `context`: what `torch.cuda.max_memory_allocated` counts."""
        return self.total - self.context


def memory(
    layout: Layout,
    weights: Weights,
    used: Activity,
    batch: float,
    assume: Assumptions,
    *,
    master: int = 4,
    compute: int = 2,
    ema: bool = False,
    moments: float | None = None,
) -> Memory:
    """Memory of a layout.

    Args:
        layout: strategy and micro batch.
        weights: of the module.
        used: of a micro batch.
        batch: bytes of a micro batch.
        assume: allowances.
        master: bytes of a master weight; an average has the same.
        compute: bytes of a weight in the dtype of the computation.
        ema: whether the run keeps an average.
        moments: bytes of a weight's moments together; None: two like the master weight.
    """
    held = _static(layout, weights, master, compute, 2.0 * master if moments is None else moments)
    gradients, copies = held["gradients"], held["copies"]
    if layout.strategy == "ddp":
        copies += used.copies
        if layout.world == 1 and layout.accumulate == 1:  # gradients come while activations go
            peak = max(used.grown, gradients)
            gradients = max(0.0, peak - used.peak)
    averaged = master * weights.trained if ema else 0
    tensors = {
        "weights": held["weights"],
        "copies": copies,
        "gradients": gradients,
        "optimizer": 0.0 if layout.offload else held["optimizer"],
        "ema": averaged / (layout.world if layout.strategy in ("zero3", "fsdp2") else 1),
        "activations": used.held,
        "objective": used.objective,
        "temporary": used.temporary,
        "buckets": held["buckets"],
        "batch": 2 * batch + weights.buffers,
    }
    total = sum(tensors.values())
    context = assume.context + (assume.communicator if layout.world > 1 else 0) + assume.fragmentation * total
    return Memory(**tensors, context=context)


def host_bytes(layout: Layout, weights: Weights, master: int = 4) -> float:
    """Host memory that offloading takes on each node."""
    if not layout.offload:
        return 0.0
    return 3.0 * master * weights.trained / layout.world * min(layout.world, layout.per_node)


def _static(layout: Layout, weights: Weights, master: int, compute: int, moments: float) -> dict[str, float]:
    """Weights, gradients and optimiser; P parameters, W ranks.

    ddp keeps all of it in the master dtype. DeepSpeed's stages compute with weights in the computing dtype
    and divide moments and master weights (1), gradients too (2), weights too (3). fsdp2 divides everything in
    the master dtype. Stage 3 and fsdp2 hold the block they compute with, whole, the next one, and what is in
    no block.
    """
    total, trained, world = weights.parameters, weights.trained, layout.world
    state = moments * trained
    if layout.strategy == "ddp":
        return _parts(master * total, 0, master * trained, state, 0)
    whole = min(weights.rest + 2 * weights.block, total)
    bucket = compute * min(trained, _BUCKET)
    divided = (state + master * trained) / world
    if layout.strategy == "zero1":
        return _parts(compute * total, 0, compute * trained, divided, bucket)
    if layout.strategy == "zero2":
        return _parts(compute * total, 0, compute * trained / world, divided, bucket)
    if layout.strategy == "zero3":
        return _parts(compute * total / world, compute * whole, compute * trained / world, divided, bucket)
    assert layout.strategy == "fsdp2", layout.strategy
    unsharded = master * max(weights.rest, weights.block)
    return _parts(master * total / world, compute * whole, master * trained / world, state / world, unsharded)


def _parts(
    weights: float, copies: float, gradients: float, optimizer: float, buckets: float
) -> dict[str, float]:
    return {
        "weights": weights,
        "copies": copies,
        "gradients": gradients,
        "optimizer": optimizer,
        "buckets": buckets,
    }
