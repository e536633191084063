"""What a piece of a step allocates, computes and sends, seen operator by operator."""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count, shape_wrapper

import mien_kernels.ring  # noqa: F401  (registers its operators)

aten = torch.ops.aten
_SILENT = {
    aten.empty,
    aten.empty_strided,
    aten.empty_like,
    aten.new_empty,
    aten.new_empty_strided,
    aten.detach,
}
"""Operators that start no kernel, besides views."""


def _sdpa(query: Any, key: Any, value: Any, *args: Any, **options: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _sdpa_backward(gradient: Any, query: Any, key: Any, value: Any, *args: Any, **options: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def _ring(a: Any, c: Any, *args: Any, **options: Any) -> int:
    return 2 * a[0] * c[0] * a[1] * dist.get_world_size()


def _ring_backward(*args: Any, **options: Any) -> int:
    a, c = args[6], args[7]
    return 6 * a[0] * c[0] * a[1] * dist.get_world_size()


FORMULAS = {
    aten._scaled_dot_product_flash_attention_for_cpu: _sdpa,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _sdpa_backward,
    torch.ops.mien_kernels.ring: _ring,
    torch.ops.mien_kernels.ring_backward: _ring_backward,
}
"""FLOPs from shapes, where torch's counter has no formula: its own of attention, for the operator that a CPU
takes, and those of the contrast in a ring. Give them to `FlopCounterMode(custom_mapping=...)`."""

_ON_TENSORS = {operator: shape_wrapper(formula) for operator, formula in FORMULAS.items()}


class Kernel(NamedTuple):
    """One operator: what a roofline needs of it."""

    flops: int
    bytes: int
    """Read and written, each tensor once."""
    dtype: torch.dtype | None
    """Of its first floating input."""


class Sent(NamedTuple):
    """One collective on all ranks."""

    kind: str
    """all_gather, reduce_scatter, all_reduce or ring."""
    bytes: int
    """Of the whole tensor: what an all-gather gives, what the other two take; of a ring all that passes."""


@dataclass
class Trace:
    """A record of what happened between entering and leaving a `Recorder`."""

    kernels: Counter[Kernel] = field(default_factory=Counter)
    sent: list[Sent] = field(default_factory=list)
    events: list[tuple[int, int]] = field(default_factory=list)
    """(storage number, signed bytes) in the order of allocation and release."""
    copies: list[int] = field(default_factory=list)
    """Bytes of live copies of parameters in another dtype, at each mark."""
    marks: list[int] = field(default_factory=list)
    """Places in `events` noted by `mark`."""

    @property
    def flops(self) -> int:
        """FLOPs of all kernels."""
        return sum(kernel.flops * count for kernel, count in self.kernels.items())

    @property
    def launches(self) -> int:
        """Kernels started."""
        return sum(self.kernels.values())

    def live(self, at: int, without: Iterable[int] = ()) -> int:
        """Bytes live after `at` events, not counting some storages."""
        left_out = set(without)
        return sum(size for number, size in self.events[:at] if number not in left_out)

    def peak(self, start: int, stop: int, without: Iterable[int] = ()) -> int:
        """Most bytes live at once between two places in `events`."""
        left_out = set(without)
        now = highest = self.live(start, left_out)
        for number, size in self.events[start:stop]:
            if number not in left_out:
                now += size
                highest = max(highest, now)
        return highest


class Recorder(TorchDispatchMode):
    """Fills a `Trace`; works on real and on fake tensors alike.

    Args:
        known: tensors whose memory is counted elsewhere (parameters, buffers, the batch).
        parameters: of these, the ones whose copies in another dtype are noted.
    """

    def __init__(self, known: Iterable[Tensor] = (), parameters: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.trace = Trace()
        self._numbers: dict[int, int] = {}
        self._copies: dict[int, int] = {}
        self._next = 0
        self._known = {x.untyped_storage()._cdata for x in known}
        self._weights = {x.untyped_storage()._cdata for x in parameters}
        self._references: dict[int, Any] = {}

    def mark(self) -> None:
        """Note this moment."""
        self.trace.marks.append(len(self.trace.events))
        self.trace.copies.append(sum(self._copies.values()))

    def number_of(self, tensor: Tensor) -> int | None:
        """Number of a live tensor's storage in `events`, None if it was there before."""
        return self._numbers.get(tensor.untyped_storage()._cdata)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator and note it."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.namespace == "prim":  # a question such as which device a fake tensor stands for
            return out
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        outputs = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        new = [number for x in outputs if (number := self._note(x)) is not None]
        if func is aten._to_copy.default and new and inputs[0].untyped_storage()._cdata in self._weights:
            self._copies[new[0]] = _bytes(outputs[0])
        if func.namespace in ("c10d", "_c10d_functional"):
            self._send(func, args, inputs, outputs)
        elif not func.is_view and func.overloadpacket not in _SILENT:
            self._count(func, args, kwargs, out, inputs, outputs)
        return out

    def _note(self, tensor: Tensor) -> int | None:
        """Number of the storage if it is new."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._numbers or key in self._known or not size:
            return None
        number, self._next = self._next, self._next + 1
        self._numbers[key] = number
        self.trace.events.append((number, size))

        def gone(_: Any) -> None:
            self.trace.events.append((number, -size))
            self._copies.pop(number, None)
            if self._numbers.get(key) == number:
                del self._numbers[key], self._references[key]

        self._references[key] = weakref.ref(storage, gone)
        return number

    def _count(
        self, func: Any, args: Any, kwargs: Any, out: Any, inputs: list[Tensor], outputs: list[Tensor]
    ) -> None:
        packet = func._overloadpacket
        formula = _ON_TENSORS.get(packet) or flop_registry.get(packet)
        flops = int(formula(*args, **kwargs, out_val=out)) if formula is not None else 0
        floating = next((x.dtype for x in inputs if x.is_floating_point()), None)
        moved = {id(x): _bytes(x) for x in (*inputs, *outputs)}
        self.trace.kernels[Kernel(flops, sum(moved.values()), floating)] += 1
        name = func.name()
        if name in ("mien_kernels::ring", "mien_kernels::ring_backward"):
            self._ring(name, inputs, args)

    def _ring(self, name: str, inputs: list[Tensor], args: Any) -> None:
        """A shard goes round once; in the backward pass its gradient goes with it, all the way home."""
        shard = args[7] if name.endswith("backward") else args[1]
        hops = dist.get_world_size() - 1
        size = _bytes(shard) * (hops if name.endswith("ring") else 2 * hops + 1)
        self.trace.sent.append(Sent("ring", size))

    def _send(self, func: Any, args: Any, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        name, largest = func.name(), max((_bytes(x) for x in (*inputs, *outputs)), default=0)
        for kind, word in _KINDS.items():
            if word in name:
                self.trace.sent.append(Sent(kind, largest))
                return


_KINDS = {"all_gather": "allgather", "reduce_scatter": "reduce_scatter", "all_reduce": "allreduce"}


def _bytes(tensor: Tensor) -> int:
    """Bytes that reading a tensor moves; what is expanded is read once."""
    sizes = (n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return math.prod(sizes) * tensor.element_size()
