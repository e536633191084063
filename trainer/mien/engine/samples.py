"""What was trained on: a log of which sample was used when, and pictures of some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from mien.engine.config import EngineConfig

HEADER = "step,position,epoch,index,uid\n"


class SampleLog:
    """`samples-rank<r>.csv`: a row a sample.

    `step` counts from 1 (the step that the sample was used in), `position` is its place in the endless
    stream, `epoch` (of its set, in a mixture) and `index` are the stream's, `uid` is the sample's own. A
    damaged sample has index and uid -1.

    Args:
        path: the file; appended to.
        engine: batch sizes.
        rank: this process.
        world: processes.
    """

    def __init__(self, path: Path, engine: EngineConfig, rank: int, world: int) -> None:
        self.path = path
        self._global = engine.global_batch
        self._micro = engine.global_batch // engine.accumulate
        self._local = self._micro // world
        self._rank = rank
        self._rows: list[str] = []
        if not path.is_file():
            path.write_text(HEADER, encoding="utf-8")

    def note(self, step: int, micro: int, batch: dict[str, Any]) -> None:
        """Note a micro batch.

        Args:
            step: steps done before it.
            micro: its number within the step.
            batch: with `epoch`, `index` and `uid`.
        """
        start = step * self._global + micro * self._micro + self._rank * self._local
        columns = (batch[name].tolist() for name in ("epoch", "index", "uid"))
        for position, (epoch, index, uid) in enumerate(zip(*columns, strict=True), start):
            self._rows.append(f"{step + 1},{position},{epoch},{index},{uid}\n")

    def flush(self) -> None:
        """Write what was noted; call it before a checkpoint, whose steps must all be in the file."""
        if self._rows:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(self._rows)
            self._rows = []


def write_sheet(images: Tensor, folder: Path, step: int) -> Path:
    """Write images side by side, four a row.

    Args:
        images: uint8 [N, 3, H, W].
        folder: receives `step-<step>.jpg`.
        step: for the name.
    """
    from torchvision.io import write_jpeg
    from torchvision.utils import make_grid

    folder.mkdir(exist_ok=True)
    file = folder / f"step-{step:08d}.jpg"
    write_jpeg(make_grid(images.cpu(), nrow=min(4, len(images)), padding=2, pad_value=255), str(file), 90)
    return file
