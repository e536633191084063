"""Stages 1 to 4 of one movie: their order, their keys, and running one."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path
from typing import ClassVar

from mien.corpus import dedup, find, gates, shots
from mien.corpus.ledger import Ledger, locked, read
from mien.corpus.options import FaceOptions, Options, write_whole
from mien.corpus.scan import Movie
from mien.corpus.video import VideoError
from mien.errors import DataError

VERSION = 2
"""Of what the stages do: another number makes every ledger anew."""

_FAILED = "failed.json"


class Place(ABC):
    """The ledgers of one movie below `out/work/<movie>`; subclasses have further stages."""

    uses: ClassVar[dict[str, tuple[str, ...]]] = {"shots": shots.USES, "faces": find.USES}
    """Stages in order, each with the options that decide its outcome; each reads the one before."""
    options: FaceOptions

    def __init__(self, out: Path, movie: Movie, options: FaceOptions) -> None:
        self.folder = out / "work" / movie.name
        self.movie, self.options = movie, options
        self.keys: dict[str, str] = {}
        before = f"{VERSION} {movie.sha}"
        for stage, names in self.uses.items():
            before = self.keys[stage] = options.key(names, before)

    def work(self, stage: str) -> None:
        """Write the ledger of a stage.

        Raises:
            VideoError: if the video cannot be read any more.
            DataError: if the stage before is missing.
        """
        path, key = self.path(stage), self.keys[stage]
        if stage == "shots":
            shots.find_shots(self.movie, path, key, self.options)
        elif stage == "faces":
            find.find_faces(self.movie, path, key, self.options, self.need("shots"))
        else:
            self.work_further(stage)

    @abstractmethod
    def work_further(self, stage: str) -> None:
        """`work` of a stage after `faces`."""

    def path(self, stage: str) -> Path:
        """Of a stage's ledger."""
        return self.folder / f"{stage}.jsonl"

    def read(self, stage: str) -> Ledger | None:
        """A stage's ledger if it is complete and made from what is there now."""
        return read(self.path(stage), self.keys[stage])

    def failure(self) -> tuple[str, str] | None:
        """Stage and reason why the movie could not go on, if so."""
        path = self.folder / _FAILED
        if not path.is_file():
            return None
        told = json.loads(path.read_text(encoding="utf-8"))
        return told["stage"], told["reason"]

    def run(self, stage: str) -> str | None:
        """Run a stage unless its ledger is there; returns the reason if the video cannot be read any more.

        Raises:
            DataError: if another process works on the movie, or the stage before is missing.
        """
        if self.read(stage) is not None:
            return None
        with locked(self.folder):
            try:
                self.work(stage)
            except VideoError as error:
                write_whole(self.folder / _FAILED, json.dumps({"stage": stage, "reason": error.reason}))
                return error.reason
            (self.folder / _FAILED).unlink(missing_ok=True)
        return None

    @abstractmethod
    def mend(self, stage: str) -> str:
        """What to do where a stage is not done."""

    def need(self, stage: str) -> Ledger:
        """A stage's ledger.

        Raises:
            DataError: if it is not there.
        """
        ledger = self.read(stage)
        if ledger is None:
            fix = self.mend(stage)
            raise DataError(f"stage {stage} is not done", where=self.folder, fix=fix)
        return ledger


class Workplace(Place):
    """Of a corpus of captioned faces."""

    uses = Place.uses | {"gates": gates.USES, "dedup": dedup.USES}
    options: Options

    def work_further(self, stage: str) -> None:
        """Gates, or copies."""
        path, key = self.path(stage), self.keys[stage]
        if stage == "gates":
            gates.select_faces(self.movie, path, key, self.options, self.need("faces"))
        else:
            dedup.drop_copies(path, key, self.options, self.need("gates"))

    def mend(self, stage: str) -> str:
        """The commands that do it."""
        return f"run `mien data emocap {stage}` first, or `mien data emocap build`"


STAGES = tuple(Workplace.uses)
"""Stages of one movie, in order; each reads the ledger of the one before."""


def run_stage(out: Path, movie: Movie, options: Options, stage: str) -> str | None:
    """`Workplace.run` on one thread, in a process of its own or in this one.

    With more threads the nets sum in another order, and the last digit of a ledger would tell how many there
    were.
    """
    with one_thread():
        return Workplace(out, movie, options).run(stage)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch and OpenCV compute on one thread within the block."""
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def begin_worker() -> None:
    """Make a pool's process end when the one that started it is killed."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.join,), daemon=True).start()


def _end_after(join: Callable[[], None]) -> None:
    import os

    join()
    os._exit(1)
