from __future__ import annotations

import kernel_references as reference
import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss
from torch.nn import functional as F

from mien_kernels import Tags, contrast, symmetric_contrast

FORMS = ("out", "in", "dec")
R, K, D = 13, 17, 8


def unit(rows, dim=D, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=1).to(dtype)


def leaves(*tensors):
    return [tensor.clone().requires_grad_() for tensor in tensors]


def problem(seed=0):
    """A 13 x 17 problem with every option at once, and the same thing in the terms of the reference."""
    rng = np.random.default_rng(seed)
    indices = rng.integers(-1, K, (R, 3))
    indices[5] = -1  # a row without positives
    indices[2] = (4, 4, -1)  # repeated
    weights = rng.random((R, 3)).round(3)
    weights[3, 1] = 0  # listed, but no positive
    row_weight = rng.integers(0, 3, R) / 2
    valid = rng.random(K) > 0.2
    ignore = rng.integers(-1, K, (R, 2))
    row_key, column_key = rng.integers(-1, 4, R), rng.integers(-1, 4, K)
    excluded = {(i, int(j)) for i in range(R) for j in ignore[i] if j >= 0}
    excluded |= {(i, j) for i in range(R) for j in range(K) if row_key[i] == column_key[j] >= 0}
    lists = [list(zip(indices[i].tolist(), weights[i].tolist())) for i in range(R)]
    options = {
        "targets": (torch.tensor(indices, dtype=torch.int32), torch.tensor(weights)),
        "row_weight": torch.tensor(row_weight),
        "candidate_valid": torch.tensor(valid),
        "tags": (Tags.any(torch.tensor(row_key)), Tags.any(torch.tensor(column_key))),
        "ignore": torch.tensor(ignore, dtype=torch.int32),
    }
    return options, {"lists": lists, "row_weight": row_weight, "valid": valid, "excluded": excluded}


def gradients(loss, *tensors):
    return torch.autograd.grad(loss, tensors)


def logit_gradient(anchors, candidates, scale, **options):
    """G = dL/dz, read off by making the logits the anchors: z = 1 * Z I^T."""
    logits = (scale * anchors @ candidates.T).detach().requires_grad_()
    eye = torch.eye(len(candidates), dtype=logits.dtype)
    return gradients(contrast(logits, eye, torch.tensor(1.0, dtype=logits.dtype), **options), logits)[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(4))
def test_equals_loops(form, seed):
    options, loops = problem(seed)
    a, c = unit(R, seed=seed), unit(K, seed=seed + 100)
    got = contrast(a, c, torch.tensor(7.0), form=form, **options)
    want = reference.contrast(a.numpy(), c.numpy(), 7.0, form=form, **loops)
    assert want > 0
    assert got.item() == pytest.approx(want, rel=1e-6)  # scale is fp32; sums are fp64


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_finite_differences(form, backend):
    options, _ = problem(1)
    a, c, scale = leaves(unit(R), unit(K, seed=1), torch.tensor(5.0, dtype=torch.float64))
    assert torch.autograd.gradcheck(
        lambda *x: contrast(*x, form=form, **options), (a, c, scale), fast_mode=backend == "triton"
    )


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("tagged", [False, True])
def test_paired_gradients_are_finite_differences(dead, tagged, backend):
    a, b, scale = leaves(unit(9), unit(9, seed=1), torch.tensor(5.0, dtype=torch.float64))
    weight = torch.tensor([1, 0, 2, 1, 1, 0, 0.5, 1, 1], dtype=torch.float64) if dead else None
    tags = Tags.any(torch.tensor([0, 1, 0, 2, -1, -1, 3, 3, 4])) if tagged else None
    run = lambda *x: symmetric_contrast(*x, row_weight=weight, tags=tags)  # noqa: E731
    assert torch.autograd.gradcheck(run, (a, b, scale), fast_mode=backend == "triton")


@pytest.mark.parametrize("form", FORMS)
def test_temperature_gradient_is_the_inner_product(form):
    options, _ = problem(2)
    a, c, scale = leaves(unit(R), unit(K, seed=1), torch.tensor(9.0, dtype=torch.float64))
    da, dc, dscale = gradients(contrast(a, c, scale, form=form, **options), a, c, scale)
    torch.testing.assert_close(scale * dscale, (a * da).sum())
    torch.testing.assert_close(scale * dscale, (c * dc).sum())
    assert abs(dscale) > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_the_logit_gradient_sum_to_zero(form):
    options, loops = problem(3)
    g = logit_gradient(unit(R), unit(K, seed=1), 6.0, form=form, **options)
    assert g.sum(1).abs().max() < 1e-15
    assert g.abs().sum(1).max() > 0.01
    outside = torch.tensor([[(i, j) in loops["excluded"] for j in range(K)] for i in range(R)])
    for i, row in enumerate(loops["lists"]):
        outside[i, [j for j, y in row if j >= 0 and y > 0]] = False
    outside |= ~torch.tensor(loops["valid"])[None]
    outside |= torch.tensor(loops["row_weight"] == 0)[:, None]
    assert outside.any()
    assert (g[outside] == 0).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("scale", [1.0, 14.0, 100.0])
def test_equals_clip(dtype, tolerance, scale):
    a, b, s = leaves(unit(33, 24, dtype=dtype), unit(33, 24, 1, dtype), torch.tensor(scale, dtype=dtype))
    want = ClipLoss()(a, b, s)
    want_gradients = gradients(want, a, b, s)
    eye = (torch.arange(33)[:, None], torch.ones(33, 1))
    options = [{}, {"row_weight": torch.ones(33)}, {"tags": Tags.any(torch.arange(33))}]
    options.append({"targets_ab": eye, "targets_ba": eye})
    for option in options:
        got = symmetric_contrast(a, b, s, **option)
        torch.testing.assert_close(got, want, rtol=tolerance, atol=0)
        for one, other in zip(gradients(got, a, b, s), want_gradients):
            torch.testing.assert_close(one, other, rtol=0, atol=10 * tolerance * max(scale / 10, 1))
    halves = contrast(a, b, s) / 2 + contrast(b, a, s) / 2
    torch.testing.assert_close(halves, want, rtol=tolerance, atol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mined", [False, True])
def test_symmetric_is_the_mean_of_both_directions(form, mined):
    a, b = unit(R), unit(R, seed=1)
    weight = torch.tensor([1.0, 0, 2] + [1] * 10)
    tags = Tags.any(torch.arange(R) // 2)
    ab = (
        (torch.tensor([[i, (i + 3) % R] for i in range(R)]), torch.tensor([[0.7, 0.3]] * R))
        if mined
        else None
    )
    ba = (
        (torch.tensor([[i, (i + 5) % R] for i in range(R)]), torch.tensor([[0.6, 0.4]] * R))
        if mined
        else None
    )
    pair = (torch.arange(R)[:, None].roll(2), torch.arange(R)[:, None].roll(4)) if mined else (None, None)
    shared = {"row_weight": weight, "tags": tags, "form": form}
    got = symmetric_contrast(
        a, b, torch.tensor(8.0), targets_ab=ab, targets_ba=ba, ignore=pair if mined else None, **shared
    )
    one = contrast(a, b, torch.tensor(8.0), targets=ab, ignore=pair[0], candidate_valid=weight > 0, **shared)
    two = contrast(b, a, torch.tensor(8.0), targets=ba, ignore=pair[1], candidate_valid=weight > 0, **shared)
    torch.testing.assert_close(got, (one + two) / 2)


def test_permuting_the_samples_permutes_the_gradients():
    order = torch.randperm(R, generator=torch.Generator().manual_seed(3))
    place = order.argsort()
    a, b = leaves(unit(R), unit(R, seed=1))
    partner = (torch.arange(R) + 4) % R
    indices, weights = torch.stack([torch.arange(R), partner], 1), torch.tensor([[0.7, 0.3]]).expand(R, 2)
    weight, key = torch.rand(R, dtype=torch.float64), torch.arange(R) // 3

    def run(x, y, idx, w, k):
        loss = symmetric_contrast(
            x, y, torch.tensor(9.0), targets_ab=(idx, weights), row_weight=w, tags=Tags.any(k)
        )
        return loss, gradients(loss, x, y)

    loss, grads = run(a, b, indices, weight, key)
    moved, moved_grads = run(*leaves(a[order], b[order]), place[indices[order]], weight[order], key[order])
    torch.testing.assert_close(moved, loss)
    for one, other in zip(moved_grads, grads):
        torch.testing.assert_close(one, other[order])


@pytest.mark.parametrize("options", [{}, {"form": "dec"}, {"tags": Tags.any(torch.arange(8) // 2)}])
@pytest.mark.parametrize("junk", [0.0, float("nan"), float("inf")])
def test_dead_rows_are_not_read(options, junk):
    weight = torch.tensor([1.0, 0, 1, 1, 0, 2, 1, 1])
    alive = weight > 0
    a, b = unit(8), unit(8, seed=1)
    a[~alive], b[~alive] = junk, junk
    a, b, s = leaves(a, b, torch.tensor(10.0))
    loss = symmetric_contrast(a, b, s, row_weight=weight, **options)
    da, db, _ = gradients(loss, a, b, s)
    assert (da[~alive] == 0).all()
    assert (db[~alive] == 0).all()
    small = {"tags": Tags.any((torch.arange(8) // 2)[alive])} if "tags" in options else options
    few = leaves(a[alive], b[alive])
    want = symmetric_contrast(*few, s, row_weight=weight[alive], **small)
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(da[alive], gradients(want, *few)[0])


@pytest.mark.parametrize(
    "options", [{}, {"form": "in"}, {"form": "dec"}, {"ignore": torch.tensor([[0]] * 4)}]
)
def test_nothing_alive_gives_zero_with_a_graph(options):
    a, b, s = leaves(unit(4), unit(4, seed=1), torch.tensor(10.0))
    loss = symmetric_contrast(a, b, s, row_weight=torch.zeros(4), **options)
    assert loss.item() == 0
    assert all((grad == 0).all() for grad in gradients(loss, a, b, s))


@pytest.mark.parametrize("form", FORMS)
def test_one_live_row_has_zero_loss_and_gradient(form):
    a, b, s = leaves(unit(4), unit(4, seed=1), torch.tensor(100.0))
    loss = symmetric_contrast(a, b, s, row_weight=torch.tensor([0.0, 0, 1, 0]), form=form)
    assert loss.item() == 0
    assert all((grad == 0).all() for grad in gradients(loss, a, b, s))


@pytest.mark.parametrize("form", FORMS)
def test_row_without_valid_candidate(form):
    a, c = leaves(unit(3), unit(3, seed=1))
    everything = torch.tensor([[0, 1, 2], [-1, -1, -1], [-1, -1, -1]])
    targets = (torch.tensor([[-1], [1], [2]]), torch.ones(3, 1))
    loss = contrast(a, c, torch.tensor(10.0), targets=targets, ignore=everything, form=form)
    grads = gradients(loss, a, c)
    assert loss.isfinite()
    assert loss > 0
    assert (grads[0][0] == 0).all()
    assert all(grad.isfinite().all() for grad in grads)
    nobody = contrast(a, c, torch.tensor(10.0), candidate_valid=torch.zeros(3, dtype=torch.bool), form=form)
    assert nobody.item() == 0
    assert all((grad == 0).all() for grad in gradients(nobody, a, c))


def test_positive_wins_over_exclusion():
    a, c = unit(5), unit(5, seed=1)
    own = torch.arange(5)[:, None]
    want = contrast(a, c, torch.tensor(4.0))
    assert contrast(a, c, torch.tensor(4.0), ignore=own).item() == pytest.approx(want.item(), abs=1e-12)
    assert contrast(a, c, torch.tensor(4.0), tags=Tags.any(torch.arange(5))).item() == pytest.approx(
        want.item()
    )


def test_duplicates_are_left_out_by_masking_not_by_subtraction():
    a, b = unit(4), unit(4, seed=1)
    a[1], b[1] = a[0], b[0]
    b[0] = b[1] = a[0]  # the duplicate's logit dominates its row: 100 against about 30
    got = symmetric_contrast(a, b, torch.tensor(100.0), tags=Tags.any(torch.tensor([7, 7, 8, 9])))
    loops = {"excluded": {(0, 1), (1, 0)}}
    both = [reference.contrast(x.numpy(), y.numpy(), 100.0, **loops) for x, y in ((a, b), (b, a))]
    assert got.item() == pytest.approx(sum(both) / 2, rel=1e-6, abs=1e-9)


def test_zero_embeddings_are_finite():
    a, b, s = leaves(torch.zeros(4, D), torch.zeros(4, D), torch.tensor(100.0))
    loss = symmetric_contrast(a, b, s)
    assert loss.item() == pytest.approx(np.log(4))
    assert all(grad.isfinite().all() for grad in gradients(loss, a, b, s))


def test_extreme_logits_stay_finite():
    a = unit(6)
    a, b, s = leaves(a, -a, torch.tensor(1e4))
    loss = symmetric_contrast(a, b, s)
    assert loss.isfinite()
    assert all(grad.isfinite().all() for grad in gradients(loss, a, b, s))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_inputs_are_summed_in_fp32(dtype, autocast):
    a, b = leaves(unit(40, 96, dtype=dtype), unit(40, 96, 1, dtype))
    weight, tags = torch.ones(40), Tags.any(torch.arange(40) // 2)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        plain = symmetric_contrast(a, b, torch.tensor(100.0))
        masked = contrast(a, b, torch.tensor(100.0), row_weight=weight, tags=tags)
    x, y = leaves(a.detach().double(), b.detach().double())
    exact = symmetric_contrast(x, y, torch.tensor(100.0))
    assert plain.dtype == torch.float32
    torch.testing.assert_close(plain.double(), exact, rtol=1e-5, atol=0)
    exact_masked = contrast(x, y, torch.tensor(100.0), row_weight=weight, tags=tags)
    torch.testing.assert_close(masked.double(), exact_masked, rtol=1e-5, atol=0)
    cosine = F.cosine_similarity(
        gradients(plain, a)[0].double().flatten(), gradients(exact, x)[0].flatten(), 0
    )
    assert cosine > 0.9999


def test_twice_the_same_bits():
    a, b = leaves(unit(40, dtype=torch.float32), unit(40, seed=1, dtype=torch.float32))
    runs = [gradients(symmetric_contrast(a, b, torch.tensor(20.0)), a, b) for _ in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(*runs))


def test_tags_join_keys_by_and_and_rules_by_or():
    uid, region = torch.tensor([1, 1, 1, 2, -1]), torch.tensor([0, 0, 5, 0, 0])
    text = torch.tensor([-1, 3, -1, 3, -1])
    both = (Tags.all(uid, region) | Tags.any(text)).matches(Tags.all(uid, region) | Tags.any(text))
    pairs = {(i, j) for i, j in both.nonzero().tolist() if i < j}
    assert pairs == {(0, 1), (1, 3)}
    assert not both[4].any()  # negative: has no tag
    either = Tags.any(uid, region)
    assert {tuple(p) for p in either.matches(either)[3:4].nonzero()[:, 1:].tolist()} == {
        (0,),
        (1,),
        (3,),
        (4,),
    }


def test_faults_are_named():
    a, b, s = unit(4), unit(4, seed=1), torch.tensor(1.0)
    with pytest.raises(ValueError, match=r"unknown back end 'cuda'.*auto, dense"):
        contrast(a, b, s, backend="cuda")
    with pytest.raises(ValueError, match=r"unknown form 'both'.*out, in, dec"):
        contrast(a, b, s, form="both")
    with pytest.raises(ValueError, match="unknown exchange"):
        symmetric_contrast(a, b, s, exchange="ring around")
    with pytest.raises(ValueError, match="need targets"):
        contrast(a[:3], b, s)
    with pytest.raises(ValueError, match=r"row_weight must have shape \[4\]"):
        symmetric_contrast(a, b, s, row_weight=torch.ones(5))
    with pytest.raises(ValueError, match="0-d"):
        symmetric_contrast(a, b, torch.ones(1))
    with pytest.raises(ValueError, match="tags of 3 rows"):
        symmetric_contrast(a, b, s, tags=Tags.any(torch.arange(3)))


@pytest.mark.parametrize("spread", [3.0, 200.0])
def test_rows_and_columns_of_very_different_size(backend, spread):
    """What serves a row and a column at once must see where it cannot."""
    lengths = torch.logspace(-1, 1, 37, dtype=torch.float64)
    a, b = unit(37) * lengths[:, None], unit(37, seed=1) * lengths.flip(0)[:, None]
    scale = torch.tensor(spread, dtype=torch.float64)
    exact = leaves(a, b, scale)
    want = symmetric_contrast(*exact, backend="dense")
    ours = leaves(a.float(), b.float(), scale.float())
    got = symmetric_contrast(*ours, backend=backend)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=0)
    for one, other in zip(gradients(got, *ours), gradients(want, *exact), strict=True):
        assert (one.double() - other).abs().max() <= 1e-4 * other.abs().max()
