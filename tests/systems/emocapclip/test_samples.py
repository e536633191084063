"""From stored samples to batches: keyed randomness, the mirror rule, captions from labels, gaps."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from emocap_batches import recipe_of
from torchvision.io import encode_png

from mien.data.config import AugmentConfig
from mien.data.reader import Sample
from mien.errors import DataError
from mien.faces.actions import REGIONS
from mien.systems.emocapclip.config import MiningConfig, ObjectiveConfig
from mien.systems.emocapclip.samples import Collate, Transform, captions_of, group_key
from mien.systems.emocapclip.tokens import tokenize, tokenizer

LOCALS = [
    ("The brows rise.", "brows"), ("The lips part.", "mouth"), ("The lids tighten.", "eyes"),
    ("The nose wrinkles.", "nose"), ("The chin rises.", "jaw_chin"),
]  # fmt: skip
LM5 = [[12, 20], [36, 20], [24, 28], [16, 36], [32, 36]]


def picture() -> torch.Tensor:
    """A ramp from dark on the left to bright on the right, 48 x 48."""
    return torch.linspace(20, 230, 48).expand(3, 48, 48).to(torch.uint8)


def sample(image: torch.Tensor | None = None, files: dict[str, bytes] | None = None, **record) -> Sample:
    base = {
        "uid": 5, "label": "happiness", "group": "p1", "global": "A happy face.", "summary": "In all, joy.",
        "locals": [{"text": t, "region": r, "au": [], "intensity": None} for t, r in LOCALS], "lm5": LM5,
    }  # fmt: skip
    png = encode_png(picture() if image is None else image).numpy().tobytes()
    return Sample(0, "k", {"png": png, "json": json.dumps(base | record).encode(), **(files or {})}, "s.tar")


def transform(augment: AugmentConfig | None = None, **objective) -> Transform:
    recipe = recipe_of(**objective)
    return Transform(recipe.model, recipe.objective, augment)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(a, b) -> bool:
    return all(np.array_equal(np.asarray(a[k]), np.asarray(b[k]), equal_nan=k == "lm5") for k in a)


def test_the_same_key_gives_the_same_item_and_another_key_another():
    make = transform(AugmentConfig())
    assert same(make(sample(), rng(1), 0), make(sample(), rng(1), 0))
    assert not same(make(sample(), rng(1), 0), make(sample(), rng(2), 0))


def test_sentences_are_drawn_without_replacement_and_all_get_their_turn():
    make, seen = transform(), set()
    for seed in range(40):
        item = make(sample(), rng(seed), 0)
        texts = {row.tobytes() for row in item["tok_l"]}
        assert len(texts) == 3
        seen |= texts
        for tokens, region in zip(item["tok_l"], item["region_l"]):
            text = next(t for t, r in LOCALS if REGIONS.index(r) == region)
            assert np.array_equal(tokens, tokenize(text))
    assert len(seen) == len(LOCALS)


def bright_side(item) -> str:
    left, right = item["img"][..., :16].float().mean(), item["img"][..., 16:].float().mean()
    return "left" if left > right else "right"


def test_mirror_turns_image_and_landmarks():
    make = transform(AugmentConfig(scale=(1, 1), flip=1, jitter=0))
    item = make(sample(), rng(), 0)
    assert bright_side(item) == "left"
    plain = transform()(sample(), rng(), 0)
    assert bright_side(plain) == "right"
    np.testing.assert_allclose(item["lm5"][:, 0], 1 - plain["lm5"][[1, 0, 2, 4, 3], 0], atol=0.06)
    assert item["lm5"][0, 0] < item["lm5"][1, 0]
    np.testing.assert_allclose(plain["lm5"], np.array(LM5) / 48, atol=1e-6)


@pytest.mark.parametrize(
    "record",
    [
        {"global": "The left brow rises."},
        {"summary": "A smile on the right side."},
        {"locals": [{"text": "The right eye closes.", "region": "eyes", "au": [], "intensity": None}]},
    ],
)
def test_no_mirror_when_a_caption_mentions_a_side(record):
    make = transform(AugmentConfig(scale=(1, 1), flip=1, jitter=0))
    assert bright_side(make(sample(**record), rng(), 0)) == "right"


def test_crop_keeps_landmarks_on_their_pixels():
    dot = torch.zeros(3, 48, 48, dtype=torch.uint8)
    dot[:, 27:30, 23:26] = 255  # around (24.5, 28.5)
    make = transform(AugmentConfig(scale=(0.6, 0.7), flip=0, jitter=0))
    for seed in range(5):
        item = make(sample(dot, lm5=[[24.5, 28.5]] * 5), rng(seed), 0)
        weight = item["img"][0].float()
        ticks = (torch.arange(32) + 0.5) / 32
        centre = torch.stack([(weight.sum(0) * ticks).sum(), (weight.sum(1) * ticks).sum()]) / weight.sum()
        np.testing.assert_allclose(item["lm5"][0], centre.numpy(), atol=0.02)


def test_evaluation_changes_nothing_but_the_size():
    item = transform()(sample(), rng(), 0)
    assert item["img"].shape == (3, 32, 32)
    assert item["img"].dtype == torch.uint8
    assert same(
        item | {"tok_l": 0, "region_l": 0}, transform()(sample(), rng(9), 3) | {"tok_l": 0, "region_l": 0}
    )


def test_jitter_stays_mild():
    make = transform(AugmentConfig(scale=(1, 1), flip=0, jitter=0.2))
    plain = transform()(sample(), rng(), 0)["img"].float()
    changed = [make(sample(), rng(seed), 0)["img"].float() for seed in range(10)]
    shifts = [float((image - plain).abs().mean()) for image in changed]
    assert max(shifts) > 3
    assert max(shifts) < 60


@pytest.mark.parametrize("label", ["neutral", "happiness", "anger", "fear", "contempt"])
def test_a_label_alone_gets_captions(label):
    bare = Sample(0, "k", {"json": json.dumps({"uid": 1, "label": label, "group": "p"}).encode()}, "s.tar")
    made = [captions_of(bare, rng(seed)) for seed in range(6)]
    assert all(c.global_ and c.summary and c.locals for c in made)
    assert len({c.global_ for c in made}) > 2
    assert made[0] == captions_of(bare, rng(0))
    assert all(region in REGIONS for c in made for _, region in c.locals)


def test_an_unknown_label_is_a_damaged_sample():
    bare = Sample(0, "k", {"json": b'{"uid": 1, "label": "grumpy", "group": "p"}'}, "s.tar")
    with pytest.raises(DataError, match="grumpy"):
        captions_of(bare, rng())


def test_missing_parts_and_damaged_samples_are_masked():
    recipe, make = recipe_of(), transform()
    items = [make(sample(), rng(), 0), None, make(sample(**{"global": None, "locals": []}), rng(), 0)]
    batch = Collate(recipe.model, recipe.objective)(items)
    assert batch["valid"].tolist() == [True, False, True]
    assert batch["has_g"].tolist() == [True, False, False]
    assert batch["has_s"].tolist() == [True, False, True]
    assert batch["mask_l"].sum(1).tolist() == [3, 0, 0]
    assert batch["uid"].tolist() == [5, -1, 5]
    assert batch["img"].shape == (3, 3, 32, 32)
    assert batch["tok_l"].shape == (3, 3, 77)
    assert torch.equal(batch["region_l"] < 0, ~batch["mask_l"])
    assert batch["lm5"][1].isnan().all()


def test_group_is_the_duplicate_or_the_shot():
    assert group_key({}) == -1
    assert group_key({"movie": 1, "shot": 2}) == group_key({"movie": 1, "shot": 2, "uid": 3}) >= 0
    assert group_key({"movie": 1, "shot": 2}) != group_key({"movie": 12, "shot": None, "dup": 2})
    assert group_key({"dup": 4, "movie": 1, "shot": 2}) == group_key({"dup": 4})


def test_tokens_are_open_clips_and_long_texts_keep_their_end():
    text = "The brows rise, as if surprised."
    assert torch.equal(tokenizer()(text)[0], torch.from_numpy(tokenize(text).copy()).long())
    long = tokenize("brow " * 200)
    assert long[-1] == tokenizer().eot_token_id
    assert torch.equal(tokenizer()("brow " * 200)[0], torch.from_numpy(long.copy()).long())


def test_guides_are_read_and_checked():
    def file(shape, **kind):
        buffer = io.BytesIO()
        np.save(buffer, np.ones(shape, **kind))
        return {"guide.npy": buffer.getvalue()}

    mining = MiningConfig(rule="text", source="guide", guide_width=4)
    make = transform(mining=mining)
    collate = Collate(recipe_of().model, ObjectiveConfig(mining=mining))
    item = make(sample(files=file((1, 4), dtype=np.float16)), rng(), 0)
    assert collate([item | {"tok_l": [], "region_l": []}, None])["guide"].shape == (2, 1, 4)
    with pytest.raises(DataError, match="guide_width"):
        collate([make(sample(files=file((1, 5))), rng(), 0)])
    with pytest.raises(DataError, match="without guide"):
        make(sample(), rng(), 0)
    with pytest.raises(DataError, match="float"):
        make(sample(files=file((1, 4), dtype=np.int64)), rng(), 0)
