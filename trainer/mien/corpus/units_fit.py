"""Fits a unit meter on a set with known units, and scores one on people never seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.corpus.units import Matrix, UnitMeter, hog_of, told, upright
from mien.corpus.units_trust import RISK, shares_and_limits
from mien.data.reader import ShardSet
from mien.errors import DataError
from mien.faces.actions import ACTION_UNITS
from mien.faces.captions import ABSENT, VISIBLE

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Ridge penalties tried."""

FOLDS, LEAST = 4, 40
"""Folds of people; faces that must show a unit for it to be measured."""

_GRID = np.linspace(0.04, 0.6, 57, dtype=np.float32)


@dataclass(frozen=True)
class Measured:
    """Features [N, F] of a set's faces and of their mirror images, true intensities [N, units, 2], people.

    `records` are those of the samples, where captions are to be judged.
    """

    features: Matrix
    mirrored: Matrix
    truth: Matrix
    people: list[str]
    records: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class UnitScore:
    """How well a unit is measured on a set.

    Attributes:
        number: FACS number.
        faces: faces that show it at `VISIBLE` or more.
        correlation: Pearson's, over the stronger side of all faces.
        f1: of "shows it at `VISIBLE` or more".
        f1_mean: F1 of telling the mean of the train set for every face: of "all" or "none" of them.
        mae, mae_mean: mean absolute error of the intensity, of the meter and of the mean.
        sides: correlation of left minus right; NaN if they never differ, or are told as even.
        refuted: of faces without the unit (below `ABSENT`), the share where its presence is refuted.
        wronged: of faces that show it, the share where its presence is refuted.
    """

    number: int
    faces: int
    correlation: float
    f1: float
    f1_mean: float
    mae: float
    mae_mean: float
    sides: float
    refuted: float
    wronged: float


def measure_set(folder: Path, progress: bool = False) -> Measured:
    """Features and truth of every sample of a set.

    Raises:
        DataError: for a damaged sample, or a set without `au`.
    """
    from rich.progress import track

    shards = ShardSet(folder)
    rows: Iterable[int] = range(len(shards))
    if progress:
        rows = track(rows, description="features", total=len(shards))
    features, mirrored, truth, people, records = [], [], [], [], []
    for row in rows:
        sample = shards.read(row)
        units = sample.record.get("au", {})
        try:
            face = upright(sample.image)
        except DataError as error:
            raise DataError(error.what, where=sample.key, fix="give a set of faces without it") from error
        truth.append([units.get(str(number), (0.0, 0.0)) for number in ACTION_UNITS])
        features.append(hog_of(face))
        mirrored.append(hog_of(np.ascontiguousarray(face[:, ::-1])))
        people.append(sample.record["group"])
        records.append(sample.record)
    if not np.any(truth):
        raise DataError("no sample carries `au` intensities", where=folder, fix="give a set of emocap/1")
    known = np.array(truth, dtype=np.float32)
    return Measured(np.stack(features), np.stack(mirrored), known, people, records)


def fit_meter(train: Measured, source: str = "", risk: float = RISK) -> UnitMeter:
    """The meter whose penalty and thresholds do best on folds of people, and what its readings are good for.

    Args:
        train: its faces; each is fitted on together with its mirror image.
        source: told in the facts.
        risk: share of true sentences about a unit that its readings may refute.

    Raises:
        DataError: if fewer than `FOLDS` people, or no unit that enough faces show.
    """
    shown = ((train.truth.max(2) >= VISIBLE).sum(0) >= LEAST).nonzero()[0]
    if not len(shown) or len(set(train.people)) < FOLDS:
        what = f"too few faces: no unit is shown by {LEAST}, or fewer than {FOLDS} people"
        raise DataError(what, where=source, fix="give a larger set")
    numbers = tuple(list(ACTION_UNITS)[place] for place in shown)
    truth = train.truth[:, shown]
    by_strength = _out_of_fold(train, truth)
    targets = truth.reshape(len(truth), -1)
    errors = {strength: float(((raw - targets) ** 2).mean()) for strength, raw in by_strength.items()}
    strength = min(errors, key=errors.__getitem__)
    thresholds = _thresholds(by_strength[strength], truth)
    held = told(by_strength[strength], thresholds).reshape(truth.shape)
    sides, trust = shares_and_limits(numbers, held, truth, train.people, risk)
    facts = {"source": source, "faces": len(truth), "people": len(set(train.people)), "strength": strength}
    facts |= {"risk": risk, "sides": {str(n): [s.r, s.low] for n, s in zip(numbers, sides, strict=True)}}
    return UnitMeter(
        numbers,
        _ridge(*_doubled(train, truth), (strength,))[strength],
        thresholds,
        np.array([side.share for side in sides], dtype=np.float32),
        np.array([(t.low, t.high, t.lead) for t in trust], dtype=np.float32),
        facts,
    )


def _doubled(
    train: Measured, truth: Matrix, rows: npt.NDArray[np.int64] | None = None
) -> tuple[Matrix, Matrix]:
    """Features and targets [., 2 x units] of faces and of their mirror images, whose sides are exchanged."""
    chosen = np.arange(len(truth)) if rows is None else rows
    features = np.concatenate([train.features[chosen], train.mirrored[chosen]])
    targets = np.concatenate([truth[chosen], truth[chosen][:, :, ::-1]])
    return features, targets.reshape(len(targets), -1)


def _out_of_fold(train: Measured, truth: Matrix) -> dict[float, Matrix]:
    """Readings [N, 2 x units] of each face by a fit without its person, by penalty."""
    from sklearn.model_selection import GroupKFold

    found = {strength: np.zeros((len(truth), 2 * truth.shape[1]), np.float32) for strength in STRENGTHS}
    for kept, held in GroupKFold(FOLDS).split(train.features, groups=train.people):
        for strength, weights in _ridge(*_doubled(train, truth, kept), STRENGTHS).items():
            found[strength][held] = train.features[held] @ weights[:-1] + weights[-1]
    return found


def _ridge(features: Matrix, targets: Matrix, strengths: tuple[float, ...]) -> dict[float, Matrix]:
    """Weights [features + 1, targets] by penalty; one decomposition serves all of them."""
    mean, offset = features.mean(0), targets.mean(0)
    centred = (features - mean).astype(np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    seen = vectors.T @ (centred.T @ (targets - offset))
    made = {}
    for strength in strengths:
        slopes = vectors @ (seen / (np.maximum(values, 0) + strength)[:, None])
        made[strength] = np.vstack([slopes, offset - mean @ slopes]).astype(np.float32)
    return made


def _thresholds(raw: Matrix, truth: Matrix) -> Matrix:
    """Reading that splits faces with from faces without a unit at the best F1, float32 [2 x units]; of both
    sides together, so that a mirrored face is told as the mirror image."""
    sides = raw.reshape(truth.shape)
    found = [_threshold(sides[:, i].ravel(), truth[:, i].ravel() >= VISIBLE) for i in range(truth.shape[1])]
    return np.repeat(np.array(found, dtype=np.float32), 2)


def _threshold(raw: Matrix, shown: npt.NDArray[np.bool_]) -> float:
    scores = [_f1(raw >= threshold, shown) for threshold in _GRID]
    return float(_GRID[int(np.argmax(scores))])


def _f1(told: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_]) -> float:
    return float(2 * (told & true).sum() / max(1, told.sum() + true.sum()))


def score_meter(meter: UnitMeter, test: Measured, train: Measured) -> list[UnitScore]:
    """Scores of each unit on `test`, beside those of telling the mean of `train` for every face."""
    places = [list(ACTION_UNITS).index(number) for number in meter.numbers]
    found, truth = meter.measure(test.features), test.truth[:, places]
    means = train.truth[:, places].max(2).mean(0)
    rows = []
    for i, number in enumerate(meter.numbers):
        seen, true = found[:, i].max(1), truth[:, i].max(1)
        shown = true >= VISIBLE
        refuted = seen < meter.trust[number].low
        rows.append(
            UnitScore(
                number,
                int(shown.sum()),
                _correlation(seen, true),
                _f1(seen >= VISIBLE, shown),
                _f1(np.full(len(true), means[i] >= VISIBLE), shown),
                float(np.abs(seen - true).mean()),
                float(np.abs(means[i] - true).mean()),
                _correlation(found[:, i, 0] - found[:, i, 1], truth[:, i, 0] - truth[:, i, 1]),
                _share(refuted[true < ABSENT]),
                _share(refuted[shown]),
            )
        )
    return rows


def _share(found: npt.NDArray[np.bool_]) -> float:
    return float(found.mean()) if len(found) else float("nan")


def _correlation(a: Matrix, b: Matrix) -> float:
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
