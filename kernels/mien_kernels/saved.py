"""What an op keeps for its backward pass: its inputs, tensors or not, and some of its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def save(ctx: Any, inputs: Sequence[Any], results: Sequence[Tensor]) -> None:
    """Keep results and inputs; tensors through autograd, which checks that nobody changes them."""
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    ctx.save_for_backward(*results, *tensors)
    ctx.results = len(results)
    ctx.plain = [None if isinstance(value, Tensor) else (value,) for value in inputs]


def restore(ctx: Any) -> tuple[Sequence[Tensor], list[Any]]:
    """The results and the inputs, in the order in which they were kept."""
    kept_tensors = ctx.saved_tensors  # once: under gradient checkpointing each reading unpacks them
    tensors = iter(kept_tensors[ctx.results :])
    return kept_tensors[: ctx.results], [next(tensors) if kept is None else kept[0] for kept in ctx.plain]
