"""A system's own code run on shapes: no numbers are computed, no memory is held, no rank is started.

Floating tensors are torch's fake tensors. Integers and booleans that come from the batch stay real, because
the code branches on them: which sentences are there, how long they are, which ones repeat.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
_INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index.Tensor}


def new_fake_mode() -> FakeTensorMode:
    """A mode that lets real and fake tensors meet."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def empty_like(module: nn.Module, fake: FakeTensorMode) -> nn.Module:
    """Replace parameters and buffers of a module on `meta` by fake CPU tensors, in place.

    A tensor that two modules share stays shared.
    """
    made: dict[int, Tensor] = {}

    def convert(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            with fake:
                new = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
            keep = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = nn.Parameter(new, requires_grad=tensor.requires_grad) if keep else new
        return made[id(tensor)]

    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in list(held.items()):
                if tensor is not None:
                    held[name] = convert(tensor)  # type: ignore[assignment]
    return module


def fake_floats(batch: dict[str, Any], fake: FakeTensorMode) -> dict[str, Any]:
    """The batch with fake images and other arrays of which nothing depends on the values."""
    heavy = lambda tensor: tensor.is_floating_point() or tensor.dtype == torch.uint8  # noqa: E731
    return {
        key: fake.from_tensor(value) if isinstance(value, Tensor) and heavy(value) else value
        for key, value in batch.items()
    }


@contextlib.contextmanager
def ranks(world: int) -> Iterator[None]:
    """Be rank 0 of `world` ranks whose collectives have shapes and send nothing; 1 is no group at all."""
    if world == 1:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world)
        try:
            yield
        finally:
            dist.destroy_process_group()


class RealIntegers(TorchDispatchMode):
    """Computes what depends on integers alone, and leaves the rest to the fake mode below it.

    Where code asks a fake tensor for values, the answer is that of a batch without surprises: `nonzero` finds
    nothing (no ties, nothing that is not finite), a number read is 1.
    """

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self.fake = fake

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator."""
        kwargs = kwargs or {}
        if func.namespace == "prim":
            return func(*args, **kwargs)
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        imagined = [x for x in tensors if isinstance(x, FakeTensor)]
        if not tensors:
            return self._make(func, args, kwargs)
        if not imagined:
            if any(x.is_floating_point() for x in tensors):
                return func(*self._imagine(args), **self._imagine(kwargs))
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func is aten.nonzero.default:
            with unset_fake_temporarily():
                return torch.empty(0, tensors[0].ndim, dtype=torch.int64)
        if func is aten._local_scalar_dense.default:
            return torch.ones((), dtype=tensors[0].dtype).item() if tensors[0].dtype != torch.bool else False
        if func in _INDEXED:
            args = (args[0], self._places(args[1]), *args[2:])
        if len(imagined) < len(tensors) or func in _INDEXED:
            args, kwargs = self._imagine(args), self._imagine(kwargs)
        return func(*args, **kwargs)

    def _make(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A new tensor: real if it holds integers."""
        dtype = kwargs.get("dtype")
        whole = dtype is not None and not dtype.is_floating_point and not dtype.is_complex
        if dtype is None and func.overloadpacket is aten.arange:
            whole = all(isinstance(value, int) for value in args)
        if not whole:
            return func(*args, **kwargs)
        with unset_fake_temporarily():
            return func(*args, **kwargs)

    @staticmethod
    def _places(indices: Any) -> list[Any]:
        """Boolean masks as the numbers of what they choose: only their values tell how many that is."""
        result: list[Any] = []
        with unset_fake_temporarily():
            for index in indices:
                real = index is not None and not isinstance(index, FakeTensor)
                if real and index.dtype in (torch.bool, torch.uint8):
                    result += index.nonzero().unbind(1)
                else:
                    result.append(index)
        return result

    def _imagine(self, tree: Any) -> Any:
        def convert(x: Tensor) -> Tensor:
            return x if isinstance(x, FakeTensor) else self.fake.from_tensor(x)

        return tree_map_only(Tensor, convert, tree)
