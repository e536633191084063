"""Which back end computes an op."""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType

import torch

BACKENDS = ("dense", "chunked", "triton")
"""Of every op. All give the same numbers."""

DENSE_PAIRS = 1 << 22
"""Up to so many pairs (2,048 x 2,048) ``auto`` takes whole matrices: they cost less than tiles do."""


def choose_backend(
    op: str,
    backend: str = "auto",
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    pairs: int = 0,
) -> str:
    """Name of the back end that computes an op.

    Args:
        op: ``contrast``, ``mine`` or ``group_patches``; for the message.
        backend: a name, or ``auto``: ``dense`` up to ``DENSE_PAIRS`` pairs, beyond that ``triton`` on CUDA
            (where it is installed; not for fp64), else ``chunked``.
        device: of the tensors.
        dtype: of the tensors.
        pairs: rows times candidates: the numbers of a whole matrix.

    Raises:
        ValueError: with the known names, if there is no such back end; if it cannot run on that device.
    """
    if backend == "auto":
        return "dense" if pairs <= DENSE_PAIRS else _tiled(torch.device(device), dtype)
    if backend not in BACKENDS:
        raise ValueError(f"unknown back end {backend!r} for {op}: choose one of auto, {', '.join(BACKENDS)}")
    if backend == "triton" and torch.device(device).type != "cuda" and not interpreted():
        raise ValueError("back end 'triton' needs tensors on CUDA, or TRITON_INTERPRET=1 for tests")
    return backend


def load_backend(op: str, backend: str) -> ModuleType:
    """Module of an op in a back end that ``choose_backend`` names."""
    return importlib.import_module(f"{__package__}.{backend}.{op}")


def interpreted() -> bool:
    """Whether Triton was told to run its kernels in the interpreter, on any device."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")


def _tiled(device: torch.device, dtype: torch.dtype) -> str:
    """The back end for sizes at which whole matrices cost too much."""
    fused = (
        device.type == "cuda" and dtype != torch.float64 and importlib.util.find_spec("triton") is not None
    )
    return "triton" if fused else "chunked"
