"""How long a checkpoint holds up the loop: `python -m mien.engine.bench_checkpoint`.

A loop multiplies matrices on one thread; after some steps it saves the state of a model under AdamW with an
average of the weights. Compared are plain `torch.save`, saving that the loop waits for (atomic, synced,
hashed, verified) and saving beside the loop. Blocked is the time from the call to its return; slowed is what
the steps after it take more than usual until the file is on disk.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mien.engine.checkpoint import CheckpointStore
from mien.engine.holdings import MOMENTS
from mien.engine.pieces import Piece
from mien.engine.store_io import Saving, StoreIO


def make_state(parameters: int) -> dict[str, Tensor]:
    """What a checkpoint holds, for a model of so many parameters: weights, two moments, an average."""
    layer = 4_000_000
    sizes = [min(layer, parameters - first) for first in range(0, parameters, layer)]
    return {
        f"{kind}/layer{number}.weight": torch.randn(size)
        for kind in ("weights", *MOMENTS, "ema")
        for number, size in enumerate(sizes)
    }


def step(a: Tensor) -> float:
    """Seconds of some work of the loop."""
    began = time.perf_counter()
    for _ in range(4):
        a @ a
    return time.perf_counter() - began


Save = Callable[[dict[str, Tensor], int], Callable[[], bool]]
"""(state, number) -> whether it is done; returns when the loop may go on."""


def ways(folder: Path) -> dict[str, Save]:
    """What is compared."""
    store = CheckpointStore(folder / "store")
    io = {name: StoreIO(background=name == "beside the loop") for name in ("in the loop", "beside the loop")}

    def plain(state: dict[str, Tensor], number: int) -> Callable[[], bool]:
        torch.save(state, folder / "plain.pt")
        return lambda: True

    def through(io: StoreIO) -> Save:
        def save(state: dict[str, Tensor], number: int) -> Callable[[], bool]:
            pieces = {name: Piece.whole(tensor) for name, tensor in state.items()}
            io.save_checkpoint({"mien": {}}, store.path(number), Saving({}, 2, pieces=pieces))
            return lambda: io.writer is None or not io.writer.busy

        return save

    return {"torch.save": plain, **{f"mien, {name}": through(door) for name, door in io.items()}}


def measure(
    save: Save, state: dict[str, Tensor], number: int, work: Tensor, usual: float
) -> tuple[float, float, float]:
    """Seconds blocked, seconds that steps took more than usual until it was on disk, and seconds to disk."""
    began = time.perf_counter()
    done = save(state, number)
    blocked, more = time.perf_counter() - began, 0.0
    while not done():
        more += step(work) - usual
    return blocked, max(0.0, more), time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m mien.engine.bench_checkpoint", description=__doc__)
    parser.add_argument("--parameters", type=float, default=300e6)
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count; one before makes buffers")
    parser.add_argument("--folder", type=Path, help="where to write; default a folder for temporary files")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    state, work = make_state(int(options.parameters)), torch.randn(768, 768)
    size = 16 * options.parameters / 1e9
    usual = statistics.median(step(work) for _ in range(30))
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        compared = ways(folder)
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in compared}
        for number in range(options.rounds + 1):
            for place, (name, save) in enumerate(compared.items()):
                result = measure(save, state, 10 * number + place + 1, work, usual)
                if number:
                    found[name].append(result)
    finally:
        shutil.rmtree(folder)
    _print(found, f"{options.parameters / 1e6:.0f} M parameters, {size:.1f} GB, medians of {options.rounds}")


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
