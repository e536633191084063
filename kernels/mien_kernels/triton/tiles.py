"""Tile sizes of the kernels: a small table that is read, never tuned at run time.

`python -m mien_kernels.triton.tune` measures candidates on the card at hand and prints lines for the table.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
import triton.language as tl

from ..backends import interpreted


class Tile(NamedTuple):
    """Rows, columns and depth of a tile of logits, and how a program is run."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


INTERPRETED = Tile(16, 16, 16, 1, 1)
SAFE = Tile(64, 64, 32, 4, 2)
"""Fits every card since Volta, in fp32 too."""

Kernel = Literal["sums", "gradient", "listed", "mine"]
"""`listed` is `gradient` where lists take pairs out, which costs registers."""

_HALF, _FULL = Tile(128, 128, 64, 8, 3), Tile(64, 128, 32, 8, 3)
TABLE: dict[tuple[str, Kernel, int], Tile] = {
    ("NVIDIA H200", "sums", 16): Tile(128, 64, 64, 4, 4),
    ("NVIDIA H200", "sums", 32): Tile(128, 64, 32, 4, 3),
    ("NVIDIA H200", "gradient", 16): Tile(128, 128, 64, 4, 3),
    ("NVIDIA H200", "listed", 16): Tile(128, 64, 64, 4, 4),
    ("NVIDIA H200", "gradient", 32): Tile(64, 128, 32, 4, 4),
    ("NVIDIA H200", "listed", 32): _FULL,
    ("NVIDIA H200", "mine", 32): Tile(64, 128, 32, 4, 3),
    ("NVIDIA A100", "sums", 16): _HALF,
    ("NVIDIA A100", "sums", 32): _FULL,
    ("NVIDIA A100", "gradient", 16): _HALF,
    ("NVIDIA A100", "listed", 16): _HALF,
    ("NVIDIA A100", "gradient", 32): _FULL,
    ("NVIDIA A100", "listed", 32): _FULL,
    ("NVIDIA A100", "mine", 32): _FULL,
}
"""(card, kernel, bits of the inputs) -> tile. Those of the H200 are what `tune` found on one; those of the
A100 have room and do not spill registers (`ptxas -v`, tests/kernels/test_device_code.py), not measured."""

SAME = {"NVIDIA H100": "NVIDIA H200"}
"""Cards of the same processor."""


def tile_for(tensor: torch.Tensor, kernel: Kernel) -> Tile:
    """The tile of a kernel for embeddings like ``tensor``, by its card and dtype."""
    if interpreted():
        return INTERPRETED
    name, bits = torch.cuda.get_device_name(tensor.device), 8 * tensor.element_size()
    for card, same in SAME.items():
        if name.startswith(card):
            name = same
    for (card, of, width), tile in TABLE.items():
        if name.startswith(card) and (of, width) == (kernel, bits):
            return tile
    return SAFE


def options(tile: Tile, exact: torch.dtype) -> dict[str, Any]:
    """What every kernel on tiles of logits is told: its sizes, and the dtype of its sums."""
    return {
        "ACC": tl.float64 if exact == torch.float64 else tl.float32,
        "BLOCK_R": tile.rows,
        "BLOCK_C": tile.columns,
        "BLOCK_D": tile.depth,
        "num_warps": tile.warps,
        "num_stages": tile.stages,
    }


def rule_options(keys: torch.Tensor | None, rules: tuple[tuple[int, ...], ...]) -> dict[str, int]:
    """Rules of tags as the kernels read them: bit rule * KEYS + key of MEMBERS says that a key belongs to a
    rule."""
    count = 0 if keys is None else keys.shape[1]
    members = sum(1 << (place * count + key) for place, rule in enumerate(rules) for key in rule)
    return {"KEYS": count, "RULES": len(rules), "MEMBERS": members}
