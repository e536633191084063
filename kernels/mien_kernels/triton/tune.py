"""Measure tiles on the card at hand: `python -m mien_kernels.triton.tune [--rows 16384] [--depth 512]`.

Prints every candidate and, last, lines for the table in `tiles.py`. Never runs by itself.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys

import torch
from torch.nn import functional as F
from triton.runtime.errors import OutOfResources

from ..backends import interpreted
from ..masks import Masks
from . import negatives
from .tiles import Tile

CANDIDATES = tuple(
    Tile(rows, columns, depth, warps, stages)
    for rows, columns, depth, warps, stages in itertools.product(
        (64, 128), (64, 128, 256), (32, 64), (4, 8), (2, 3, 4)
    )
)


def measure(tile: Tile, rows: int, depth: int, dtype: torch.dtype, repeats: int = 5) -> float | None:
    """Median milliseconds of forward and backward of both directions; None where the tile does not fit."""
    a, c = (F.normalize(torch.randn(rows, depth, device="cuda"), dim=1).to(dtype) for _ in range(2))
    scale, weight = torch.tensor(50.0, device="cuda"), torch.full((rows,), 1 / rows, device="cuda")
    masks, times = Masks(diagonal=0), []
    try:
        for _ in range(repeats + 1):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            sums = negatives.forward(a, c, scale, None, masks, True, tile)
            negatives.backward(weight, weight, *sums, a, c, scale, None, masks, True, tile)
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end))
    except OutOfResources:
        return None
    return statistics.median(times[1:])


def main() -> int:
    """Print the candidates and the best for each dtype."""
    parser = argparse.ArgumentParser(prog="python -m mien_kernels.triton.tune", description=__doc__)
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--depth", type=int, default=512)
    options = parser.parse_args()
    if not torch.cuda.is_available() or interpreted():
        print("there is no CUDA device to measure on", file=sys.stderr)
        return 2
    card, lines = torch.cuda.get_device_name(), []
    for dtype in (torch.bfloat16, torch.float32):
        found = {}
        for tile in CANDIDATES:
            time = measure(tile, options.rows, options.depth, dtype)
            print(f"{dtype!s:16} {tuple(tile)!s:24} {'does not fit' if time is None else f'{time:8.2f} ms'}")
            if time is not None:
                found[tile] = time
        best = min(found, key=lambda tile: found[tile])
        lines.append(f'    ("{card}", {8 * dtype.itemsize}): Tile{tuple(best)},  # {found[best]:.2f} ms')
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
