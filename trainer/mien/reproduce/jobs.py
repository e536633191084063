"""Training runs as processes of their own, some at a time; what is finished is not trained again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mien.errors import RunError


@dataclass(frozen=True)
class Job:
    """One `mien train`: recipe file or name, overrides, and the root that belongs to this run alone."""

    recipe: str
    overrides: tuple[str, ...]
    root: Path

    def run(self, threads: int) -> Path:
        """Train or finish the run; its folder.

        Raises:
            RunError: if training fails; names the log that tells why.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        log = self.root / f"train-{Path(self.recipe).stem}.log"  # runs of one root train side by side
        command = [
            sys.executable, "-m", "mien", "train", self.recipe, "--resume", f"run.root={self.root}",
            f"engine.threads={threads}", *self.overrides,
        ]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        with log.open("w", encoding="utf-8") as errors:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, check=False
            )
        if done.returncode:
            raise RunError(
                f"training ended with code {done.returncode}", where=log, fix="read the log, then run again"
            )
        return Path(done.stdout.strip().splitlines()[-1])


def over_seeds(
    recipes: Iterable[str], data: Path, out: Path, *, seeds: int, group: str, overrides: tuple[str, ...] = ()
) -> list[Job]:
    """A job for each seed and recipe, seeds in the outer loop; the runs of a seed share a root below `out`.

    Args:
        recipes: below `emocapclip/`.
        data: folder with the sets `train` and `val`.
        out: folder of the runs.
        seeds: how many.
        group: beginning of the tracker's group, which ends in the recipe's last name.
        overrides: further `key=value` of every run.
    """
    sets = (f"data.train.shards={data / 'train'}", f"data.val.shards={data / 'val'}")
    chosen = list(recipes)
    return [
        Job(
            f"emocapclip/{recipe}",
            (*sets, f"seed={seed}", f"tracking.group={group}-{Path(recipe).name}", *overrides),
            out / f"seed-{seed}",
        )
        for seed in range(seeds)
        for recipe in chosen
    ]


def run_all(jobs: Sequence[Job], *, parallel: int, threads: int, what: str) -> list[Path]:
    """Run folders of the jobs, in order; at most `parallel` train at once with `threads` CPU threads each.

    Raises:
        RunError: of the first job that failed, after those under way have ended.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar, ThreadPoolExecutor(parallel) as pool:
        task = bar.add_task(what, total=len(jobs))

        def one(job: Job) -> Path:
            folder = job.run(threads)
            bar.advance(task)
            return folder

        waiting = [pool.submit(one, job) for job in jobs]
        try:
            return [future.result() for future in waiting]
        except RunError:
            pool.shutdown(cancel_futures=True)
            raise


@contextlib.contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """Computing with `count` threads, no more than there are cores; afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
