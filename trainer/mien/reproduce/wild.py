"""Photographs of people never seen: EmoCapCLIP, also fine-tuned, beside HOG and CNNs from scratch."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mien.data.pack import pack
from mien.data.split import split
from mien.errors import DataError
from mien.evaluation import Report, evaluate
from mien.reproduce.jobs import Job, run_all

CLASSES = ("neutral", "happiness", "surprise", "anger", "sadness")
"""Classes with enough photographs of enough people."""
_COLUMNS = ("image", "emotion", "person")
_METRICS = ("uar", "war", "macro_f1")

ADAPTED = {
    "fine-tuned, head alone": ("model.adapt.how=linear",),
    "fine-tuned, LoRA": ("model.adapt.how=lora",),
    "fine-tuned, adapters": ("model.adapt.how=adapter", "model.adapt.width=32"),
    "fine-tuned, whole tower": ("model.adapt.tower_lr=0.3", "model.adapt.layer_decay=0.8"),
}
"""How the towers of the given run are adapted, and what that changes in `emocapclip_finetune/wild_tiny`."""


def reproduce(
    photos: Path,
    out: Path,
    init: Path | None,
    *,
    splits: int,
    parallel: int,
    threads: int,
    overrides: tuple[str, ...] = (),
) -> str:
    """Pack, split by person, train, score; write `wild.md` and `wild.csv`, return the table.

    Args:
        photos: folder with `labels.csv` (columns image, emotion, person).
        out: folder for sets, runs and the table.
        init: run whose towers the second variant starts from; None leaves that variant out.
        splits: number of random splits into 70 % and 30 % of the people; also the seed of each run.
        parallel: runs at the same time.
        threads: CPU threads a run.
        overrides: further `key=value` of every run.

    Raises:
        MienError: if the photographs or the run cannot be used, or a run fails.
    """
    shards = out / "shards"
    if not (shards / "index.json").is_file():
        labels = _labels(photos, out)
        pack(photos, shards, labels=labels, image="image", label="emotion", group="person")
    sets = [_split(shards, out / f"split-{number}", number) for number in range(splits)]
    pretrained: dict[str, tuple[str, ...]] = {"from scratch": ()} | (
        {"from synthetic": (f"model.init_from={init}",)} if init else {}
    )
    adapted: dict[str, tuple[str, ...]] = {"supervised from scratch, the same tower": ()}
    if init:
        adapted |= {name: (f"model.init_from={init}", *keys) for name, keys in ADAPTED.items()}
    jobs = [
        Job(
            recipe,
            (f"data.train.shards={parts['train']}", f"seed={number}", *keys, *overrides),
            out / "runs" / name.replace(" ", "-") / f"split-{number}",
        )
        for recipe, variants in (
            ("emocapclip/wild_tiny", pretrained),
            ("emocapclip_finetune/wild_tiny", adapted),
        )
        for name, keys in variants.items()
        for number, parts in enumerate(sets)
    ]
    folders = run_all(jobs, parallel=parallel, threads=threads, what="runs")
    scores: dict[str, list[dict[str, float]]] = {}
    for place, name in enumerate(pretrained):
        for number, folder in enumerate(folders[place * splits : (place + 1) * splits]):
            _score_encoder(scores, folder, name, sets[number], number, with_baselines=place == 0)
    for place, name in enumerate(adapted, start=len(pretrained)):
        for number, folder in enumerate(folders[place * splits : (place + 1) * splits]):
            report = evaluate(
                folder, "classify", sets[number]["test"], sets[number]["train"], baselines=(),
                classes=CLASSES, seed=number,
            )  # fmt: skip
            _note(scores, report, name)
    return _write(scores, out)


def _labels(photos: Path, out: Path) -> Path:
    """The rows of the classes that count, as a file of labels below `out`.

    Raises:
        DataError: if the photographs have no `labels.csv`, or it lacks a column.
    """
    path = photos / "labels.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [[row[c] for c in _COLUMNS] for row in csv.DictReader(file) if row["emotion"] in CLASSES]
    except (OSError, KeyError) as error:
        fix = f"give a folder whose labels.csv has the columns {', '.join(_COLUMNS)}"
        raise DataError("no usable labels", where=path, fix=fix) from error
    out.mkdir(parents=True, exist_ok=True)
    target = out / "labels.csv"
    with target.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([_COLUMNS, *rows])
    return target


def _score_encoder(
    scores: dict[str, list[dict[str, float]]], folder: Path, name: str, parts: dict[str, Path], number: int,
    *, with_baselines: bool,
) -> None:  # fmt: skip
    """A linear probe and zero-shot of one run; the baselines of its split beside the first variant."""
    report = evaluate(
        folder, "linear_probe", parts["test"], parts["train"],
        baselines=("majority", "hog", "cnn") if with_baselines else (),
        classes=CLASSES, seed=number, progress=print,
    )  # fmt: skip
    _note(scores, report, f"linear probe, {name}")
    zero = evaluate(folder, "zero_shot", parts["test"], baselines=(), classes=CLASSES, seed=number)
    _note(scores, zero, f"zero-shot, {name}")


def _split(shards: Path, out: Path, number: int) -> dict[str, Path]:
    parts = {"train": 0.7, "test": 0.3}
    if not all((out / part / "index.json").is_file() for part in parts):
        split(shards, out, parts=parts, seed=number)
    return {part: out / part for part in parts}


def _note(scores: dict[str, list[dict[str, float]]], report: Report, name: str) -> None:
    """The run's main row by `name`, baselines by their own."""
    for row in [report.rows[0], *(row for row in report.rows if row.kind == "baseline")]:
        method = name if row.kind == "run" else row.method
        scores.setdefault(method, []).append({key: row.metrics[key].value for key in _METRICS})


def _write(scores: dict[str, list[dict[str, float]]], out: Path) -> str:
    lines = ["| method | splits | UAR | WAR | macro F1 |", "|---|---:|---:|---:|---:|"]
    for method, rows in sorted(scores.items(), key=lambda item: -np.mean([row["uar"] for row in item[1]])):
        cells = [_mean([row[key] for row in rows]) for key in _METRICS]
        lines.append(f"| {method} | {len(rows)} | " + " | ".join(cells) + " |")
    table = "\n".join(lines) + "\n"
    (out / "wild.md").write_text(table, encoding="utf-8")
    with (out / "wild.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "split", *_METRICS])
        for method, rows in scores.items():
            writer.writerows([method, i, *(f"{row[k]:.6f}" for k in _METRICS)] for i, row in enumerate(rows))
    return table


def _mean(values: list[float]) -> str:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return f"{np.mean(values):.3f} ± {spread:.3f}"
