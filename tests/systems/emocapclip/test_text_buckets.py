"""Cropping to buckets: the embeddings and gradients of cropping to the longest, in fewer shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from emocap_batches import SMALL

from mien.errors import RecipeError
from mien.faces.captions import describe_label
from mien.recipe import load
from mien.systems.emocapclip.tokens import tokenize
from mien.systems.emocapclip.towers import TextTower, build_towers

BUCKETS = (12, 24, 40)
LABELS = ("happiness", "sadness", "anger", "fear", "surprise", "disgust", "neutral")


@pytest.fixture(scope="module")
def towers():
    text = build_towers(SMALL).text.double()
    return text, TextTower(text.text, BUCKETS)


def sentences(seed: int) -> torch.Tensor:
    """Tokens of a batch's sentences: another number and other lengths for each seed."""
    rng = np.random.default_rng(seed)
    texts = []
    for number in range(int(rng.integers(3, 90))):
        caption = describe_label(LABELS[number % 7], rng)
        texts += [caption.global_, caption.summary, *(local.text for local in caption.locals)][
            : 1 + number % 4
        ]
    return torch.stack([torch.tensor(tokenize(text)) for text in texts])


@pytest.mark.parametrize("seed", range(6))
def test_embeddings_and_gradients_are_the_same(towers, seed):
    plain, bucketed = towers
    tokens = sentences(seed)
    found = []
    for tower in towers:
        tower.zero_grad()
        rows = tower(tokens)
        rows.sin().sum().backward()
        found.append((rows.detach(), [p.grad.clone() for p in tower.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[1][0], found[0][0], atol=1e-12, rtol=1e-9)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(other, one, atol=1e-10, rtol=1e-8)
    assert plain.croppable
    assert bucketed.croppable


def test_a_sentence_of_77_tokens_and_no_sentence(towers):
    plain, bucketed = towers
    full = torch.tensor(tokenize("happy " * 100))[None]
    torch.testing.assert_close(bucketed(full), plain(full), atol=1e-12, rtol=1e-9)
    assert bucketed(full[:0]).shape == plain(full[:0]).shape


def test_shapes_are_few(towers):
    shapes = []
    for tower in towers:
        seen = set()
        hook = tower.text.transformer.register_forward_pre_hook(
            lambda _, inputs, to=seen: to.add(inputs[0].shape)
        )
        for seed in range(30):
            with torch.no_grad():
                tower(sentences(seed))
        hook.remove()
        shapes.append(seen)
    plain, bucketed = shapes
    assert {shape[1] for shape in bucketed} <= {*BUCKETS, 77}
    assert all(shape[0] % 32 == 0 for shape in bucketed)
    assert len(bucketed) <= 4 * 192 // 32
    assert len(plain) >= 3 * len(bucketed), (len(plain), len(bucketed))


@pytest.mark.parametrize(
    ("value", "words"), [("[24,12]", "text_buckets rise"), ("[78]", "less than or equal to 77")]
)
def test_buckets_that_cannot_be(value, words):
    with pytest.raises(RecipeError, match=words):
        load("emocapclip/tiny", [f"model.text_buckets={value}"])
    assert load("emocapclip/tiny", ["model.text_buckets=[16,32]"]).model.text_buckets == (16, 32)
