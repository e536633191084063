"""V2, attention pooling for each text: against loops, torch's attention and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from emocap_batches import batch_of, module_of
from torch import nn

from mien.systems.emocapclip import attention
from mien.systems.emocapclip.attention import AttentionPool, Sentences, attention_contrast, choose_texts
from mien.systems.emocapclip.objective import text_keys
from mien.systems.emocapclip.rows import unit

WIDTH, PATCHES = 12, 5


def sentences_of(size=7, seed=0):
    batch = batch_of(size)
    mask = batch["mask_l"] & batch["valid"][:, None]
    torch.manual_seed(seed)
    rows = unit(torch.randn(size, 3, WIDTH, dtype=torch.float64)) * mask[..., None]
    return Sentences(rows, mask, text_keys(batch["tok_l"]), batch["uid"], batch["grp"])


def pool_of():
    torch.manual_seed(1)
    pool = AttentionPool(WIDTH).double()
    with torch.no_grad():
        for parameter in pool.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return pool


def patches_of(size=7):
    torch.manual_seed(2)
    return unit(torch.randn(size, PATCHES, WIDTH, dtype=torch.float64))


SCALE, BIAS = torch.tensor(4.0, dtype=torch.float64), torch.tensor(-1.5, dtype=torch.float64)


@pytest.mark.parametrize(("width", "heads"), [(12, 6), (16, 8), (512, 8), (7, 7), (11, 1)])
def test_eight_heads_or_as_many_as_divide_the_width(width, heads):
    assert AttentionPool(width).heads == heads


def test_pooling_equals_torchs_attention_with_a_zero_slot():
    pool = pool_of()
    theirs = nn.MultiheadAttention(WIDTH, pool.heads, batch_first=True, add_zero_attn=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([pool.query.weight, pool.key.weight, pool.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([pool.query.bias, pool.key.bias, pool.value.bias]))
        theirs.out_proj.load_state_dict(pool.out.state_dict())
    texts, patches = sentences_of().embedding, patches_of()
    held = pool.norm_patches(patches)
    expected = unit(theirs(pool.norm_query(texts), held, held)[0])
    torch.testing.assert_close(pool.attend(pool.ask(texts), *pool.hold(patches)), expected)


@pytest.mark.parametrize("negatives", [None, 2])
def test_loss_equals_loops_over_pairs(negatives):
    pool, sentences, patches = pool_of(), sentences_of(), patches_of()
    texts, live = choose_texts(sentences, sentences, 0, negatives, 3)
    flat, total = sentences.embedding.flatten(0, 1), 0.0
    for i, row in enumerate(texts):
        keys, values = pool.hold(patches[i : i + 1])
        for place, number in enumerate(row.tolist()):
            if live[i, place]:
                text = flat[number].view(1, 1, -1)
                pooled = pool.attend(pool.ask(text), keys, values)
                z = float((SCALE * (pooled * text).sum() + BIAS).detach())
                total += math.log1p(math.exp(-z if place < 3 else z))
    loss = attention_contrast(pool, patches, sentences, SCALE, BIAS, negatives, 3)
    assert loss.item() == pytest.approx(total / int(sentences.mask.sum()), abs=1e-12)


def test_each_other_image_lends_one_real_sentence_unless_it_is_of_the_same_group_or_text():
    sentences = sentences_of()
    texts, live = choose_texts(sentences, sentences, 0, None, 0)
    for i in range(7):
        assert live[i, :3].tolist() == sentences.mask[i].tolist()
        for j, (number, used) in enumerate(zip(texts[i, 3:].tolist(), live[i, 3:].tolist(), strict=True)):
            assert number // 3 == j
            grouped = sentences.grp[i] == sentences.grp[j] >= 0
            said = bool((sentences.keys.flatten()[number] == sentences.keys[i][sentences.mask[i]]).any())
            there = bool(sentences.mask[j].any()) and bool(sentences.mask[i].any())
            assert used == (there and i != j and not grouped and not said)
            assert not used or sentences.mask.flatten()[number]
    assert not live[4, 3 + 6]  # one group
    other = choose_texts(sentences, sentences, 0, None, 1)[0]
    assert (other != texts).any()


def test_sampled_negatives_are_distinct_images_and_change_with_the_step():
    sentences = sentences_of(9)
    seen = set()
    for step in range(6):
        texts, live = choose_texts(sentences, sentences, 0, 2, step)
        assert texts.shape == (9, 5)
        images = (texts[0, 3:] // 3)[live[0, 3:]].tolist()
        assert len(set(images)) == 2
        seen.add(tuple(sorted(images)))
    assert len(seen) > 1


def test_gradients_agree_with_finite_differences():
    pool, sentences, patches = pool_of(), sentences_of(), patches_of()
    leaves = [patches, sentences.embedding, SCALE.clone(), BIAS.clone(), *pool.parameters()]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    names = [name for name, _ in pool.named_parameters()]

    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = pool

        def forward(self, x, t, scale, bias):
            texts = Sentences(t, sentences.mask, sentences.keys, sentences.uid, sentences.grp)
            return attention_contrast(self.pool, x, texts, scale, bias, 2, 3)

    def loss(x, t, scale, bias, *weights):
        state = {f"pool.{name}": weight for name, weight in zip(names, weights, strict=True)}
        return torch.func.functional_call(Loss(), state, (x, t, scale, bias))

    assert torch.autograd.gradcheck(loss, leaves, fast_mode=True)


def test_chunks_change_neither_loss_nor_gradients(monkeypatch):
    found = []
    for elements in (1 << 24, 1):
        monkeypatch.setattr(attention, "_ELEMENTS", elements)
        pool, sentences, patches = pool_of(), sentences_of(), patches_of().requires_grad_()
        loss = attention_contrast(pool, patches, sentences, SCALE, BIAS, None, 3)
        found.append([loss, *torch.autograd.grad(loss, [patches, *pool.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, atol=1e-13, rtol=1e-11)


def test_dead_images_are_not_read():
    pool, sentences, patches = pool_of(), sentences_of(), patches_of()
    patches[6] = torch.nan
    patches.requires_grad_()
    loss = attention_contrast(pool, patches, sentences, SCALE, BIAS, None, 3)
    (gradient,) = torch.autograd.grad(loss, [patches])
    assert loss.isfinite()
    assert not gradient[6].any()
    assert gradient[0].any()


def test_a_batch_without_sentences_has_loss_zero_and_keeps_the_graph():
    pool, sentences, patches = pool_of(), sentences_of(), patches_of().requires_grad_()
    sentences.mask[:] = False
    loss = attention_contrast(pool, patches, sentences, SCALE, BIAS, None, 3)
    loss.backward()
    assert loss.item() == 0
    assert not patches.grad.any()


def test_every_weight_of_the_system_is_trained():
    module = module_of(branch="attn")
    loss, logs = module.loss(batch_of(8), 0)
    loss.backward()
    still = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert still == []
    assert logs["loss_local"] > 0
    grouped = [id(p) for group in module.param_groups() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in module.parameters() if p.requires_grad)
    assert all(p.ndim for p in module.parameters())
