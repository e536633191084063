"""Samples made by many processes, in order: what every maker of a synthetic set shares."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from mien.errors import DataError
from mien.faces.scene import Style

Sample = tuple[str, dict[str, bytes]]
"""Key and encoded members."""

_CHUNK = 16
_SIZES = (32, 1024)
_Any = TypeVar("_Any")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class SetPlan:
    """What decides the content of any set of synthetic faces.

    Attributes:
        people: number of different people.
        images: number of samples.
        seed: of everything, people too.
        rig: "builtin" or the path of an ICT-FaceKit model.
        size: side of a picture, pixels.
        style: "studio" or "wild", as in `mien.faces.scene.sample_scene`.
        first_person: number of the first person; people of one seed with other numbers are other people.
    """

    people: int
    images: int
    seed: int
    rig: str
    size: int
    style: Style
    first_person: int


def requirement(out: Path) -> Callable[[bool, str, str], None]:
    """A check (holds?, what is wrong, how to mend) that raises DataError about `out`."""

    def require(holds: bool, what: str, fix: str) -> None:
        if not holds:
            raise DataError(what, where=out, fix=fix)

    return require


def check_plan(plan: SetPlan, out: Path, workers: int) -> None:
    """Refuse numbers that make no set, and a folder in use.

    Raises:
        DataError: naming the first.
    """
    require = requirement(out)
    require(plan.people >= 1, f"a set of {plan.people} people", "give 1 or more")
    require(plan.images >= 1, f"a set of {plan.images} images", "give 1 or more")
    require(plan.seed >= 0, f"seed {plan.seed} is negative", "give 0 or more")
    require(plan.first_person >= 0, f"first person {plan.first_person} is negative", "give 0 or more")
    require(workers >= 0, f"{workers} workers", "give 0 (one for each CPU) or more")
    low, high = _SIZES
    require(low <= plan.size <= high, f"pictures of {plan.size} pixels", f"give {low} to {high}")
    require(plan.style in ("studio", "wild"), f"unknown style {plan.style!r}", "give studio or wild")
    require(not out.exists() or out.is_dir(), "is not a folder", "give another path")
    require(
        not out.is_dir() or not any(out.iterdir()), "folder is not empty", "give another folder or empty it"
    )


def produce(
    make: Callable[[_Any, int], _Made], plan: _Any, count: int, workers: int, chunk: int = _CHUNK
) -> Iterator[_Made]:
    """`make(plan, i)` for i below `count`, in order, made by this process (1 worker) or by a pool.

    Args:
        make: a function of a module; depends on its arguments alone.
        plan: what decides the set; picklable.
        count: how many.
        workers: processes; 0 = one for each CPU.
        chunk: how many a process makes at a time.
    """
    chunks = [range(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    processes = min(workers or os.cpu_count() or 1, len(chunks))
    if processes <= 1:
        for part in chunks:
            yield from _make_chunk(make, plan, part)
        return
    # Spawned, not forked: the parent may hold threads (torch, progress bar).
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for made in pool.map(partial(_make_chunk, make, plan), chunks):
            yield from made


def _make_chunk(make: Callable[[_Any, int], _Made], plan: _Any, part: range) -> list[_Made]:
    # One thread a process: faster with many processes, and sums come out the same with any number of workers.
    with threadpool_limits(1):
        return [make(plan, index) for index in part]


def track(made: Iterable[_Made], total: int, what: str, show: bool) -> Iterator[_Made]:
    """The same, behind a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not show) as bar:
        yield from bar.track(made, total=total, description=what)


def uid(kind: str, seed: int, index: int) -> int:
    """A 63-bit id of a sample, different for every (kind, seed, index) but for accidents of 2^-63."""
    digest = hashlib.sha256(f"{kind} {seed} {index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def jpeg(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] as a JPEG of quality 95."""
    return _encode(image, "JPEG", quality=95)


def png(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] or [H, W] as a PNG."""
    return _encode(image, "PNG")


def _encode(image: np.ndarray, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    """An array in numpy's own format."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
