"""Zero-shot, probes, baselines and retrieval on sets whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from mien.errors import DataError
from mien.evaluation import baselines, cnn, probe, protocols, retrieval
from mien.evaluation.faceset import open_faces, require_disjoint
from mien.evaluation.promptset import load_prompts

from .toys import CLASSES, write_set


def test_zero_shot_reads_the_classes_and_ranks_the_default_family_first(encoder, test_set):
    rows = protocols.zero_shot(encoder, test_set, load_prompts("emotion7"))
    assert [row.method for row in rows][:2] == ["zero_shot", "zero_shot/noun"]
    assert rows[0].note.startswith("family ensemble10")
    assert rows[0].metrics["uar"].value > 0.95
    assert rows[0].predictions.scores.sum(1) == pytest.approx(np.ones(len(test_set)))


def test_zero_shot_scores_by_hand(encoder, test_set):
    """Scale x cosine with the unit mean of the class's prompt vectors, softmax over the set's classes."""
    prompts = load_prompts("emotion7")
    row = protocols.zero_shot(encoder, test_set, prompts)[0]
    picture = encoder.encode_images(test_set.image(5)[None])[0]
    logits = []
    for label in CLASSES:
        mean = encoder.encode_texts(prompts.prompts("ensemble10", label)).mean(0)
        logits.append(float(encoder.logit_scale * picture @ (mean / mean.norm())))
    expected = torch.tensor(logits).softmax(0).numpy()
    assert row.predictions.scores[5] == pytest.approx(expected, abs=1e-5)


def test_linear_probe_separates_what_is_separable(encoder, train_set, test_set):
    row = protocols.linear_probe(encoder, train_set, test_set)[0]
    assert row.metrics["uar"].value > 0.95
    assert row.metrics["uar"].low <= row.metrics["uar"].value <= row.metrics["uar"].high


@pytest.mark.parametrize("kind", ["classes", "units"])
def test_folds_keep_people_apart(monkeypatch, kind):
    rng = np.random.default_rng(0)
    features, groups = rng.normal(size=(200, 4)), np.repeat(np.arange(20), 10).astype(str)
    labels = rng.choice(3, 200, p=[0.8, 0.15, 0.05])
    seen = []
    choose = probe._choose

    def spy(*args):
        seen.extend(args[2])
        return choose(*args)

    monkeypatch.setattr(probe, "_choose", spy)
    if kind == "classes":
        probe.fit_classes(features, labels, groups)
    else:
        probe.fit_units(features, rng.random((200, 2)) < 0.4, groups)
    assert len(seen) == (5 if kind == "classes" else 3)
    assert sorted(np.concatenate([held for _, held in seen])) == list(range(200))
    for fit, held in seen:
        assert not set(groups[fit]) & set(groups[held])
        assert kind == "units" or {0, 1} <= set(labels[held])


def test_strength_is_the_best_mean_uar_over_the_folds():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 150, p=[0.6, 0.3, 0.1])
    features = rng.normal(size=(150, 40)) + 0.7 * np.eye(40)[labels]
    groups = rng.integers(0, 30, 150).astype(str)
    splits = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(features, labels, groups))
    means = []
    for strength in probe.STRENGTHS:
        parts = []
        for fit, held in splits:
            scale = StandardScaler().fit(features[fit])
            model = LogisticRegression(C=strength, class_weight="balanced", max_iter=500, tol=1e-3)
            model.fit(scale.transform(features[fit]), labels[fit])
            parts.append(
                balanced_accuracy_score(labels[held], model.predict(scale.transform(features[held])))
            )
        means.append(np.mean(parts))
    assert len(set(means)) > 3
    assert probe.fit_classes(features, labels, groups).strength == probe.STRENGTHS[int(np.argmax(means))]


def test_probe_survives_rare_classes_and_one_person():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4))
    labels = np.array([0] * 20 + [1] * 9 + [2])
    assert probe.fit_classes(features, labels, np.arange(30).astype(str)).probabilities(features).shape == (
        30,
        3,
    )
    assert probe.fit_classes(features, labels, np.array(["one"] * 30)).strength in probe.STRENGTHS
    with pytest.raises(DataError, match="two classes"):
        probe.fit_classes(features, np.zeros(30, dtype=int), np.arange(30).astype(str))


def test_unit_probe_finds_the_units_and_beats_always_present(encoder, train_set, test_set):
    row = protocols.linear_probe_units(encoder, train_set, test_set)
    assert set(row.metrics) == {"au_f1", "f1_au4", "f1_au12"}
    assert row.metrics["f1_au12"].value > 0.95
    assert row.metrics["au_f1"].value == pytest.approx(
        (row.metrics["f1_au4"].value + row.metrics["f1_au12"].value) / 2
    )
    base = protocols.always_present(train_set, test_set)
    assert base.metrics["f1_au12"].value == pytest.approx(2 * 0.25 / 1.25)
    assert base.metrics["f1_au4"].value == pytest.approx(2 * 0.5 / 1.5)


def test_units_need_au(tmp_path, encoder, train_set):
    plain = open_faces(write_set(tmp_path / "plain", people=4, images=16, seed=3, first=50, captions=False))
    with pytest.raises(DataError, match="no sample carries `au`"):
        protocols.linear_probe_units(encoder, train_set, plain)
    few = train_set.take(range(8))
    with pytest.raises(DataError, match="no action unit is present and absent 20 times"):
        protocols.linear_probe_units(encoder, few, train_set)


def test_majority_is_the_most_frequent_train_class(train_set, test_set):
    uneven = train_set.take([i for i, label in enumerate(train_set.labels) if label != "anger" or i < 40])
    row = baselines.majority(test_set, list(CLASSES), uneven)
    assert row.metrics["uar"].value == pytest.approx(0.25)
    assert row.note == "always happiness (train)"
    assert row.predictions.scores[0].sum() == pytest.approx(1)


def test_hog_baseline_learns_and_is_a_baseline(train_set, test_set):
    row = baselines.hog_logistic(train_set, test_set, list(CLASSES))
    assert row.kind == "baseline"
    assert row.metrics["uar"].value > 0.8


def test_cnn_learns_and_repeats_bitwise(train_set, test_set):
    config = cnn.CnnConfig(size=32, width=8, epochs=8, batch=32, lr=1e-2)
    first = cnn.cnn(train_set, test_set, list(CLASSES), config=config)
    # Mirrors swap the quadrants of a pair, so at best upper and lower are told apart.
    assert first.metrics["uar"].value > 0.4
    again = cnn.cnn(train_set, test_set, list(CLASSES), config=config)
    assert np.array_equal(first.predictions.scores, again.predictions.scores)
    other = cnn.cnn(train_set, test_set, list(CLASSES), seed=1, config=config)
    assert not np.array_equal(first.predictions.scores, other.predictions.scores)


def test_ranks_equal_a_loop_with_repeats_and_ties():
    rng = np.random.default_rng(0)
    queries, candidates = (
        rng.integers(-2, 3, (40, 3)).astype(float),
        rng.integers(-2, 3, (25, 3)).astype(float),
    )
    of_query, of_candidate = rng.integers(0, 6, 40), np.concatenate([np.arange(6), rng.integers(0, 6, 19)])
    expected = []
    for query, own in zip(queries, of_query):
        scores = candidates @ query
        best = max(score for score, text in zip(scores, of_candidate) if text == own)
        expected.append(sum(score >= best and text != own for score, text in zip(scores, of_candidate)))
    assert retrieval.ranks(queries, candidates, of_query, of_candidate).tolist() == expected


def test_equal_captions_are_one_text():
    """Two images share a caption: finding either image is right, and the text is one candidate."""
    images = np.eye(3)[[0, 1, 2]]
    texts = np.eye(3)[[0, 0, 2]]
    found = retrieval.recall_both_ways(images, texts, np.array([0, 0, 1]), ["a", "b", "c"])
    assert found["t2i_r1"].value == 1  # both queries of text 0 find image 0, which is right for both
    assert found["i2t_r1"].value == pytest.approx(2 / 3)  # image 1 is as far from both texts: a tie is a miss
    assert found["i2t_r5"].value == 1


def test_constant_vectors_find_nothing():
    same = np.ones((20, 4)) / 2
    found = retrieval.recall_both_ways(same, same, np.arange(20), [str(i) for i in range(20)])
    assert found["i2t_r10"].value == 0
    assert found["t2i_r10"].value == 0


def test_chance_equals_random_orders():
    rng = np.random.default_rng(0)
    numbers = np.array([0, 0, 0, 1, 1, 2, 3, 4, 5, 6])
    groups = [str(i) for i in range(10)]
    expected = {name: metric.value for name, metric in retrieval.chance(numbers, groups).items()}
    _, first = np.unique(numbers, return_index=True)
    hits = {name: [] for name in ("i2t_r1", "i2t_r5", "t2i_r1", "t2i_r5")}
    for _ in range(300):
        images, texts = rng.normal(size=(10, 8)), rng.normal(size=(10, 8))
        way = {
            "i2t": retrieval.ranks(images, texts[first], numbers, np.unique(numbers)),
            "t2i": retrieval.ranks(texts, images, numbers, numbers),
        }
        for name in hits:
            hits[name].append((way[name[:3]] < int(name[5:])).mean())
    for name, values in hits.items():
        assert np.mean(values) == pytest.approx(expected[name], abs=0.03), name


def test_retrieval_rows(encoder, test_set):
    rows = retrieval.retrieval(encoder, test_set)
    assert [row.method for row in rows] == [
        "retrieval/global",
        "retrieval/summary",
        "retrieval/averaged",
        "chance/global",
    ]
    assert rows[0].metrics["i2t_r1"].value > 0.9
    assert rows[3].metrics["i2t_r1"].value == pytest.approx(1 / 4)
    assert list(rows[0].metrics) == ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10"]


def test_retrieval_without_captions(tmp_path, encoder):
    plain = open_faces(write_set(tmp_path / "plain", people=4, images=16, seed=3, captions=False))
    with pytest.raises(DataError, match="no sample has a `global` or `summary` caption"):
        retrieval.retrieval(encoder, plain)


def test_people_in_both_sets_are_refused(train_set, test_set):
    require_disjoint(train_set, test_set)
    with pytest.raises(DataError, match=r"1 test people \(such as 'p3'\) are also in .*--allow-overlap"):
        require_disjoint(
            train_set, train_set.take([i for i, who in enumerate(train_set.groups) if who == "p3"])
        )


def test_class_of_one_set_only(test_set):
    with pytest.raises(DataError, match="class 'sadness' is not among anger"):
        baselines.class_numbers(test_set, ["anger", "happiness", "neutral"])
    with pytest.raises(DataError, match="no sample of class 'fear'"):
        test_set.of_classes(["anger", "fear"])
    assert set(test_set.of_classes(["anger"]).labels) == {"anger"}
