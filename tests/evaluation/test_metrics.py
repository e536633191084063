"""Metrics against scikit-learn, torchmetrics and plain loops; the bootstrap against its theory."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from torchmetrics.classification import MulticlassCalibrationError

from mien.evaluation import metrics

CLASSES = 5


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.choice(CLASSES, 400, p=[0.5, 0.25, 0.15, 0.07, 0.03])
    scores = rng.dirichlet(np.ones(CLASSES), 400) + 0.5 * np.eye(CLASSES)[labels]
    scores /= scores.sum(1, keepdims=True)
    return labels, scores.argmax(1), scores


def test_class_metrics_equal_scikit_learn(answers):
    labels, found, _ = answers
    counts = metrics.confusion_counts(labels, found, CLASSES).sum(0)
    assert metrics.uar(counts) == pytest.approx(balanced_accuracy_score(labels, found), abs=1e-12)
    assert metrics.war(counts) == pytest.approx(accuracy_score(labels, found), abs=1e-12)
    assert metrics.macro_f1(counts) == pytest.approx(f1_score(labels, found, average="macro"), abs=1e-12)


def test_class_without_samples_is_left_out_of_uar_and_f1():
    labels, found = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])  # class 2 is answered but never true
    counts = metrics.confusion_counts(labels, found, 4).sum(0)
    assert metrics.uar(counts) == pytest.approx((0.5 + 1) / 2)
    assert metrics.macro_f1(counts) == pytest.approx((2 / 3 + 1) / 2)


def test_stacked_counts_give_stacked_metrics(answers):
    labels, found, _ = answers
    halves = [metrics.confusion_counts(labels[i::2], found[i::2], CLASSES).sum(0) for i in (0, 1)]
    together = metrics.uar(np.stack(halves))
    assert together.tolist() == [pytest.approx(float(metrics.uar(half))) for half in halves]


def test_unit_f1_equals_scikit_learn():
    rng = np.random.default_rng(1)
    truth, found = rng.random((300, 4)) < 0.3, rng.random((300, 4)) < 0.4
    truth[:, 3] = False
    counts = metrics.binary_counts(truth, found).sum(0)
    expected = [f1_score(truth[:, i], found[:, i], zero_division=0) for i in range(4)]
    assert metrics.binary_f1(counts) == pytest.approx(expected, abs=1e-12)
    assert metrics.mean_binary_f1(counts) == pytest.approx(np.mean(expected[:3]), abs=1e-12)


def test_ece_equals_torchmetrics(answers):
    labels, found, scores = answers
    reference = MulticlassCalibrationError(CLASSES, n_bins=15, norm="l1")
    expected = float(reference(torch.from_numpy(scores), torch.from_numpy(labels)))
    counts = metrics.reliability_counts(scores.max(1), found == labels)
    assert metrics.ece(counts.sum(0)) == pytest.approx(expected, abs=1e-6)


def test_bootstrap_equals_a_loop_over_drawn_people(answers):
    labels, found, _ = answers
    groups = np.array([f"p{i % 37:02d}" for i in range(len(labels))])
    counts = metrics.confusion_counts(labels, found, CLASSES)
    interval = metrics.bootstrap(metrics.uar, counts, groups, n=metrics.CHUNK, seed=3)
    people = np.unique(groups)
    draws = np.random.default_rng(3).multinomial(37, np.full(37, 1 / 37), size=metrics.CHUNK)
    loop = []
    for draw in draws:
        chosen = np.concatenate(
            [np.flatnonzero(groups == who) for who, times in zip(people, draw) for _ in range(times)]
        )
        loop.append(balanced_accuracy_score(labels[chosen], found[chosen]))
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(loop, (0.025, 0.975))), abs=1e-9)
    assert interval.value == pytest.approx(balanced_accuracy_score(labels, found))


def test_bootstrap_covers_the_truth_when_people_differ():
    """200 studies of 40 people x 10 samples, each with a rate of their own: 95 % of intervals hold it."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10).astype(str)
    covered, naive = 0, 0
    for study in range(200):
        skill = np.repeat(rng.beta(3, 2, 40), 10)  # mean 0.6
        counts = metrics.hit_counts(rng.random(400) < skill)
        interval = metrics.bootstrap(metrics.hit_rate, counts, groups, n=200, seed=study)
        covered += interval.low <= 0.6 <= interval.high
        alone = metrics.bootstrap(metrics.hit_rate, counts, np.arange(400).astype(str), n=200, seed=study)
        naive += alone.low <= 0.6 <= alone.high
    assert 0.89 <= covered / 200 <= 0.99
    assert naive < covered  # resampling photographs instead of people is too sure of itself


def test_bootstrap_is_fast_and_repeatable():
    rng = np.random.default_rng(0)
    labels, found = rng.integers(0, 7, 20_000), rng.integers(0, 7, 20_000)
    groups = rng.integers(0, 3000, 20_000).astype(str)
    start = time.process_time()
    first = metrics.score_classes(labels, found, 7, groups, seed=4)
    assert time.process_time() - start < 10  # three intervals of 1000 draws; about 1 s on an idle core
    assert first == metrics.score_classes(labels, found, 7, groups, seed=4)
    assert first != metrics.score_classes(labels, found, 7, groups, seed=5)
