"""The loss against a dense float64 reference written in loops, and its edge cases (spec 3, 4, 7.12)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from emocap_batches import batch_of, module_of

from mien.systems.emocapclip.config import MiningConfig
from mien.systems.emocapclip.mining import share_at
from mien.systems.emocapclip.module import recall
from mien.systems.emocapclip.objective import text_keys


def row_loss(logits, targets, left_out):
    """l_i = y LSE - sum Y z over one row; `targets` maps column to weight."""
    used = [z for j, z in enumerate(logits) if j in targets or not left_out[j]]
    peak = max(used)
    lse = peak + math.log(sum(math.exp(z - peak) for z in used))
    return sum(y * (lse - logits[j]) for j, y in targets.items())


def level(a, b, scale, live, same, targets=None):
    """Mean over live rows of both directions, in loops."""
    total, rows = 0.0, [i for i in range(len(a)) if live[i]]
    for x, y in ((a, b), (b, a)):
        for i in rows:
            left_out = [not live[j] or (same[i][j] and j != i) for j in range(len(y))]
            total += row_loss(
                [scale * float(x[i] @ c) for c in y], targets[i] if targets else {i: 1.0}, left_out
            )
    return total / (2 * max(len(rows), 1))


def same_image(batch):
    uid, grp = batch["uid"], batch["grp"]
    return [
        [bool(uid[i] == uid[j] or (grp[i] == grp[j] and grp[i] >= 0)) for j in range(len(uid))]
        for i in range(len(uid))
    ]


def same_text(tokens):
    return [[bool((a == b).all()) for b in tokens] for a in tokens]


def joined(*tables):
    return np.logical_or.reduce([np.array(table) for table in tables])


def run(branch, rule=None, step=10, **keys):
    module, batch = module_of(branch=branch, rule=rule, **keys).double(), batch_of(9)
    encoded = module.encode(batch)
    loss, logs = module.objective(encoded, batch, step)
    return module, batch, encoded, loss, logs


def whole(encoded, batch, name, scale):
    live = batch["valid"] & batch[f"has_{name}"]
    text = encoded.global_ if name == "g" else encoded.summary
    same = joined(same_image(batch), same_text(batch[f"tok_{name}"]))
    return level(encoded.image.detach().numpy(), text.detach().numpy(), scale, live, same)


def pooled_by_hand(encoded, batch):
    """V1 for each sentence: min-max similarity, threshold 1/P, weighted mean of its own image's patches."""
    rows = []
    for patches, sentences, mask in zip(
        encoded.patches.detach(), encoded.local.detach(), batch["mask_l"] & batch["valid"][:, None]
    ):
        for sentence, real in zip(sentences, mask):
            a = patches @ sentence
            a = (a - a.min()) / (a.max() - a.min() + 1e-6)
            a = torch.where(a < 1 / len(a), 0, a)
            q = (a[:, None] * patches).sum(0) / a.sum()
            rows.append(q / q.norm() if real else torch.zeros_like(q))
    return torch.stack(rows).numpy()


def local_tags(batch):
    count = batch["mask_l"].shape[1]
    region = batch["region_l"].flatten()
    area = (region[:, None] == region[None]) & (region >= 0)[:, None]
    image = np.kron(np.array(same_image(batch)), np.ones((count, count), bool))
    return joined(image & area.numpy(), same_text(batch["tok_l"].flatten(0, 1)))


def test_group_level_equals_the_dense_reference():
    module, batch, encoded, loss, logs = run("group")
    scale = module.model.log_scale.exp().item()
    parts = [whole(encoded, batch, name, scale) for name in "gs"]
    live = (batch["mask_l"] & batch["valid"][:, None]).flatten()
    text = encoded.local.flatten(0, 1).detach().numpy()
    local = level(pooled_by_hand(encoded, batch), text, 1 / 0.07, live, local_tags(batch))
    assert [float(logs[f"loss_{n}"]) for n in ("global", "summary", "local")] == pytest.approx(
        [*parts, local], rel=1e-6
    )
    assert float(loss.detach()) == pytest.approx(0.5 * sum(parts) + 0.5 * local, rel=1e-6)


def test_cls_level_has_all_own_sentences_as_positives():
    _module, batch, encoded, _, logs = run("cls")
    mask = (batch["mask_l"] & batch["valid"][:, None]).numpy()
    size, count = mask.shape
    image, text = encoded.image.detach().numpy(), encoded.local.flatten(0, 1).detach().numpy()
    linked = np.kron(np.array(same_image(batch)), np.ones((1, count), bool))  # images x sentences
    equal = np.array(same_text(batch["tok_l"].flatten(0, 1))).reshape(size, count, -1) & mask[:, :, None]
    linked |= equal.any(1)
    scale, flat, has = 1 / 0.07, mask.flatten(), mask.any(1)
    to_text = [
        row_loss(
            list(scale * text @ image[i]),
            {i * count + m: 1 / mask[i].sum() for m in range(count) if mask[i, m]},
            linked[i] | ~flat,
        )
        for i in range(size) if has[i]
    ]  # fmt: skip
    to_image = [
        row_loss(list(scale * image @ text[t]), {t // count: 1.0}, linked[:, t] | ~has)
        for t in range(len(text)) if flat[t]
    ]  # fmt: skip
    assert float(logs["loss_local"]) == pytest.approx((np.mean(to_text) + np.mean(to_image)) / 2, rel=1e-6)


def test_consensus_targets_equal_the_dense_reference():
    _module, batch, encoded, _, logs = run("none", rule="consensus")
    v = encoded.image.detach().numpy()
    e = (encoded.global_ + encoded.summary).detach().numpy()
    e = e / np.maximum(np.linalg.norm(e, axis=1, keepdims=True), 1e-6)
    usable, size = batch["valid"].numpy(), len(v)
    pairs = np.outer(usable, usable) & ~np.eye(size, dtype=bool)

    def standard(x):
        s = x @ x.T
        return (s - s[pairs].mean()) / s[pairs].std()

    text = standard(e)
    agreement = np.minimum(text, standard(v))
    eligible = pairs & ~np.array(same_image(batch))
    targets, ignored = {}, np.zeros((size, size), bool)
    for i in range(size):
        best = [
            j for j in np.argsort(-agreement[i], kind="stable") if eligible[i, j] and agreement[i, j] >= 0.5
        ][:4]
        r = np.exp(agreement[i, best] / 0.5)
        targets[i] = {i: 0.7 if best else 1.0} | {j: 0.3 * w for j, w in zip(best, r / r.sum())}
        near = [j for j in np.argsort(-text[i]) if eligible[i, j] and j not in best and text[i, j] >= 0.5][:8]
        ignored[i, near] = True
    assert any(len(t) > 1 for t in targets.values())
    assert ignored.any()
    live = (batch["valid"] & batch["has_g"]).numpy()
    exclude = joined(same_image(batch), same_text(batch["tok_g"]), ignored)
    text_rows, scale = encoded.global_.detach().numpy(), 1 / 0.07
    total = 0.0
    for x, y in ((v, text_rows), (text_rows, v)):
        for i in np.flatnonzero(live):
            left_out = ~live | (exclude[i] & (np.arange(size) != i))
            own = {j: w for j, w in targets[i].items() if live[j]}
            total += row_loss(list(scale * y @ x[i]), own, left_out)
    assert float(logs["loss_global"]) == pytest.approx(total / (2 * live.sum()), rel=1e-5)


@pytest.mark.parametrize("branch", ["none", "cls", "group", "region"])
@pytest.mark.parametrize("rule", [None, "swap", "consensus", "cross", "union", "text", "image"])
def test_every_switch_gives_finite_gradients_to_every_weight(branch, rule):
    module, _, _, loss, _ = run(branch, rule)
    loss.backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    moved = [
        p.grad.abs().max() > 0 for n, p in module.named_parameters() if p.requires_grad and p.grad is not None
    ]
    assert all(moved)


@pytest.mark.parametrize(
    ("weights", "still"),
    [({"summary_weight": 0.0}, "summary"), ({"global_weight": 0.0}, "global"), ({}, None)],
)
def test_a_level_of_weight_zero_is_not_computed(weights, still):
    _, _, _, loss, logs = run("none", **weights)
    names = {name for name in ("global", "summary") if f"loss_{name}" in logs}
    assert names == {"global", "summary"} - {still}
    assert torch.isfinite(loss)


@pytest.mark.parametrize("branch", ["cls", "group", "region"])
@pytest.mark.parametrize("rule", [None, "consensus"])
def test_a_dead_sample_contributes_exactly_nothing(branch, rule):
    results = []
    for seed in (1, 2):
        module, batch = module_of(branch=branch, rule=rule), batch_of(9)
        other = batch_of(9, seed=seed)
        for key in ("img", "tok_g", "tok_s", "tok_l"):
            batch[key][8] = other[key][8]
        loss, _ = module.loss(batch, 10)
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in module.parameters() if p.grad is not None)])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_a_batch_without_any_sentence_has_loss_and_gradient_zero():
    module, batch = module_of(branch="group", rule="consensus"), batch_of(9)
    batch["valid"][:] = False
    loss, _ = module.loss(batch, 10)
    loss.backward()
    assert loss.item() == 0
    live = [p for p in module.parameters() if p.requires_grad]
    assert all(p.grad is not None and not p.grad.any() for p in live)
    assert module.objective.miner.stats.isnan().all()


def test_share_rises_after_the_hold():
    mining = MiningConfig(rule="consensus", share=0.3, hold_steps=4, ramp_steps=3)
    assert [round(share_at(mining, step), 6) for step in (0, 3, 4, 5, 6, 7, 99)] == [
        0,
        0,
        0.1,
        0.2,
        0.3,
        0.3,
        0.3,
    ]
    assert share_at(MiningConfig(rule=None), 99) == 0


def test_before_it_is_warm_mining_changes_nothing_but_its_statistics():
    plain = run("group")[3]
    keys = {"mining": MiningConfig(rule="consensus", hold_steps=11)}
    module, _, _, held, _ = run("group", **keys)
    assert torch.equal(plain, held)
    assert module.objective.miner.stats[:2].isfinite().all()
    assert "objective.miner.stats" in module.state_dict()


def test_validation_leaves_the_statistics_alone():
    module = module_of(branch="group", rule="consensus").eval()
    logs = module.validation_logs(batch_of(9), 10)
    assert module.objective.miner.stats.isnan().all()
    assert {"loss", "r1_text", "r1_image"} <= logs.keys()


def test_recall_counts_equal_captions_as_right():
    image = torch.eye(3)
    text = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert float(recall(image, text, torch.tensor([1, 2, 3]))["r1_text"]) == pytest.approx(1 / 3)
    assert float(recall(image, text, torch.tensor([1, 1, 3]))["r1_text"]) == 1


def test_text_keys_tell_texts_apart():
    batch = batch_of(9)
    keys = text_keys(batch["tok_g"])
    assert keys[4] == keys[5]
    assert len(keys.unique()) == len(batch["tok_g"].unique(dim=0))
    assert (keys >= 0).all()
