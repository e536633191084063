from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import recall_score

from mien.faces.actions import ACTION_UNITS
from mien.faces.emotions import (
    BASIC,
    COMPOUNDS,
    EMOTIONS,
    characteristic,
    parts,
    sample_asymmetry,
    sample_expression,
)
from mien.faces.prototypes import BASIC_FAMILIES, COMPOUND_FAMILIES, EXCLUSIVE, INCIDENTAL

ALL = (*EMOTIONS, *COMPOUNDS)


def _vectors(classes: tuple[str, ...], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for label, emotion in enumerate(classes):
        for _ in range(count):
            actions = sample_expression(emotion, rng, asymmetry=sample_asymmetry(rng)).actions
            rows.append([side.get(n, 0.0) for side in (actions.left, actions.right) for n in ACTION_UNITS])
            labels.append(label)
    return np.array(rows), np.array(labels)


@pytest.mark.parametrize(("classes", "low", "high"), [(BASIC, 0.88, 0.97), (tuple(COMPOUNDS), 0.85, 0.97)])
def test_separable_but_not_trivial(classes, low, high):
    train, test = _vectors(classes, 800, 0), _vectors(classes, 300, 1)
    model = ExtraTreesClassifier(100, min_samples_leaf=2, random_state=0).fit(*train)
    uar = recall_score(test[1], model.predict(test[0]), average="macro")
    assert low <= uar <= high


def test_tables_name_known_units():
    known = {*ACTION_UNITS}
    for families in (*BASIC_FAMILIES.values(), *COMPOUND_FAMILIES.values()):
        assert sum(family.weight for family in families) == pytest.approx(1.0)
        assert all(family.units() <= known for family in families)
    assert {*INCIDENTAL} <= known
    assert set(COMPOUND_FAMILIES) == set(COMPOUNDS)
    assert len(COMPOUNDS) >= 11
    assert all({*parts(name)} <= {*EMOTIONS} for name in ALL)


@pytest.mark.parametrize("emotion", ALL)
def test_is_a_distribution(emotion):
    rng = np.random.default_rng(2)
    drawn = [sample_expression(emotion, rng) for _ in range(400)]
    sets = {tuple(e.actions.active(0.2)) for e in drawn}
    assert len(sets) >= (15 if emotion == "neutral" else 40)
    strength = np.array([e.intensity for e in drawn])
    if emotion == "neutral":
        assert strength.max() < 0.5
    else:
        assert np.quantile(strength, 0.1) < 0.5 < 0.8 < np.quantile(strength, 0.9)
    values = [v for e in drawn for side in (e.actions.left, e.actions.right) for v in side.values()]
    assert 0 <= min(values) <= max(values) <= 1


@pytest.mark.parametrize("emotion", [e for e in ALL if e != "neutral"])
def test_shows_its_core_units(emotion):
    rng = np.random.default_rng(3)
    drawn = [sample_expression(emotion, rng, 0.8, incidental=False) for _ in range(200)]
    own = characteristic(emotion)
    assert all({*e.actions.active(0.2)} <= own | {25} for e in drawn)
    assert np.mean([len(e.actions.active(0.2)) for e in drawn]) >= 1.4


def test_intensity_scales_the_actions():
    rng = np.random.default_rng(4)
    weak, strong = (
        np.mean([sample_expression("happiness", rng, level).actions.intensity(12) for _ in range(200)])
        for level in (0.3, 0.9)
    )
    assert 2.0 < strong / weak < 4.5


def test_no_antagonists_together():
    rng = np.random.default_rng(5)
    both = 0
    for emotion in ALL:
        for _ in range(200):
            active = {*sample_expression(emotion, rng).actions.active(0.01)}
            clashes = [pair for pair in EXCLUSIVE if active >= {*pair} and pair != (12, 15)]
            assert not clashes, (emotion, clashes)
            both += active >= {12, 15}
    assert both < 40


def test_contempt_is_one_sided():
    rng = np.random.default_rng(6)
    drawn = [sample_expression("contempt", rng, 0.8, incidental=False).actions for _ in range(200)]
    left = [a.left.get(14, 0) > a.right.get(14, 0) for a in drawn if a.intensity(14) > 0.2]
    assert 0.35 < np.mean(left) < 0.65
    assert all(min(a.left[14], a.right[14]) < 0.25 * a.intensity(14) for a in drawn if a.intensity(14) > 0.2)


def test_asymmetry_is_the_persons_habit():
    rng = np.random.default_rng(7)
    drawn = [sample_expression("happiness", rng, 0.8, asymmetry=0.3).actions for _ in range(100)]
    assert np.mean([a.left[12] - a.right[12] for a in drawn if 12 in a.left]) > 0.1


def test_neutral_moves_little():
    rng = np.random.default_rng(8)
    strongest = [
        max((a.intensity(n) for n in a.active(0.0) if n not in (43, 45)), default=0.0)
        for a in (sample_expression("neutral", rng).actions for _ in range(300))
    ]
    assert np.median(strongest) < 0.2
    assert max(strongest) < 0.5


def test_same_seed_same_face_and_unknown_emotion():
    assert sample_expression("fear", np.random.default_rng(9)) == sample_expression(
        "fear", np.random.default_rng(9)
    )
    with pytest.raises(KeyError):
        sample_expression("boredom", np.random.default_rng(0))
