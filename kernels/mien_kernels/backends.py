"""Which back end computes an op."""

from __future__ import annotations

from types import ModuleType

from .dense import contrast as dense_contrast
from .dense import group_patches as dense_group_patches
from .dense import mine as dense_mine

BACKENDS: dict[str, dict[str, ModuleType]] = {
    "contrast": {"dense": dense_contrast},
    "mine": {"dense": dense_mine},
    "group_patches": {"dense": dense_group_patches},
}
"""Op -> back end -> module. All modules of an op have the same functions and give the same numbers."""


def choose_backend(op: str, backend: str = "auto") -> str:
    """Name of the back end that ``op`` runs on; ValueError, with the known names, if there is none."""
    known = BACKENDS[op]
    if backend == "auto":
        return "dense"
    if backend not in known:
        raise ValueError(f"unknown back end {backend!r} for {op}: choose one of auto, {', '.join(known)}")
    return backend


def load_backend(op: str, backend: str) -> ModuleType:
    """Module of the back end that ``choose_backend`` names."""
    return BACKENDS[op][choose_backend(op, backend)]
