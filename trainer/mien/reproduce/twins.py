"""EmoCapCLIP and its from-scratch twins on synthetic versions of every benchmark, some seeds each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.progress import track

from mien.benchmarks.base import MADE, Benchmark, Making, Task
from mien.benchmarks.sample import make_sample
from mien.benchmarks.table import BENCHMARKS
from mien.errors import DataError, MienError
from mien.evaluation.suite.report import write_report
from mien.evaluation.suite.runner import run_all as score_all
from mien.evaluation.suite.subject import open_subject
from mien.reproduce.jobs import over_seeds, run_all
from mien.reproduce.twins_table import Scores, write_table

METHODS = {
    "EmoCapCLIP": "tiny",
    "CLIP": "twins/clip",
    "SigLIP": "twins/siglip",
    "DreamLIP-like": "twins/dreamlip",
    "FLAIR-like": "twins/flair",
}
"""Rows of the table and their recipes; the first is compared with each of the others."""

TOWARDS_UNITS = {
    "with sentences 0.25": "units/sentences_25",
    "EmoCapCLIP": "tiny",
    "with sentences 0.5": "units/sentences_50",
    "whole image, no groups": "units/whole",
    "DreamLIP-like": "twins/dreamlip",
}
"""What was tried where the whole method falls behind: on action units, against a DreamLIP-like twin."""

PEOPLE = 20
"""Different people of a set; none of them is in the training set, whose people come of other seeds."""

ITEMS: dict[Task, int] = {"static": 420, "compound": 330, "dynamic": 140, "au": 400, "mcq": 60}
"""About how many items a set gets, before its own split."""

EACH = {"disfa": 20, "bp4d": 10, "faba-au": 20, "mafw-compound": 4, "ferv39k": 50, "afew": 40}
"""Where `Making.each` is counted a person, a unit, or most of it goes to a training part nobody scores."""


def sizes(benchmark: Benchmark, seed: int) -> Making:
    """How the synthetic version of a benchmark is made."""
    items = ITEMS[benchmark.task]
    each = EACH.get(benchmark.name, round(items / len(benchmark.classes)) if benchmark.classes else items)
    return Making(people=PEOPLE, each=each, seed=seed)


def make_sets(root: Path, names: Sequence[str], seed: int) -> dict[str, tuple[Benchmark, Path]]:
    """Make the sets that are missing below `root`, a folder each.

    Raises:
        DataError: for an unknown name, or a folder that holds a set of another size or seed.
    """
    sets = {}
    for name in track(names, "sets"):
        benchmark, folder = BENCHMARKS[name], root / name
        how = sizes(benchmark, seed)
        if not folder.is_dir():
            make_sample(benchmark, folder, how)
        if str(how) not in (folder / MADE).read_text(encoding="utf-8"):
            raise DataError("a set of another size or seed", where=folder, fix="remove it")
        sets[name] = benchmark, folder
    return sets


def reproduce(
    data: Path,
    out: Path,
    *,
    seeds: int,
    parallel: int,
    threads: int,
    overrides: tuple[str, ...] = (),
    names: Sequence[str] = tuple(BENCHMARKS),
    methods: Mapping[str, str] = METHODS,
    stem: str = "twins",
) -> str:
    """Train what is missing, score every run on every set, write `<stem>.md`, `<stem>.csv`, `<stem>.png`.

    Args:
        data: folder with the sets `train` and `val`.
        out: folder for sets, runs and the tables.
        seeds: number of seeds a method.
        parallel: runs at the same time.
        threads: CPU threads a run.
        overrides: further `key=value` of every run.
        names: benchmarks.
        methods: row name to recipe below `emocapclip/`; tables of one folder share what they have in common.
        stem: of the table's files.

    Raises:
        MienError: if a set cannot be used or a run fails.
    """
    jobs = over_seeds(methods.values(), data, out, seeds=seeds, group="twins", overrides=overrides)
    runs = run_all(jobs, parallel=parallel, threads=threads, what="runs")
    sets = make_sets(out / "sets", names, seed=1)
    scores: Scores = {}
    for place, folder in enumerate(runs):
        method, seed = list(methods)[place % len(methods)], place // len(methods)
        scores.setdefault(method, []).append(_score(folder, sets, out / "scores" / f"{seed}" / method))
        print(f"{method}, seed {seed}: {folder}", flush=True)
    return write_table(scores, out, stem=stem)


def _score(run: Path, sets: Mapping[str, tuple[Benchmark, Path]], out: Path) -> Path:
    subject = open_subject(str(run))
    results, faults = score_all(subject, sets, "clean", out)
    if faults:
        raise faults[0]
    if not results:
        raise MienError("no benchmark was scored", where=out, fix="name one")
    write_report(subject.name, results, out)
    return out
