"""A step of a recipe counted on shapes: operators, memory over time, bytes sent."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mien import systems
from mien.errors import RunError
from mien.plan.fake import RealIntegers, empty_like, fake_floats, new_fake_mode, ranks
from mien.plan.trace import Kernel, Recorder, Sent
from mien.recipe import Recipe


@dataclass(frozen=True)
class Half:
    """One half of a step (`encode` or `objective` of `Planned`), forward and backward. Bytes.

    Gradients of parameters are left out of the memory, except where stated: who holds them depends on the
    strategy.
    """

    forward: Counter[Kernel]
    backward: Counter[Kernel]
    forward_peak: int
    """Highest during the forward pass."""
    held: int
    """Live between the two passes: what the backward pass waits for, and the outputs."""
    copies: int
    """Of `held`: parameters in the dtype of the computation, made by autocast."""
    backward_peak: int
    """Highest during the backward pass."""
    backward_peak_with_gradients: int
    """The same with gradients of parameters as they come."""
    sent: tuple[Sent, ...] = ()

    @property
    def flops(self) -> int:
        """Of both passes."""
        return sum(k.flops * n for part in (self.forward, self.backward) for k, n in part.items())

    @property
    def launches(self) -> int:
        """Kernels of both passes."""
        return self.forward.total() + self.backward.total()


class Model:
    """A recipe's module on shapes.

    Args:
        recipe: what to train.
        checkpointing: recompute activations in the backward pass?

    Raises:
        RunError: for a system that cannot be planned, or networks that cannot be built.
    """

    def __init__(self, recipe: Recipe, checkpointing: bool) -> None:
        system = systems.get(recipe.system)
        if system.planned is None:
            raise RunError(
                f"system {system.name} has no batch to plan with", where="system", fix="plan another"
            )
        self.recipe = recipe
        self.fake = new_fake_mode()
        self.planned = system.planned(recipe, checkpointing)
        with quietly(), torch.device("meta"):
            self.module = system.build(self.planned.recipe)
        empty_like(self.module, self.fake)
        with self._on_shapes(), torch.no_grad():
            self._outputs = [x.shape[1:] for x in self.planned.encode(self.module, self._batch(2))]

    def encode(self, micro: int) -> Half:
        """The networks on a micro batch."""
        batch = self._batch(micro)
        with self._on_shapes():
            return record(
                self.module, lambda: self.planned.encode(self.module, batch), lambda: autocast(self.recipe)
            )

    def objective(self, micro: int, world: int) -> Half:
        """The loss of a micro batch on each of `world` ranks, at the end of the run (schedules are over)."""
        batch, step = self._batch(micro), self.recipe.engine.max_steps - 1
        with self.fake:
            leaves = tuple(torch.empty(micro, *shape, requires_grad=True) for shape in self._outputs)
        with ranks(world), self._on_shapes():
            return record(
                self.module,
                lambda: self.planned.objective(self.module, leaves, batch, step),
                lambda: autocast(self.recipe),
                known=leaves,
            )

    def batch_bytes(self, micro: int) -> int:
        """Bytes of a micro batch as it arrives on the device."""
        return sum(x.nbytes for x in self.planned.batch(micro).values())

    def _batch(self, micro: int) -> dict[str, Any]:
        return fake_floats(self.planned.batch(micro), self.fake)

    @contextlib.contextmanager
    def _on_shapes(self) -> Iterator[None]:
        with self.fake, RealIntegers(self.fake):
            yield


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without open_clip's warning of random weights, which is all that shapes have."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def autocast(recipe: Recipe) -> contextlib.AbstractContextManager[Any]:
    """bf16 on the CPU where the recipe asks for it: the dtypes of tensors are those that CUDA would use."""
    if recipe.engine.precision != "bf16":
        return contextlib.nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)


def record(
    module: nn.Module,
    forward: Callable[[], Tensor | tuple[Tensor, ...]],
    around: Callable[[], contextlib.AbstractContextManager[Any]],
    known: Iterable[Tensor] = (),
) -> Half:
    """Run a forward pass and the backward pass of its outputs, and note both; gradients are dropped after.

    Args:
        module: whose parameters and buffers are there already.
        forward: gives a tensor or a tuple of tensors.
        around: what the forward pass runs in.
        known: further tensors that are there already.
    """
    parameters = list(module.parameters())
    there = [*parameters, *module.buffers(), *known]
    recorder = Recorder(there, parameters)
    with recorder:
        with around():
            outputs = forward()
        recorder.mark()
        before = Counter(recorder.trace.kernels)
        roots = [x for x in (outputs if isinstance(outputs, tuple) else (outputs,)) if x.requires_grad]
        torch.autograd.backward(roots, [torch.ones_like(x) for x in roots])
        recorder.mark()
    trace = recorder.trace
    found = (recorder.number_of(x.grad) for x in there if x.grad is not None)
    gradients = {number for number in found if number is not None}
    middle, end = trace.marks
    half = Half(
        forward=before,
        backward=trace.kernels - before,
        forward_peak=trace.peak(0, middle),
        held=trace.live(middle),
        copies=trace.copies[0],
        backward_peak=trace.peak(middle, end, gradients),
        backward_peak_with_gradients=trace.peak(middle, end),
        sent=tuple(trace.sent),
    )
    for tensor in there:
        tensor.grad = None
    return half
