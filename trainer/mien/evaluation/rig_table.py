"""Tables of measured edits by a 3D face: methods against each other, and one method mode by mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mien.evaluation.edit_table import line, spread, write_values
from mien.evaluation.rig_edits import RigScores

Measure = Callable[[RigScores], float]


def _mean(name: str) -> Measure:
    return lambda scores: float(np.mean(getattr(scores, name)))


def _asking(mode: str, measure: Measure) -> Measure:
    return lambda scores: _over(scores, scores.asks(mode), measure)


def _leaving(mode: str, measure: Measure) -> Measure:
    return lambda scores: _over(scores, ~scores.asks(mode), measure)


def _over(scores: RigScores, chosen: np.ndarray, measure: Measure) -> float:
    return measure(scores.of(chosen)) if chosen.any() else float("nan")


COLUMNS: dict[str, Measure] = {
    "pose": _asking("pose", _mean("pose")),
    "light": _asking("light", lambda scores: scores.lit),
    "expression": _asking("exp", lambda scores: scores.expression),
    "pose kept": _leaving("pose", _mean("pose")),
    "units kept": _leaving("exp", lambda scores: scores.drift),
    "ID": _mean("identity"),
    "background": _mean("background"),
    "picture": _mean("picture"),
    "face": _mean("face"),
}
"""Of edits that ask for it: degrees off the asked pose, correlation of asked and measured light, error of the
units as a share of that of no edit. Of edits that do not: degrees off the source's pose, levels that units
move. Of all: L2 of identities, RMSE outside what may be drawn, to the true picture, and to its face."""


def rig_table(rows: Mapping[str, Sequence[RigScores]]) -> str:
    """Markdown: a row a method, mean and deviation over its seeds."""
    lines = [line("method", "seeds", *COLUMNS), line("---", *["---:"] * (1 + len(COLUMNS)))]
    for name, scores in rows.items():
        cells = [spread([measure(one) for one in scores]) for measure in COLUMNS.values()]
        lines.append(line(name, str(len(scores)), *cells))
    return "\n".join(lines) + "\n"


def mode_table(scores: Sequence[RigScores]) -> str:
    """Markdown: each edit by itself, of the person's own target and of another's; means over seeds."""
    lines = [line("codes", "target", *COLUMNS), line("---", "---", *["---:"] * len(COLUMNS))]
    for modes in dict.fromkeys(scores[0].modes.tolist()):
        for cross in (False, True):
            parts = [one.of((one.modes == modes) & (one.cross == cross)) for one in scores]
            cells = [spread([measure(one) for one in parts]) for measure in COLUMNS.values()]
            lines.append(line(modes, "another person" if cross else "same person", *cells))
    return "\n".join(lines) + "\n"


def write_rig_csv(rows: Mapping[str, Sequence[RigScores]], file: Path) -> None:
    """One line a method, seed and column of `COLUMNS`."""
    write_values(
        {
            name: [{title: measure(one) for title, measure in COLUMNS.items()} for one in scores]
            for name, scores in rows.items()
        },
        file,
    )
