"""The report on mining as files: table, sheets of anchors with their positives, one self-contained page."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image, ImageDraw, ImageFont

from mien.data.decode import decode_sample
from mien.data.reader import ShardSet
from mien.data.staging import staged
from mien.evaluation.mined import MinedReport, RuleFound, rows_of
from mien.evaluation.page import Picture

_ANCHORS = 8
_SIDE, _GAP, _TEXT = 112, 8, 32
_INK, _SOFT, _BLUE, _LINE = "#222831", "#5b6672", "#2f6db3", "#e1e5ea"
_WHY = {
    "random": "Pairs that mining may take, drawn at random: what no rule at all would give.",
    "image": "Images alike, whatever was said of them.",
    "text": "Captions alike, whatever the images look like.",
    "consensus": "Alike in both: the lower of the two similarities decides (R2).",
    "swap": "Captions alike for image rows, images alike for text rows (R1); both lists together.",
    "union": "Alike in either: the higher of the two similarities decides (R4).",
}


def write_report(report: MinedReport, shards: ShardSet, out: Path) -> None:
    """Write `report.html`, `mined.json` and a sheet `RULE.png` a rule into a new folder, whole or not at all.

    Args:
        report: what was measured.
        shards: the set, for the pictures; they are shown in the page, so mind their licence.
        out: absent, or an empty folder.

    Raises:
        DataError: if the folder is in use, the disk refuses, or an image is damaged.
    """
    anchors = pick_anchors(report)
    pictures = [
        Picture(one.rule, _WHY[one.rule], sheet(one, report, shards, anchors)) for one in report.rules
    ]
    environment = Environment(
        loader=PackageLoader("mien.evaluation", "."), autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
    )  # fmt: skip
    rows = rows_of(report)
    text = environment.get_template("mined.html.j2").render(
        title=f"What mining finds in {len(report.records):,} samples", rows=rows, columns=list(rows[0]),
        pictures=pictures, facts=report.facts,
    )  # fmt: skip
    with staged(out) as folder:
        for picture in pictures:
            (folder / f"{picture.title}.png").write_bytes(picture.png)
        (folder / "report.html").write_text(text, encoding="utf-8")
        (folder / "mined.json").write_text(json.dumps(_plain(report), indent=1) + "\n", encoding="utf-8")


def pick_anchors(report: MinedReport) -> list[int]:
    """Samples to show, of other people each, that have positives by every rule if there are enough such."""
    has = np.stack([(one.lists >= 0).any(1) for one in report.rules])
    best = np.argsort(-has.sum(0), kind="stable")
    labels: Counter[str] = Counter()
    chosen: dict[str, int] = {}
    for most in range(1, _ANCHORS + 1):  # of each class one, then a second, until the sheet is full
        for index in best.tolist():
            record = report.records[index]
            person, label = str(record.get("group", index)), str(record.get("label"))
            if len(chosen) < _ANCHORS and record and person not in chosen and labels[label] < most:
                chosen[person] = index
                labels[label] += 1
    return list(chosen.values())


def sheet(one: RuleFound, report: MinedReport, shards: ShardSet, anchors: Sequence[int]) -> bytes:
    """PNG: a row an anchor, itself framed and then its positives; below each its label and AU distance."""
    columns = min(8, one.lists.shape[1])
    step = _SIDE + _GAP
    width, height = 2 * _GAP + (columns + 1) * step + _GAP, _GAP + len(anchors) * (step + _TEXT)
    page = Image.new("RGB", (width, max(height, step)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=12)
    for row, anchor in enumerate(anchors):
        top = _GAP + row * (step + _TEXT)
        positives = [int(other) for other in one.lists[anchor] if other >= 0][:columns]
        for column, index in enumerate([anchor, *positives]):
            left = _GAP + column * step + (_GAP if column else 0)
            page.paste(_face(shards, index), (left, top))
            if not column:
                draw.rectangle((left - 2, top - 2, left + _SIDE + 1, top + _SIDE + 1), outline=_BLUE, width=2)
            label = str(report.records[index].get("label") or report.records[index].get("group") or "")
            draw.text((left, top + _SIDE + 3), label[:16], fill=_INK, font=font)
            draw.text((left, top + _SIDE + 17), _below(report, anchor, index), fill=_SOFT, font=font)
        if not positives:
            draw.text((_GAP + step + _GAP, top + _SIDE // 2), "no positive", fill=_SOFT, font=font)
        if row:
            draw.line((_GAP, top - 6, width - _GAP, top - 6), fill=_LINE)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def _face(shards: ShardSet, index: int) -> Image.Image:
    image = Image.fromarray(decode_sample(shards.read(index)).permute(1, 2, 0).contiguous().numpy())
    return image.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)


def _below(report: MinedReport, anchor: int, index: int) -> str:
    if index == anchor:
        return "anchor"
    if report.distances is None:
        return ""
    return f"AU {abs(report.distances[anchor] - report.distances[index]).sum():.2f}"


def _plain(report: MinedReport) -> dict[str, Any]:
    """Numbers as JSON; NaN becomes null."""

    def value(found: Any) -> Any:
        return None if isinstance(found, float) and np.isnan(found) else found

    rules = []
    for one in report.rules:
        fields = {name: value(getattr(one, name)) for name in one.__dataclass_fields__ if name != "lists"}
        rules.append({k: asdict(v) if k in ("distance", "near") and v else v for k, v in fields.items()})
    return {"facts": dict(report.facts), "rules": rules}
