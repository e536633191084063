"""Which back end computes an op."""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType

import torch

BACKENDS: dict[str, tuple[str, ...]] = {
    "contrast": ("dense", "chunked", "triton"),
    "mine": ("dense", "chunked", "triton"),
    "group_patches": ("dense", "chunked", "triton"),
}
"""Op -> its back ends. All give the same numbers."""

_ROOMS = {"contrast": "negatives"}  # what tiled back ends call the heart of an op

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
        op: ``contrast``, ``mine`` or ``group_patches``.
        backend: a name, or ``auto``: ``dense`` up to ``DENSE_PAIRS`` pairs, beyond that ``triton`` on CUDA
            (where it is installed; not for fp64), else ``chunked``.
        device: of the tensors.
        dtype: of the tensors.
        pairs: rows times candidates.

    Raises:
        ValueError: with the known names, if there is no such back end; if it cannot run on that device.
    """
    known = BACKENDS[op]
    if backend == "auto":
        return "dense" if pairs <= DENSE_PAIRS else _tiled(torch.device(device), dtype)
    if backend not in known:
        raise ValueError(f"unknown back end {backend!r} for {op}: choose one of auto, {', '.join(known)}")
    if backend == "triton" and torch.device(device).type != "cuda" and not _interpreted():
        raise ValueError("back end 'triton' needs tensors on CUDA, or TRITON_INTERPRET=1 for tests")
    return backend


def load_backend(op: str, backend: str) -> ModuleType:
    """Module of a back end that ``choose_backend`` names."""
    room = op if backend == "dense" else _ROOMS.get(op, op)
    return importlib.import_module(f"{__package__}.{backend}.{room}")


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _tiled(device: torch.device, dtype: torch.dtype) -> str:
    """The back end for sizes at which whole matrices cost too much."""
    fused = (
        device.type == "cuda" and dtype != torch.float64 and importlib.util.find_spec("triton") is not None
    )
    return "triton" if fused else "chunked"
