"""Few shots: C is chosen on them alone, and intervals hold the spread between draws."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mien.errors import DataError
from mien.evaluation import metrics, probe
from mien.evaluation.suite.counting import class_intervals, draw_intervals

OLD = 1e-3
"""C of few shots before it was chosen."""


def hidden(each: int, seed: int, width: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Three classes told apart by small offsets under a large nuisance that all features share."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each)
    ways = np.random.default_rng(99).normal(size=(3, width))
    shared = rng.normal(size=(len(labels), 1)) * 8
    return ways[labels] + shared + 0.1 * rng.normal(size=(len(labels), width)), labels


@pytest.mark.parametrize("each", [8, 16])
def test_separable_vectors_are_separated_where_the_old_strength_failed(each: int):
    features, labels = hidden(each, seed=0)
    test, truth = hidden(200, seed=100)
    old, usual = (
        (probe.fit_at(c, features, labels).model.predict(test) == truth).mean()
        for c in (OLD, probe.SHOT_STRENGTH / 40)
    )
    found = probe.fit_shots(features, labels)
    right = (found.probabilities(test).argmax(1) == truth).mean()
    assert old < 0.6
    assert right > 0.9
    assert right > usual
    assert found.strength > probe.SHOT_STRENGTH / 40


def test_what_folds_cannot_tell_apart_stays_at_the_usual_strength():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), 4)
    kept = [probe.fit_shots(rng.normal(size=(28, 64)), labels, seed=seed).strength * 64 for seed in range(8)]
    assert kept.count(pytest.approx(probe.SHOT_STRENGTH)) >= 6


def test_few_samples_of_many_classes_make_no_noise():
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in (1, 2):
            probe.fit_shots(rng.normal(size=(30 * each, 8)), np.tile(np.arange(30), each))


@pytest.mark.parametrize("width", [16, 128])
def test_one_sample_a_class_takes_the_usual_strength_of_its_width(width: int):
    features = np.random.default_rng(0).normal(size=(5, width))
    assert probe.fit_shots(features, np.arange(5)).strength == pytest.approx(probe.SHOT_STRENGTH / width)


def test_folds_of_shots_hold_every_sample_once_and_every_class_in_training(monkeypatch):
    seen = []
    choose = probe._near_the_usual

    def spy(features, labels, splits):
        seen.extend(splits)
        return choose(features, labels, splits)

    monkeypatch.setattr(probe, "_near_the_usual", spy)
    labels = np.tile(np.arange(4), 8)
    probe.fit_shots(np.random.default_rng(0).normal(size=(32, 6)), labels)
    assert len(seen) == 5
    assert sorted(np.concatenate([held for _, held in seen])) == list(range(32))
    assert all(set(labels[fit]) == {0, 1, 2, 3} and not set(fit) & set(held) for fit, held in seen)


def test_rare_classes_among_the_shots():
    rng = np.random.default_rng(0)
    for labels in ([0, 0, 1], [0, 0, 0, 0, 1, 2], [0, 1, 1, 1, 1, 1]):
        found = probe.fit_shots(rng.normal(size=(len(labels), 5)), np.array(labels))
        assert found.probabilities(np.zeros((1, 5))).shape == (1, max(labels) + 1)
    with pytest.raises(DataError, match="two classes"):
        probe.fit_shots(rng.normal(size=(4, 5)), np.zeros(4, dtype=int))


def answers(rates: list[float], people: int = 300) -> np.ndarray:
    """Of each draw which samples are hits, [S, N, 2]: a share of the people, one sample each."""
    return np.stack([metrics.hit_counts(np.arange(people) < rate * people) for rate in rates])


def test_one_draw_gives_the_plain_interval():
    groups = [f"p{i // 3}" for i in range(300)]
    counts = answers([0.6])
    alone = metrics.bootstrap(metrics.hit_rate, counts[0], groups, seed=3)
    assert metrics.bootstrap_draws(metrics.hit_rate, counts, groups, seed=3) == alone
    again = metrics.bootstrap_draws(metrics.hit_rate, np.repeat(counts, 5, axis=0), groups, seed=3)
    assert again.value == pytest.approx(alone.value)
    assert (again.low, again.high) == pytest.approx((alone.low, alone.high))


def test_the_interval_widens_with_the_spread_between_draws():
    groups = [f"p{i}" for i in range(300)]
    near, far = (
        metrics.bootstrap_draws(metrics.hit_rate, answers(rates), groups)
        for rates in ([0.58, 0.59, 0.6, 0.61, 0.62], [0.4, 0.5, 0.6, 0.7, 0.8])
    )
    assert near.value == pytest.approx(far.value) == pytest.approx(0.6)
    assert far.high - far.low > 2 * (near.high - near.low)
    assert far.low < 0.4
    assert far.high > 0.8


def test_draws_are_averaged_and_each_is_scored_on_all_samples():
    labels = np.array([0, 0, 1, 1])
    predictions = np.array([[0, 0, 1, 1], [0, 0, 0, 0]])
    folds, groups = np.zeros(4, dtype=np.int64), list("abcd")
    got = draw_intervals(labels, predictions, folds, 2, groups)
    single = [class_intervals(labels, one, folds, 2, groups)["uar"].value for one in predictions]
    assert single == [1, 0.5]
    assert got["uar"].value == got["war"].value == 0.75
    assert got["uar"].high == 1
