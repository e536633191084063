"""How long a checkpoint holds up the loop: `python -m mien.engine.bench_checkpoint`.

A loop multiplies matrices on one thread; after some steps it saves the state of a model under AdamW with an
average of the weights. Compared are plain `torch.save`, saving that the loop waits for (atomic, synced,
hashed, verified) and saving beside the loop. A step multiplies matrices as often as the forward and backward
pass of so many tokens would (6 FLOPs a parameter and token), and then the optimiser would step. Blocked is
the time from the call to its return, and what the next optimiser step has to wait; slowed is what the steps
take more than usual until the file is on disk.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mien.engine.checkpoint import CheckpointStore
from mien.engine.holdings import MOMENTS
from mien.engine.pieces import Piece
from mien.engine.store_io import Saving, StoreIO

_SIDE = 768


def make_state(parameters: int) -> dict[str, Tensor]:
    """What a checkpoint holds, for a model of so many parameters: weights, two moments, an average."""
    layer = 4_000_000
    sizes = [min(layer, parameters - first) for first in range(0, parameters, layer)]
    return {
        f"{kind}/layer{number}.weight": torch.randn(size)
        for kind in ("weights", *MOMENTS, "ema")
        for number, size in enumerate(sizes)
    }


def step(a: Tensor, products: int) -> float:
    """Seconds of the passes of a step."""
    began = time.perf_counter()
    for _ in range(products):
        a @ a
    return time.perf_counter() - began


@dataclass(frozen=True)
class Under:
    """A checkpoint under way: `settle` before the optimiser's step, `done` when it is on disk."""

    settle: Callable[[], None]
    done: Callable[[], bool]


Save = Callable[[dict[str, Tensor], int], Under]
"""(state, number) -> what is under way; returns when the loop may go on."""


def ways(folder: Path) -> dict[str, Save]:
    """What is compared."""
    store = CheckpointStore(folder / "store")
    io = {name: StoreIO(background=name == "beside the loop") for name in ("in the loop", "beside the loop")}

    def plain(state: dict[str, Tensor], number: int) -> Under:
        torch.save(state, folder / "plain.pt")
        return Under(lambda: None, lambda: True)

    def through(io: StoreIO) -> Save:
        def save(state: dict[str, Tensor], number: int) -> Under:
            pieces = {name: Piece.whole(tensor) for name, tensor in state.items()}
            io.save_checkpoint({"mien": {}}, store.path(number), Saving({}, 2, pieces=pieces))
            return Under(io.settle, lambda: io.writer is None or not io.writer.busy)

        return save

    return {"torch.save": plain, **{f"mien, {name}": through(door) for name, door in io.items()}}


def measure(
    save: Save, state: dict[str, Tensor], number: int, passes: Callable[[], float], usual: float
) -> tuple[float, float, float]:
    """Seconds blocked, seconds that steps took more than usual until it was on disk, and seconds to disk."""
    began = time.perf_counter()
    under = save(state, number)
    blocked, more = time.perf_counter() - began, 0.0
    while True:
        more += passes() - usual
        waits = time.perf_counter()
        under.settle()
        blocked += time.perf_counter() - waits
        if under.done():
            return blocked, max(0.0, more), time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m mien.engine.bench_checkpoint", description=__doc__)
    parser.add_argument("--parameters", type=float, default=300e6)
    parser.add_argument("--tokens", type=int, default=257, help="of a step; 257 are one image in ViT-L/14")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count; one before makes buffers")
    parser.add_argument("--folder", type=Path, help="where to write; default a folder for temporary files")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    state, work = make_state(int(options.parameters)), torch.randn(_SIDE, _SIDE)
    products = math.ceil(6 * options.parameters * options.tokens / (2 * _SIDE**3))

    def passes() -> float:
        return step(work, products)

    size = 16 * options.parameters / 1e9
    usual = statistics.median(passes() for _ in range(5))
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        compared = ways(folder)
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in compared}
        for number in range(options.rounds + 1):
            for place, (name, save) in enumerate(compared.items()):
                result = measure(save, state, 10 * number + place + 1, passes, usual)
                if number:
                    found[name].append(result)
    finally:
        shutil.rmtree(folder)
    title = f"{options.parameters / 1e6:.0f} M parameters, {size:.1f} GB, passes of {usual:.1f} s"
    _print(found, f"{title}, medians of {options.rounds}")


def _print(found: dict[str, list[tuple[float, float, float]]], title: str) -> None:
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in found.items()}
    peer = medians["mien, in the loop"][0]
    table = Table(title=title)
    for head in ("way", "loop blocked, s", "of in the loop", "slowed after, s", "on disk after, s"):
        table.add_column(head, justify="left" if head == "way" else "right")
    for name, (blocked, more, total) in medians.items():
        table.add_row(name, f"{blocked:.2f}", f"{blocked / peer:.3f}", f"{more:.2f}", f"{total:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
