"""Measure tiles on the card at hand: `python -m mien_kernels.triton.tune [--rows 16384] [--depth 512]`.

Compiles all candidates side by side, prints each with its time and, last, lines for the table in `tiles.py`.
Never runs by itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import get_args

import torch
from torch.nn import functional as F
from triton.runtime.errors import OutOfResources, PTXASError

from ..backends import interpreted
from ..masks import Masks
from ..mine import mine
from . import negatives
from .tiles import TABLE, Kernel, Tile

SHAPES = (
    (64, 64, 4), (64, 128, 4), (64, 256, 4), (64, 256, 8), (128, 64, 4), (128, 128, 4), (128, 128, 8),
    (128, 256, 8), (256, 128, 8),
)  # fmt: skip
"""Rows, columns and warps whose sums take 32 to 128 registers of a thread."""


def candidates(dtype: torch.dtype) -> list[Tile]:
    """Tiles that may be fast: 128 bytes deep, as wide as a line of shared memory is swizzled."""
    depth = 128 // dtype.itemsize
    return [Tile(*shape[:2], depth, shape[2], stages) for shape in SHAPES for stages in (2, 3, 4)]


Case = tuple[Kernel, torch.dtype, Tile]
CASES: tuple[tuple[Kernel, torch.dtype], ...] = (
    ("sums", torch.bfloat16),
    ("gradient", torch.bfloat16),
    ("sums", torch.float32),
    ("gradient", torch.float32),
    ("mine", torch.float32),
)


def card_name() -> str:
    """Of the card at hand, as the table has it."""
    return torch.cuda.get_device_name()


def call_of(case: Case, rows: int, depth: int) -> Callable[[], object]:
    """One call of a kernel with a tile, both directions; `gradient` with its two products."""
    kernel, dtype, tile = case
    a, c = (F.normalize(torch.randn(rows, depth, device="cuda"), dim=1).to(dtype) for _ in range(2))
    if kernel == "mine":
        TABLE.update({key: tile for key in TABLE if key[1] == kernel} | {(card_name(), kernel, 32): tile})
        return partial(mine, a, c, backend="triton")
    scale, weight = torch.tensor(50.0, device="cuda"), torch.full((rows,), 1 / rows, device="cuda")
    masks = Masks(diagonal=0)
    if kernel == "sums":
        return partial(negatives.forward, a, c, scale, None, masks, True, tile)
    lse = torch.full((rows,), 50.0, device="cuda")
    return partial(negatives.backward, weight, weight, lse, lse, a, c, scale, None, masks, True, tile)


def measure(case: Case, rows: int, depth: int, repeats: int = 5) -> float | None:
    """Median milliseconds of a call; None where the tile does not fit."""
    torch.manual_seed(0)
    times = []
    try:
        call = call_of(case, rows, depth)
        for _ in range(1 + repeats):  # the first compiles
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end))
    except (OutOfResources, PTXASError):
        return None
    return statistics.median(times[1:] or times)


def compile_all(cases: Sequence[Case], depth: int, jobs: int) -> None:
    """Fill Triton's cache on disk: the compiler runs on one core, and takes longer than all measurements."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(measure, cases, (4096,) * len(cases), (depth,) * len(cases), (0,) * len(cases)))


def main() -> int:
    """Print the candidates and the best for each kernel and dtype."""
    parser = argparse.ArgumentParser(prog="python -m mien_kernels.triton.tune", description=__doc__)
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that compile")
    parser.add_argument("--kernels", nargs="+", choices=get_args(Kernel), default=get_args(Kernel))
    options = parser.parse_args()
    if not torch.cuda.is_available() or interpreted():
        print("there is no CUDA device to measure on", file=sys.stderr)
        return 2
    chosen = [case for case in CASES if case[0] in options.kernels]
    compile_all(
        [(*case, tile) for case in chosen for tile in candidates(case[1])], options.depth, options.jobs
    )
    card, lines = card_name(), []
    for kernel, dtype in chosen:
        found = {}
        for tile in candidates(dtype):
            time = measure((kernel, dtype, tile), options.rows, options.depth)
            said = "does not fit" if time is None else f"{time:8.2f} ms"
            print(f"{kernel:8} {str(dtype)[6:]:8} {tuple(tile)!s:24} {said}")
            if time is not None:
                found[tile] = time
        best = min(found, key=lambda tile: found[tile])
        bits = 8 * dtype.itemsize
        lines.append(f'    ("{card}", "{kernel}", {bits}): Tile{tuple(best)},  # {found[best]:.2f} ms')
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
