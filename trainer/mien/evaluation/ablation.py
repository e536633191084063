"""Variants x seeds: which part helps here. Mean and spread of three numbers per variant."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien import systems
from mien.errors import RunError
from mien.evaluation.faceset import FaceSet, open_faces, require_disjoint
from mien.evaluation.promptset import PromptSet, covering, load_prompts
from mien.evaluation.protocols import linear_probe_units, zero_shot
from mien.evaluation.retrieval import retrieval
from mien.systems.encoder import Encoder

HEADS = {
    "zero_shot_uar": "zero-shot UAR",
    "au_f1": "AU probe macro-F1",
    "i2t_r1": "I→T R@1",
    "t2i_r1": "T→I R@1",
}
"""Columns: name to head. Retrieval is of the global sentence, so that variants without a summary compare."""


@dataclass(frozen=True)
class Ablation:
    """Numbers of each variant, one per seed."""

    values: dict[str, dict[str, list[float]]]
    """Variant to column to values."""

    def markdown(self) -> str:
        """Mean +- sample standard deviation in percent, and the difference of each to the first variant."""
        names = list(HEADS)
        lines = [
            "| variant | seeds | " + " | ".join(HEADS.values()) + " |",
            "|---|---:|" + "---:|" * len(names),
        ]
        first = next(iter(self.values.values()))
        for variant, columns in self.values.items():
            cells = []
            for name in names:
                mean, spread = np.mean(columns[name]), _spread(columns[name])
                gain = mean - np.mean(first[name])
                change = "" if columns is first else f" ({100 * gain:+.1f})"
                cells.append(f"{100 * mean:.1f} ± {100 * spread:.1f}{change}")
            lines.append(f"| {variant} | {len(columns[names[0]])} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Every value, one line a variant and seed."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["variant", "number", *HEADS])
        for variant, columns in self.values.items():
            for number, row in enumerate(zip(*(columns[name] for name in HEADS))):
                writer.writerow([variant, number, *(f"{value:.6f}" for value in row)])
        return text.getvalue()

    def write(self, out: Path) -> None:
        """Write `ablation.md` and `ablation.csv`."""
        out.mkdir(parents=True, exist_ok=True)
        (out / "ablation.md").write_text(self.markdown(), encoding="utf-8")
        (out / "ablation.csv").write_text(self.csv(), encoding="utf-8")


def summarise(
    runs: Mapping[str, Sequence[Path]],
    test: str | Path,
    train: str | Path,
    *,
    classes: Sequence[str] | None = None,
    prompts: str | Path | None = None,
    load: Callable[[str | Path], Encoder] = systems.load,
    progress: Callable[[str], None] = lambda _: None,
) -> Ablation:
    """Score every run by the same three protocols on the same sets.

    Args:
        runs: variant name to the run folders of its seeds; the first variant is the one to compare with.
        test: captioned shard set with `au`, of people that are not in `train`.
        train: shard set for the action-unit probe.
        classes: classes of the zero-shot column, all when None; the other columns use every sample.
        prompts: as in `evaluate`.
        load: from a run folder to an encoder.
        progress: told one line a run.

    Raises:
        MienError: when there is no run, or a run or set cannot be used.
    """
    empty = [name for name, folders in runs.items() if not folders]
    if empty or not runs:
        raise RunError("no runs to compare", where=", ".join(empty), fix="train every variant first")
    held, fitted = open_faces(test), open_faces(train)
    require_disjoint(fitted, held)
    labelled = held.of_classes(classes) if classes else held
    words = load_prompts(prompts) if prompts else covering(labelled.labels) or load_prompts("compound")
    values: dict[str, dict[str, list[float]]] = {}
    for variant, folders in runs.items():
        columns: dict[str, list[float]] = {name: [] for name in HEADS}
        for folder in folders:
            progress(f"{variant}: {folder}")
            for name, value in score(load(folder), held, fitted, labelled, words).items():
                columns[name].append(value)
        values[variant] = columns
    return Ablation(values)


def score(
    encoder: Encoder, test: FaceSet, train: FaceSet, labelled: FaceSet, prompts: PromptSet
) -> dict[str, float]:
    """The numbers of one run, by column name; `labelled` is the part of `test` for zero-shot."""
    zero = zero_shot(encoder, labelled, prompts)[0].metrics["uar"].value
    units = linear_probe_units(encoder, train, test).metrics["au_f1"].value
    found = retrieval(encoder, test)[0].metrics
    return {
        "zero_shot_uar": zero,
        "au_f1": units,
        "i2t_r1": found["i2t_r1"].value,
        "t2i_r1": found["t2i_r1"].value,
    }


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
