"""Stages 1 to 4 of one movie: their order, their keys, and running one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path

from mien.corpus import dedup, find, gates, shots
from mien.corpus.ledger import Ledger, locked, read
from mien.corpus.options import Options, write_whole
from mien.corpus.scan import Movie
from mien.corpus.video import VideoError
from mien.errors import DataError

STAGES = ("shots", "faces", "gates", "dedup")
"""Stages of one movie, in order; each reads the ledger of the one before."""

VERSION = 2
"""Of what the stages do: another number makes every ledger anew."""

_USES = {"shots": shots.USES, "faces": find.USES, "gates": gates.USES, "dedup": dedup.USES}
_FAILED = "failed.json"


class Workplace:
    """The ledgers of one movie below `out/work/<movie>`."""

    def __init__(self, out: Path, movie: Movie, options: Options) -> None:
        self.folder = out / "work" / movie.name
        self.movie, self.options = movie, options
        self.keys: dict[str, str] = {}
        before = f"{VERSION} {movie.sha}"
        for stage in STAGES:
            before = self.keys[stage] = options.key(_USES[stage], before)

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
                _RUN[stage](self)
            except VideoError as error:
                write_whole(self.folder / _FAILED, json.dumps({"stage": stage, "reason": error.reason}))
                return error.reason
            (self.folder / _FAILED).unlink(missing_ok=True)
        return None

    def need(self, stage: str) -> Ledger:
        """A stage's ledger.

        Raises:
            DataError: if it is not there.
        """
        ledger = self.read(stage)
        if ledger is None:
            fix = f"run `mien data emocap {stage}` first, or `mien data emocap build`"
            raise DataError(f"stage {stage} is not done", where=self.folder, fix=fix)
        return ledger


def run_stage(out: Path, movie: Movie, options: Options, stage: str) -> str | None:
    """`Workplace.run` on one thread, in a process of its own or in this one.

    With more threads the nets sum in another order, and the last digit of a ledger would tell how many there
    were.
    """
    with _one_thread():
        return Workplace(out, movie, options).run(stage)


@contextmanager
def _one_thread() -> Iterator[None]:
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


def _shots(place: Workplace) -> None:
    shots.find_shots(place.movie, place.path("shots"), place.keys["shots"], place.options)


def _faces(place: Workplace) -> None:
    below = place.need("shots")
    find.find_faces(place.movie, place.path("faces"), place.keys["faces"], place.options, below)


def _gates(place: Workplace) -> None:
    below = place.need("faces")
    gates.select_faces(place.movie, place.path("gates"), place.keys["gates"], place.options, below)


def _dedup(place: Workplace) -> None:
    dedup.drop_copies(place.path("dedup"), place.keys["dedup"], place.options, place.need("gates"))


_RUN = {"shots": _shots, "faces": _faces, "gates": _gates, "dedup": _dedup}
