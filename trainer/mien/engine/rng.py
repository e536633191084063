"""Every random generator of a process: seed, read, restore. States are plain types: no pickle needed."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils import deterministic


def seed(number: int, *, rank: int = 0, step: int = 0) -> None:
    """Seed python, numpy and torch (all devices) from (seed, rank, step), each with a stream of its own."""
    words = np.random.SeedSequence([number, rank, step]).generate_state(4, np.uint32)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed((int(words[2]) << 31) ^ int(words[3]))


def state() -> dict[str, Any]:
    """State of python, numpy, torch and the current CUDA device."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    found: dict[str, Any] = {
        "python": [version, torch.tensor(words, dtype=torch.int64), gauss],
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def restore(saved: dict[str, Any]) -> None:
    """Bring back what `state` read; a CUDA state is left out on a machine without CUDA."""
    version, words, gauss = saved["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    kind, keys, position, has_gauss, cached = saved["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(saved["torch"])
    if "cuda" in saved and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved["cuda"])


@contextlib.contextmanager
def preserved() -> Iterator[None]:
    """Run a block that may draw numbers (such as validation) without moving the generators of training."""
    before = state()
    try:
        yield
    finally:
        restore(before)


def determinism(wanted: bool) -> None:
    """Ask torch for deterministic kernels, with a warning where there is none."""
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    # Filling every torch.empty with NaN is a debugging aid that costs time and changes no result here.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
