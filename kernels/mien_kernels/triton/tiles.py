"""Tile sizes of the kernels: a small table that is read, never tuned at run time.

`python -m mien_kernels.triton.tune` measures candidates on the card at hand and prints lines for the table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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

TABLE: dict[tuple[str, int], Tile] = {
    ("NVIDIA H100", 16): Tile(128, 128, 64, 8, 3),
    ("NVIDIA H200", 16): Tile(128, 128, 64, 8, 3),
    ("NVIDIA A100", 16): Tile(128, 128, 64, 8, 3),
    ("NVIDIA H100", 32): Tile(64, 128, 32, 8, 3),
    ("NVIDIA H200", 32): Tile(64, 128, 32, 8, 3),
    ("NVIDIA A100", 32): Tile(64, 128, 32, 8, 3),
}
"""(card, bits of the inputs) -> tile. Chosen so that shared memory suffices and registers do not spill
(`ptxas -v`, tests/kernels/test_device_code.py); not yet measured on the cards."""


def tile_for(tensor: torch.Tensor) -> Tile:
    """The tile for embeddings like ``tensor``, by its card and dtype."""
    if interpreted():
        return INTERPRETED
    name, bits = torch.cuda.get_device_name(tensor.device), 8 * tensor.element_size()
    for (card, width), tile in TABLE.items():
        if name.startswith(card) and width == bits:
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
