"""What a meter does to captions whose truth is known: true ones refused, false ones caught."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.corpus.caption_gates import judge
from mien.corpus.ledger import Row
from mien.corpus.units import Matrix, UnitMeter, Units

_EXCHANGED = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class CaptionScore:
    """Captions of a set with their own faces, with other ones, and with left and right exchanged.

    Attributes:
        captions: how many.
        true_refused: share that the gates refuse beside their own faces, [0, 1].
        other_refused: the same beside the face of another record.
        sided: captions that name a side of an action.
        sided_refused: of these, how many are refused as `asymmetry_unseen`.
        exchanged_refused: the same with left and right exchanged in each sentence on an action.
    """

    captions: int
    true_refused: float
    other_refused: float
    sided: int
    sided_refused: int
    exchanged_refused: int


def score_captions(meter: UnitMeter, features: Matrix, records: list[Row]) -> CaptionScore | None:
    """Judge captions by what the meter reads.

    Args:
        meter: not fitted on these people.
        features: of the faces [N, features].
        records: their records, true of them; those without captions are left out. None if there is none left.
    """
    rows = [row for row, record in enumerate(records) if record.get("locals")]
    if not rows:
        return None
    units = [meter.units(row) for row in meter.measure(features[rows])]
    own = [records[row] for row in rows]
    order = np.random.default_rng(0).permutation(len(rows))
    sided = [(record, exchange_sides(record), seen) for record, seen in zip(own, units, strict=True)]
    sided = [(record, other, seen) for record, other, seen in sided if other["locals"] != record["locals"]]
    return CaptionScore(
        len(rows),
        float(np.mean([bool(_codes(meter, *pair)) for pair in zip(own, units, strict=True)])),
        float(np.mean([bool(_codes(meter, own[other], units[place])) for place, other in enumerate(order)])),
        len(sided),
        sum("asymmetry_unseen" in _codes(meter, record, seen) for record, _, seen in sided),
        sum("asymmetry_unseen" in _codes(meter, other, seen) for _, other, seen in sided),
    )


def _codes(meter: UnitMeter, record: Row, units: Units) -> list[str]:
    return judge(record, units, trust=meter.trust)


def exchange_sides(record: Row) -> dict[str, Any]:
    """The record with left and right exchanged in every local sentence that asserts an action."""

    def turned(text: str) -> str:
        return re.sub(r"\b(left|right)\b", lambda found: _EXCHANGED[found[0]], text)

    parts = [{**local, "text": turned(local["text"])} if local["au"] else local for local in record["locals"]]
    return {**record, "locals": parts}
