"""`report.html`: one file with everything in it, no script, no link to the outside."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from mien.engine.rundir import write_atomic
from mien.evaluation import figures
from mien.evaluation.faceset import FaceSet
from mien.evaluation.report import TITLES, Report, metric_names
from mien.systems.encoder import Encoder

NAMES = {
    "zero_shot": "Zero-shot",
    "linear_probe": "Linear probe",
    "retrieval": "Caption retrieval",
    "classify": "Classes",
}


@dataclass(frozen=True)
class Picture:
    """A figure with its words."""

    title: str
    why: str
    png: bytes

    @property
    def data(self) -> str:
        """The PNG in base64."""
        return base64.b64encode(self.png).decode("ascii")


def write_page(report: Report, path: Path, encoder: Encoder | None, test: FaceSet) -> None:
    """Draw the figures of a report and write it as one HTML file.

    Args:
        report: rows, predictions and facts.
        path: file to write.
        encoder: for the patch heat-maps, which are left out without one.
        test: the set that was scored, for the faces; they are shown in the page, so mind their licence.
    """
    environment = Environment(
        loader=PackageLoader("mien.evaluation", "."), autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
    )  # fmt: skip
    environment.filters["share"] = lambda value: f"{100 * value:.1f}"
    names = metric_names(report.rows)
    units = [name for name in names if name.startswith("f1_au")]
    text = environment.get_template("report.html.j2").render(
        report=report,
        run_name=Path(report.run).name,
        title=f"{NAMES.get(report.protocol, report.protocol)}, {len(report.keys):,} faces",
        people=len(set(report.groups)),
        metrics=[name for name in names if name not in units],
        titles=TITLES,
        units=units,
        unit_rows=[row for row in report.rows if units and units[0] in row.metrics],
        blocks=[block for block in _blocks(report, encoder, test) if block],
        facts={**report.facts, "metrics": "in percent; ECE with 15 equal bins of confidence"},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)


def _blocks(report: Report, encoder: Encoder | None, test: FaceSet) -> list[list[Picture]]:
    """Pictures in reading order; those of one block stand side by side."""
    made = report.rows[0].predictions
    blocks = [_intervals(report)]
    if made is not None:
        blocks.append(
            [
                Picture(
                    "Confusion matrix",
                    "Share of each true class (row) that went to each answer.",
                    figures.confusion(made),
                ),
                Picture(
                    "Reliability", "Points below the diagonal: too confident.", figures.reliability(made)
                ),
            ]
        )
        for right, title, why in (
            (True, "Right", "The most confident right answers, a class at a time."),
            (False, "Wrong", "The most confident wrong answers: what was said, then what the label is."),
        ):
            blocks.append(_picture(title, why, figures.face_sheet(made, test, right)))
    blocks.append(
        _picture(
            "Where a sentence looks",
            "Cosine of each image patch with a local sentence; bright is high, each map in its own range.",
            figures.patch_sheet(encoder, test) if encoder is not None else None,
        )
    )
    curves = figures.curves(Path(report.run) / "metrics.csv")
    blocks.append(
        _picture("Training", "From metrics.csv of the run; the strong line is a running mean.", curves)
    )
    return blocks


def _intervals(report: Report) -> list[Picture]:
    name = next(iter(report.rows[0].metrics))
    rows = [
        (
            row.method,
            row.metrics[name].value,
            row.metrics[name].low,
            row.metrics[name].high,
            row.kind == "run",
        )
        for row in report.rows
        if name in row.metrics
    ]
    title = TITLES.get(name, name)
    return [
        Picture(title, "The same numbers as a picture, with their intervals.", figures.intervals(rows, title))
    ]


def _picture(title: str, why: str, png: bytes | None) -> list[Picture]:
    return [] if png is None else [Picture(title, why, png)]
