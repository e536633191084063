"""How well the stages did on a movie of the face world, against its truth."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.corpus.find import face_rows
from mien.corpus.gates import read_crop
from mien.corpus.ledger import Row
from mien.corpus.stages import Workplace
from mien.corpus.track import overlap
from mien.corpus.units import UnitMeter
from mien.faces.captions import VISIBLE

MATCH = 0.4
"""Least overlap (IoU) of a found box and a true one; true boxes bound the landmarks, so they are tighter."""

LEAST_SHOWN = 10
"""Faces that must show a unit for its measure to be scored."""

_SAME_FRAME = 1


@dataclass(frozen=True)
class Known:
    """What is true of a found face: (shot, track), the track, the moment and the take that it shows."""

    place: tuple[int, int]
    track: dict[str, Any]
    take: tuple[int, int, int]


class Truth:
    """Looks up the truth of `mien.faces.movie`."""

    def __init__(self, truth: dict[str, Any]) -> None:
        self.shots: list[dict[str, Any]] = truth["shots"]
        self._firsts = np.array([shot["first"] for shot in self.shots])

    def shot(self, frame: int) -> dict[str, Any]:
        """The shot of a frame."""
        return self.shots[int(np.searchsorted(self._firsts, frame, side="right")) - 1]

    def known(self, row: Row) -> Known | None:
        """What a found face is, None for a false one."""
        shot = self.shot(row["frame"])
        if not shot["tracks"]:
            return None
        at = row["frame"] - shot["first"]
        shares = overlap(np.array(row["box"]), np.array([track["boxes"][at] for track in shot["tracks"]]))
        if shares.max() < MATCH:
            return None
        number = int(shares.argmax())
        source = shot["shot"] if shot["repeat_of"] is None else shot["repeat_of"]
        return Known((shot["shot"], number), shot["tracks"][number], (source, number, shot["moments"][at]))

    def wanted(self, options_side: float, yaw: float) -> set[tuple[int, int]]:
        """(shot, track) of the tracks that the gates should let pass: sharp, large, not turned away."""
        return {
            (shot["shot"], number)
            for shot in self.shots
            for number, track in enumerate(shot["tracks"])
            if not track["blur"]
            and abs(track["yaw"]) <= yaw
            and np.median(np.array(track["boxes"])[:, 2:].min(1)) >= options_side
        }


def score(place: Workplace, truth: dict[str, Any], meter: UnitMeter | None = None) -> dict[str, float]:
    """Measures of one movie.

    Args:
        place: of the movie.
        truth: as `mien.faces.movie.load_truth`.
        meter: adds `unit_r`, the mean over its units of the correlation of measured and true intensity, over
            the chosen faces; units that fewer than `LEAST_SHOWN` of them show are left out.

    Returns:
        shot_f1, shot_precision, shot_recall: boundaries, one frame of tolerance.
        track_recall: true tracks that should pass the gates and have a face that did; track_detected: those
        found in half of the frames looked at; track_purity: found tracks of one person only; false_faces.
        gate_precision: faces that passed and should; blurred_passed, small_passed, profile_passed: faces.
        yaw_mae: degrees, where |yaw| <= 60.
        copy_precision: dropped faces that show the same person at the same moment of a take as the one that
        stays; copy_same_take: or at another moment; copy_recall: of faces whose moment was there before.

    Raises:
        DataError: if a stage is not done.
    """
    world, options = Truth(truth), place.options
    found = face_rows(place.need("faces"))
    passed = [row for row in place.need("gates").rows if row["reason"] in (None, "not_chosen")]
    wanted = world.wanted(options.side, options.yaw)
    return {
        **_shots(place, world),
        **_tracks(found, passed, wanted, world),
        **_gates(passed, world),
        **_copies(place, world),
        **(_units(place, world, meter) if meter is not None else {}),
    }


def _shots(place: Workplace, world: Truth) -> dict[str, float]:
    true = [shot["first"] for shot in world.shots[1:]]
    told = [row["first"] for row in place.need("shots").rows[1:]]
    hits = sum(any(abs(a - b) <= _SAME_FRAME for b in told) for a in true)
    precision, recall = hits / max(len(told), 1), hits / max(len(true), 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {"shots": len(true) + 1, "shot_f1": f1, "shot_precision": precision, "shot_recall": recall}


def _tracks(
    found: list[Row], passed: list[Row], wanted: set[tuple[int, int]], world: Truth
) -> dict[str, float]:
    looked: defaultdict[int, set[int]] = defaultdict(set)
    seen: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    people: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    false, errors = 0, []
    for row in found:
        known = world.known(row)
        looked[world.shot(row["frame"])["shot"]].add(row["frame"])
        if known is None:
            false += 1
            continue
        seen[known.place].add(row["frame"])
        people[row["shot"], row["track"]].add(known.track["person"])
        if abs(known.track["yaw"]) <= 60:
            errors.append(abs(row["yaw"] - known.track["yaw"]))
    through = {known.place for row in passed if (known := world.known(row))}
    half = {place for place, frames in seen.items() if len(frames) >= len(looked[place[0]]) / 2}
    return {
        "faces": len(found),
        "true_tracks": len(wanted),
        "track_detected": len(wanted & half) / max(len(wanted), 1),
        "track_recall": len(wanted & through) / max(len(wanted), 1),
        "track_purity": float(np.mean([len(who) == 1 for who in people.values()])) if people else 0.0,
        "false_faces": false,
        "yaw_mae": float(np.mean(errors)) if errors else 0.0,
    }


def _gates(passed: list[Row], world: Truth) -> dict[str, float]:
    kinds = Counter[str]()
    for row in passed:
        known = world.known(row)
        kinds["false" if known is None else world.shot(row["frame"])["kind"]] += 1
    return {
        "passed": len(passed),
        "gate_precision": (kinds["plain"] + kinds["repeat"]) / max(len(passed), 1),
        **{f"{kind}_passed": kinds[kind] for kind in ("blurred", "small", "profile")},
    }


def _copies(place: Workplace, world: Truth) -> dict[str, float]:
    chosen = {row["key"]: row for row in place.need("gates").rows if row["reason"] is None}
    told = place.need("dedup").rows
    owner = {row["uid"]: world.known(chosen[row["key"]]) for row in told}
    dropped = [(owner[row["uid"]], owner[row["dup"]]) for row in told if row["reason"]]
    pairs = [(one, other) for one, other in dropped if one and other]
    exact = sum(one.take == other.take for one, other in pairs)
    near = sum(one.take[:2] == other.take[:2] for one, other in pairs)
    before: set[tuple[int, int, int]] = set()
    again, caught = 0, 0
    for row in told:
        known = owner[row["uid"]]
        if known is not None:
            again += known.take in before
            caught += known.take in before and row["reason"] is not None
            before.add(known.take)
    return {
        "dropped": len(dropped),
        "copy_precision": exact / max(len(dropped), 1),
        "copy_same_take": near / max(len(dropped), 1),
        "copies": again,
        "copy_recall": caught / max(again, 1),
    }


def _units(place: Workplace, world: Truth, meter: UnitMeter) -> dict[str, float]:
    path, read, true = place.path("gates"), [], []
    for row in place.need("gates").rows:
        known = world.known(row) if row["reason"] is None else None
        if known is not None and "units" in known.track:
            shown = known.track["units"][known.take[2]]
            found = meter(read_crop(path, row), row["crop_lm5"])
            read.append([max(found[number]) for number in meter.numbers])
            true.append([max(shown.get(str(number), [0.0])) for number in meter.numbers])
    pairs = list(zip(np.array(read).T, np.array(true).T, strict=True))
    rs = [np.corrcoef(a, b)[0, 1] for a, b in pairs if (b >= VISIBLE).sum() >= LEAST_SHOWN and np.ptp(a)]
    return {"units": len(rs), "unit_r": float(np.mean(rs)) if rs else 0.0}
