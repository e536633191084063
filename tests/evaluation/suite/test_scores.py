"""Numbers that can be computed by hand: classes, clips, units and questions under both protocols."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.benchmarks.base import Item, Question
from mien.benchmarks.table import BENCHMARKS
from mien.errors import MienError
from mien.evaluation.suite.classes import zero_shot
from mien.evaluation.suite.counting import class_intervals, unit_intervals
from mien.evaluation.suite.embed import Embedder
from mien.evaluation.suite.questions import answer_questions, images_named, number_named, option_scores, pick
from mien.evaluation.suite.units import (
    best_threshold,
    fold_thresholds,
    pair_scores,
    truth_of,
    zero_shot_units,
)
from mien.evaluation.suite.wording import (
    centres,
    part_centres,
    parts_of,
    prompts_for,
    template_means,
    words_hash,
)
from mien.evaluation.unit_prompts import load_units, unit_probabilities

from .colours import BLUE, GREEN, RED, ColourEncoder, benchmark, frames, paint, picture_set


def embed(items: list[Item], protocol: str = "clean", encoder: ColourEncoder | None = None) -> Embedder:
    made = Embedder(encoder or ColourEncoder(), protocol, frames)
    media = [one for item in items for one in ([(p,) for p in item.media] if item.question else [item.media])]
    made.prepare(media)
    return made


def test_uar_leaves_out_a_class_without_samples(tmp_path: Path):
    """Anger 1 of 2, happiness 2 of 2, sadness absent: UAR is 3/4 and not 1/2."""
    shown = [("anger", "anger"), ("anger", "sadness"), ("happiness", "happiness"), ("happiness", "happiness")]
    toy = picture_set(tmp_path, shown)
    items = toy.open(tmp_path)
    outcome = zero_shot(embed(items), toy, items)
    main = outcome.rows[0].metrics
    assert (outcome.rows[0].method, main["uar"].value, main["war"].value) == ("zero-shot", 0.75, 0.75)
    assert [line["prediction"] for line in outcome.predictions] == [
        "anger",
        "sadness",
        "happiness",
        "happiness",
    ]
    assert len(outcome.facts["prompts sha256"]) == 64


def test_folds_are_averaged_and_not_pooled():
    labels, found = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1])
    folds, groups = np.array([1, 1, 1, 2, 2]), list("abcde")
    got = class_intervals(labels, found, folds, 2, groups)
    assert got["uar"].value == pytest.approx((1 + 0.5) / 2)  # fold 2: recalls 0 and 1; fold 1 lacks class 1
    assert got["war"].value == pytest.approx((1 + 0.5) / 2)
    assert class_intervals(labels, found, folds * 0, 2, groups)["uar"].value == pytest.approx((0.75 + 1) / 2)


def test_frames_are_averaged_before_normalisation(tmp_path: Path):
    """Eleven dim red frames and five bright green ones: the mean is green, the mean of directions is red."""
    dim = [paint(tmp_path / f"r{i:02}.png", (20, 0, 0)) for i in range(11)]
    media = (*dim, *(paint(tmp_path / f"s{i}.png", (0, 250, 0)) for i in range(5)))
    toy = benchmark("clips", lambda _: [Item("c", media, "happiness")], task="dynamic")
    items = toy.open(tmp_path)
    assert zero_shot(embed(items), toy, items).predictions[0]["prediction"] == "happiness"
    assert (
        zero_shot(embed(items, "expclip"), toy, items).predictions[0]["prediction"] == "anger"
    )  # frame 0 alone

    class Unit:  # shows no features
        image_size, logit_scale = 8, 10.0
        encode_images = ColourEncoder().encode_images
        encode_texts = ColourEncoder().encode_texts
        patch_maps = ColourEncoder().patch_maps

    plain = Embedder(Unit(), "clean", frames)
    plain.prepare([media])
    assert zero_shot(plain, toy, items).predictions[0]["prediction"] == "anger"
    assert "after normalisation" in plain.note
    with pytest.raises(MienError, match="cannot leave out CLIP's normalisation; use --protocol clean"):
        Embedder(Unit(), "expclip", frames)


def test_protocols_differ_in_pixels(tmp_path: Path):
    encoder = ColourEncoder()
    toy = picture_set(tmp_path, [("anger", "anger")])
    embed(toy.open(tmp_path), "clean", encoder)
    embed(toy.open(tmp_path), "expclip", encoder)
    assert encoder.normalised == [True, False]


def test_an_encoder_of_clips_is_used(tmp_path: Path):
    class Clips(ColourEncoder):
        def encode_clip(self, given: torch.Tensor) -> torch.Tensor:
            assert given.shape == (16, 3, 8, 8)
            return torch.tensor([[0.0, 0.0, 3.0]])

    media = tuple(paint(tmp_path / f"{i}.png", RED) for i in range(3))
    made = embed([Item("c", media, "anger")], encoder=Clips())
    assert made.vectors([media]).tolist() == [[0, 0, 1]]


def test_expclip_scores_are_the_mean_of_logits_over_templates():
    class Texts(ColourEncoder):
        def encode_texts(self, texts: list[str]) -> torch.Tensor:
            return torch.tensor([{"a": [1.0, 0, 0], "b": [0, 1.0, 0], "c": [0, 0, 1.0]}[t] for t in texts])

    image = np.array([0.6, 0.8, 0.0])
    logits = template_means(Texts(), [["a", "b"], ["c"]]) @ image
    assert logits == pytest.approx([(0.6 + 0.8) / 2, 0])
    assert centres(Texts(), [["a", "b"]])[0] @ image == pytest.approx((0.6 + 0.8) / 2 * 2**0.5)


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("happily surprised", ("happiness", "surprise")),
        ("anger, fear", ("anger", "fear")),
        ("anger fear sadness", ("anger", "fear", "sadness")),
        ("disappointment and helplessness", ("disappointment", "helplessness")),
        ("calmness", ()),
        ("anger", ("anger",)),
    ],
)
def test_parts_of_compound_classes(label: str, parts: tuple[str, ...]):
    assert parts_of(label, list(prompts_for(["anxiety", "anger"]).classes)) == parts


def test_compound_by_phrase_and_by_parts(tmp_path: Path):
    names = ("anger, sadness", "happiness")
    media = (paint(tmp_path / "a.png", (120, 0, 120)),)
    toy = benchmark("both", lambda _: [Item("a", media, names[0])], task="compound", classes=names)
    outcome = zero_shot(embed(toy.open(tmp_path)), toy, toy.open(tmp_path))
    rows = {row.method: row.metrics["uar"].value for row in outcome.rows}
    assert rows["zero-shot"] == rows["zero-shot/parts"] == 1
    prompts = prompts_for(names)
    assert prompts.prompts("expression", names[0]) == ["an expression of anger, sadness"]
    assert "a photo of a face with an expression of anger and sadness" in prompts.prompts(
        "ensemble10", names[0]
    )
    mean = part_centres(ColourEncoder(), prompts, "noun", names, clean=True)
    assert mean[0] == pytest.approx([0.5**0.5, 0.001, 0.5**0.5], abs=2e-3)


def test_every_set_of_the_paper_has_prompts_and_hashes_tell_them_apart():
    ravdess = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
    mafw = ("anger", "contempt", "anxiety", "helplessness", "disappointment")
    assert (prompts_for(ravdess).name, prompts_for(mafw).name) == ("ravdess", "mafw")
    found = [prompts_for(ravdess).prompts("ensemble10", name) for name in ("neutral", "calm")]
    assert not set(found[0]) & set(found[1])
    hashes = {words_hash(prompts_for(some), some) for some in (ravdess, mafw, mafw[:3])}
    assert len(hashes) == 3
    with pytest.raises(MienError, match="'boredom' unknown to the prompts"):
        prompts_for(["boredom"])


def test_units_without_annotation_count_nowhere():
    """Unit 1: a hit, a miss and one not annotated, F1 2/3; unit 2: right alone; unit 4 has no positives."""
    items = [
        Item("a", (Path("a"),), units={1: 1, 2: 0.4, 4: 0}),
        Item("b", (Path("b"),), units={1: 0.8, 2: 0.2, 4: 0}),
        Item("c", (Path("c"),), units={2: 0, 4: 0}),
    ]
    truth, known = truth_of(items, (1, 2, 4))
    assert truth.tolist() == [[True, True, False], [True, False, False], [False, False, False]]
    assert not known[2, 0]
    said = np.array([[True, True, False], [False, False, False], [True, False, True]])
    got = unit_intervals((1, 2, 4), truth, said, known, list("abc"))
    assert got["f1_au1"].value == pytest.approx(2 / 3)
    assert got["au_f1"].value == pytest.approx((2 / 3 + 1) / 2)
    assert got["accuracy"].value == pytest.approx((1 / 2 + 1 + 2 / 3) / 3)
    assert "f1_au4" not in got


def test_threshold_with_the_best_f1_and_of_equals_the_nearest_to_a_half():
    scores, truth = np.array([0.1, 0.2, 0.3, 0.9]), np.array([False, False, True, True])
    assert best_threshold(scores, truth) == pytest.approx(0.3)
    assert best_threshold(scores, np.zeros(4, bool)) == 0.5
    assert best_threshold(np.array([0.2, 0.8]), np.array([False, True])) == 0.5

    def f1(cut: float) -> float:
        said = noisy >= cut
        return 2 * (said & yes).sum() / (said.sum() + yes.sum())

    rng = np.random.default_rng(0)
    noisy, yes = rng.random(60).round(2), rng.random(60) < 0.3
    assert f1(best_threshold(noisy, yes)) == pytest.approx(max(f1(cut) for cut in np.linspace(0, 1, 2001)))


LEANING = {"inner ends of the brows are raised": 0, "lifted inner": 0, "at rest": 1, "not raised": 1}
"""Words of AU1 to axes."""


def leaning(folder: Path, places: list[tuple[str, int, str]]) -> list[Item]:
    """Items of AU1 by (split, fold, person), absent and present in turn; every picture leans to `raised`."""
    strong, weak = (paint(folder / f"{n}.png", (200, green, 0)) for n, green in (("s", 20), ("w", 150)))
    return [
        Item(f"i{i}", (strong if i % 2 else weak,), group=who, split=split, fold=fold, units={1: i % 2})
        for i, (split, fold, who) in enumerate(places)
    ]


def test_thresholds_are_tuned_on_the_train_split(tmp_path: Path):
    """At 0.5 all are positive, a threshold of the train split parts them."""
    items = leaning(tmp_path, [(split, 0, f"p{i}") for split in ("train", "test") for i in range(4)])
    toy = benchmark("aus", lambda _: items, task="au", units=(1,))
    outcome = zero_shot_units(embed(items, encoder=ColourEncoder(LEANING)), toy, items[4:], items[:4])
    rows = {row.method: row.metrics["au_f1"].value for row in outcome.rows}
    assert rows["zero-shot"] == rows["always present"] == pytest.approx(2 / 3)
    assert rows["zero-shot/tuned"] == 1


def test_thresholds_come_from_the_other_folds(tmp_path: Path):
    items = leaning(tmp_path, [("test", fold, f"p{fold}{i // 2}") for fold in (1, 2, 3) for i in range(4)])
    toy = benchmark("aus", lambda _: items, task="au", units=(1,), folds=3)
    outcome = zero_shot_units(embed(items, encoder=ColourEncoder(LEANING)), toy, items, [])
    assert [row.method for row in outcome.rows] == ["zero-shot", "zero-shot/tuned", "always present"]
    plain, tuned = outcome.rows[:2]
    assert plain.metrics["au_f1"].value == pytest.approx(2 / 3)
    assert tuned.metrics["au_f1"].value == 1
    assert tuned.note == "threshold from the other folds, 3 folds pooled"
    assert {line["prediction AU1"] for line in outcome.predictions} == {"1"}  # those of the main row
    one = zero_shot_units(embed(items, encoder=ColourEncoder(LEANING)), toy, items[:4], [])
    assert [row.method for row in one.rows] == ["zero-shot", "always present"]


def test_no_fold_and_no_person_tunes_its_own_threshold():
    scores = np.array([[0.1], [0.2], [0.6], [0.7], [0.3], [0.9]])
    truth = np.array([[False], [True], [False], [True], [False], [True]])
    folds, known = np.array([1, 1, 2, 2, 3, 3]), np.ones((6, 1), dtype=bool)
    cuts = fold_thresholds(scores, truth, known, folds, list("aabbcc"))
    for fold in (1, 2, 3):
        others = folds != fold
        assert (cuts[~others] == best_threshold(scores[others, 0], truth[others, 0])).all()
    # Person a is also in fold 2, so that fold 1 learns of none but her other half's neighbours.
    mixed = fold_thresholds(scores, truth, known, folds, list("aaabcc"))
    kept = [3, 4, 5]
    assert (mixed[:2] == best_threshold(scores[kept, 0], truth[kept, 0])).all()


def test_the_suite_and_predict_say_the_same_words(tmp_path: Path):
    """One file: every unit that a benchmark scores is in it, and both paths give the same probability."""
    pairs = load_units()
    assert {unit for one in BENCHMARKS.values() for unit in one.units} <= pairs.keys()
    items = leaning(tmp_path, [("test", 0, f"p{i}") for i in range(4)])
    embedder = embed(items, encoder=ColourEncoder(LEANING))
    found = pair_scores(embedder, (1,), items)
    rows = embedder.vectors([item.media for item in items])
    assert found == pytest.approx(unit_probabilities(embedder.encoder, rows, {1: pairs[1]}))
    with pytest.raises(MienError, match="AU99 has no prompts"):
        pair_scores(embedder, (1, 99), items)


ASKED = ("anger", "happiness", "sadness")
SEEN = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.7, 0.2, 0.1]])


@pytest.mark.parametrize(
    ("kind", "target", "options", "best"),
    [
        ("which", "happiness", ("Image 1", "Image 2", "Image 3", "None of the above"), 1),
        ("which", "anger", ("Image 1 and 2", "Images 2 and 3", "Images 1, 3", "image 1"), 2),
        (
            "which",
            "anger",
            ("the second image", "the third image", "the first image"),
            2,
        ),  # 1 and 3 fit: surer one
        ("which", "sadness", ("image one", "image two", "none of them"), 2),
        ("count", "anger", ("0", "1", "2", "3"), 2),
        ("count", "sadness", ("One", "None", "Two", "All"), 1),
        ("count", "anger", ("1", "3", "5"), 0),  # no option says 2: 1.7 are expected
        ("same", None, ("images 1 and 2", "images 1 and 3", "images 2 and 3"), 1),
    ],
)
def test_logic_of_questions(kind: str, target: str | None, options: tuple[str, ...], best: int):
    scores = option_scores(Question("?", options, 0, kind, target, ASKED), SEEN)
    assert scores is not None
    assert int(scores.argmax()) == best


def test_a_negated_question_asks_for_the_others():
    options = ("Image 1, Image 3", "Image 2", "Both", "None of the images")
    asked = Question("?", options, 0, "which", "anger", ASKED)
    for negated, best in ((False, 0), (True, 1)):
        scores = option_scores(replace(asked, negated=negated), SEEN)
        assert int(scores.argmax()) == best
    pair = Question("?", ("Image 1", "Both", "Neither"), 0, "which", "anger", ASKED)
    assert int(option_scores(pair, SEEN[[0, 2]]).argmax()) == 1


def test_options_that_logic_cannot_read():
    assert option_scores(Question("?", ("left", "right"), 0, "which", "anger", ASKED), SEEN) is None
    assert option_scores(Question("?", ("1", "2"), 0, "which", "boredom", ASKED), SEEN) is None
    assert images_named("image 9", 3) is None
    assert images_named("all of them", 2) == {0, 1}
    assert number_named("exactly three", 4) == 3
    assert number_named("a few", 4) is None


def test_ties_favour_no_position():
    picked = [pick(np.zeros(4), f"q{i}") for i in range(400)]
    assert min(picked.count(i) for i in range(4)) > 60
    assert pick(np.zeros(4), "q1") == pick(np.zeros(4), "q1")
    assert pick(np.array([0.0, 1.0, 1.0 - 1e-6]), "q1") == 1


def test_questions_end_to_end(tmp_path: Path):
    red, green, blue = (paint(tmp_path / f"{n}.png", c) for n, c in (("r", RED), ("g", GREEN), ("b", BLUE)))
    asked = [
        ((green,), Question("?", ("Sad", "Happy", "Angry"), 1, "class")),
        ((red, blue, red), Question("?", ("1", "2", "3"), 1, "count", "anger", ASKED)),
        ((red, blue), Question("?", ("Image 1", "Image 2"), 0, "which", "sadness", ASKED)),
        ((blue,), Question("?", ("a green thing", "a sad thing"), 1, "other")),
    ]
    items = [Item(f"q{i}", media, question=one) for i, (media, one) in enumerate(asked)]
    toy = benchmark("mcq", lambda _: items, task="mcq")
    outcome = answer_questions(embed(items), toy, items)
    assert [line["prediction"] for line in outcome.predictions] == ["1", "1", "1", "1"]
    assert outcome.rows[0].metrics["accuracy"].value == 0.75
    assert outcome.rows[1].metrics["accuracy"].value == pytest.approx((1 / 3 + 1 / 3 + 1 / 2 + 1 / 2) / 4)
    assert outcome.rows[0].note.startswith("3 by classes and logic, 1 by ranking")
