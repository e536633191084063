"""Five variants of EmoCapCLIP on synthetic faces, some seeds each."""

from __future__ import annotations

from pathlib import Path

from mien.evaluation.ablation import summarise
from mien.reproduce.jobs import over_seeds, run_all

VARIANTS = {
    "global only": "global_only",
    "+ summary": "summary",
    "+ local V1": "local_v1",
    "+ mining R2": "mine_r2",
    "+ mining R1": "mine_r1",
}
"""Rows of the table, each the one above plus one part (R1 in place of R2), and their recipes."""


def reproduce(
    data: Path, out: Path, *, seeds: int, parallel: int, threads: int, overrides: tuple[str, ...] = ()
) -> str:
    """Train what is missing, score every run, write `ablation.md` and `ablation.csv`, return the table.

    Args:
        data: folder with the sets `train`, `val` and `test`; their people differ.
        out: folder for runs and the table.
        seeds: number of seeds a variant.
        parallel: runs at the same time.
        threads: CPU threads a run.
        overrides: further `key=value` of every run.

    Raises:
        MienError: if a set cannot be used or a run fails.
    """
    jobs = over_seeds(VARIANTS.values(), data, out, seeds=seeds, group="ablation", overrides=overrides)
    folders = run_all(jobs, parallel=parallel, threads=threads, what="runs")
    runs = {name: folders[i :: len(VARIANTS)] for i, name in enumerate(VARIANTS)}
    table = summarise(runs, data / "test", data / "train", progress=print)
    table.write(out)
    return table.markdown()
