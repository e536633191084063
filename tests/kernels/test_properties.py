"""Random problems of every kind, against loops over single pairs and against whole matrices in float64."""

from __future__ import annotations

import kernel_references as reference
import numpy as np
import pytest
import torch
from each_backend import BACKENDS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien_kernels import Tags, contrast, group_patches, mine, symmetric_contrast
from mien_kernels.side import FORMS

EXAMPLES = 20 if "triton" in BACKENDS else 60
quickly = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SCALES = st.sampled_from([0.01, 1.0, 14.3, 100.0, 3000.0])


def unit(rng, rows, depth, copies):
    """Unit rows, some of them equal to others, some zero."""
    x = rng.standard_normal((rows, depth))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for _ in range(copies):
        x[rng.integers(rows)] = x[rng.integers(rows)] if rng.random() < 0.7 else 0
    return x


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns, depth = (draw(st.integers(1, most)) for most in (21, 37, 19))
    copies, width = draw(st.integers(0, 6)), draw(st.integers(0, 3))
    a, c = unit(rng, rows, depth, copies), unit(rng, columns, depth, copies)
    indices, weights = rng.integers(-1, columns, (rows, width)), rng.random((rows, width)).round(2)
    row_weight = rng.integers(0, 3, rows) / 2 if draw(st.booleans()) else np.ones(rows)
    valid = rng.random(columns) > draw(st.sampled_from([0.0, 0.3, 1.0]))
    ignore = rng.integers(-1, columns, (rows, draw(st.integers(0, 3))))
    keys = [(rng.integers(-1, 4, rows), rng.integers(-1, 4, columns)) for _ in range(3)]
    tags = tuple(
        Tags.all(torch.tensor(keys[0][side]), torch.tensor(keys[1][side]))
        | Tags.any(torch.tensor(keys[2][side]))
        for side in (0, 1)
    )
    match = lambda k: (keys[k][0][:, None] == keys[k][1][None]) & (keys[k][0] >= 0)[:, None]  # noqa: E731
    excluded = {(i, int(j)) for i in range(rows) for j in ignore[i] if j >= 0}
    excluded |= {(int(i), int(j)) for i, j in np.argwhere(match(0) & match(1) | match(2))}
    options = {
        "targets": (torch.tensor(indices), torch.tensor(weights)),
        "row_weight": torch.tensor(row_weight),
        "candidate_valid": torch.tensor(valid),
        "tags": tags,
        "ignore": torch.tensor(ignore),
    }
    lists = [list(zip(indices[i].tolist(), weights[i].tolist())) for i in range(rows)]
    loops = {"lists": lists, "row_weight": row_weight, "valid": valid, "excluded": excluded}
    return a, c, draw(SCALES), options, loops


def run(a, c, scale, dtype=torch.float64, junk=0.0, **options):
    """Loss and gradients; rows that are dead hold junk."""
    a, c = torch.tensor(a, dtype=dtype), torch.tensor(c, dtype=dtype)
    a[options["row_weight"] == 0] = junk
    c[~options["candidate_valid"]] = junk
    leaves = [x.requires_grad_() for x in (a, c, torch.tensor(scale, dtype=torch.float64))]
    loss = contrast(*leaves, **options)
    return loss.detach(), torch.autograd.grad(loss, leaves)


@quickly
@given(problem=problems(), form=st.sampled_from(FORMS[:3]))
def test_contrast_equals_loops_and_whole_matrices(problem, form):
    a, c, scale, options, loops = problem
    loss, grads = run(a, c, scale, form=form, junk=float("nan"), **options)
    assert loss.item() == pytest.approx(
        reference.contrast(a, c, scale, form=form, **loops), rel=1e-9, abs=1e-9
    )
    want, want_grads = run(a, c, scale, form=form, backend="dense", **options)
    torch.testing.assert_close(loss, want, rtol=1e-9, atol=1e-9)
    for got, expected in zip(grads, want_grads):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10 * max(1, scale))
    assert (grads[0][options["row_weight"] == 0] == 0).all()
    assert (grads[1][~options["candidate_valid"]] == 0).all()
    torch.testing.assert_close(
        scale * grads[2], (torch.tensor(a) * grads[0]).nansum(), rtol=1e-7, atol=1e-8 * scale
    )


@quickly
@given(problem=problems(), bias=st.sampled_from([-10.0, 0.0, 3.0]))
def test_sigmoid_equals_loops_and_whole_matrices(problem, bias):
    a, c, scale, options, loops = problem
    bias = torch.tensor(bias, dtype=torch.float64)
    loss, grads = run(a, c, scale, form="sigmoid", logit_bias=bias, **options)
    want = reference.sigmoid_contrast(a, c, scale, float(bias), **loops)
    assert loss.item() == pytest.approx(want, rel=1e-9, abs=1e-9)
    _, want_grads = run(a, c, scale, form="sigmoid", logit_bias=bias, backend="dense", **options)
    for got, expected in zip(grads, want_grads):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10 * max(1, scale))


@quickly
@given(problem=problems(), form=st.sampled_from(FORMS[:3]))
def test_single_precision_is_near(problem, form):
    a, c, scale, options, _ = problem
    scale = min(scale, 100.0)
    want, exact = run(a, c, scale, form=form, backend="dense", **options)
    a32, c32 = np.float32(a), np.float32(c)
    leaves = [torch.tensor(x).requires_grad_() for x in (a32, c32)]
    loss = contrast(*leaves, torch.tensor(scale, dtype=torch.float32), form=form, **options)
    torch.testing.assert_close(loss.double(), want, rtol=1e-5, atol=1e-5)
    for got, expected in zip(torch.autograd.grad(loss, leaves), exact):
        torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-5 * max(1, scale))


@st.composite
def squares(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, depth = draw(st.integers(1, 35)), draw(st.integers(1, 17))
    a, b = (torch.tensor(unit(rng, rows, depth, draw(st.integers(0, 4)))) for _ in range(2))
    options = {"form": draw(st.sampled_from(FORMS[:3]))}
    if draw(st.booleans()):
        options["row_weight"] = torch.tensor(rng.integers(0, 3, rows) / 2)
    if draw(st.booleans()):
        options["tags"] = Tags.any(torch.tensor(rng.integers(-1, 6, rows)))
    for name in ("targets_ab", "targets_ba"):
        if draw(st.booleans()):
            options[name] = (
                torch.tensor(rng.integers(-1, rows, (rows, 3))),
                torch.tensor(rng.random((rows, 3))),
            )
    if draw(st.booleans()):
        options["ignore"] = tuple(torch.tensor(rng.integers(-1, rows, (rows, 2))) for _ in range(2))
    return a, b, draw(SCALES), options


@quickly
@given(problem=squares())
def test_symmetric_equals_whole_matrices(problem):
    a, b, scale, options = problem
    leaves = [x.clone().requires_grad_() for x in (a, b, torch.tensor(scale, dtype=torch.float64))]
    loss = symmetric_contrast(*leaves, **options)
    want = symmetric_contrast(*leaves, backend="dense", **options)
    torch.testing.assert_close(loss, want, rtol=1e-9, atol=1e-9)
    for got, expected in zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(want, leaves)):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10 * max(1, scale))


@quickly
@given(
    seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 30), k=st.integers(0, 5), ignore=st.integers(0, 5),
    rule=st.sampled_from(["consensus", "swap", "union", "text", "image", "cross"]), bar=st.floats(-2, 2),
    copies=st.integers(0, 8), holes=st.integers(0, 3),
)  # fmt: skip
def test_mining_equals_whole_matrices(seed, rows, k, ignore, rule, bar, copies, holes):
    rng = np.random.default_rng(seed)
    image, text = (torch.tensor(unit(rng, rows, 6, copies)) for _ in range(2))
    for x in (image, text):
        x[rng.integers(rows, size=holes)] = float("nan")
    options = {
        "rule": rule, "k": k, "ignore": ignore, "threshold": bar, "ignore_threshold": bar / 2,
        "tags": Tags.any(torch.tensor(rng.integers(-1, 8, rows))),
        "valid": torch.tensor(rng.random(rows) > 0.1),
    }  # fmt: skip
    got, want = mine(image, text, **options), mine(image, text, backend="dense", **options)
    for one, other in zip((got.ab, got.ba), (want.ab, want.ba)):
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.ignored, other.ignored)
        torch.testing.assert_close(one.weights, other.weights)
        assert not torch.isin(one.indices, torch.tensor(sorted(_unusable(image, text, rule)))).any()


def _unusable(image, text, rule):
    read = {"text": [text], "image": [image]}.get(rule, [image, text])
    return {i for x in read for i in range(len(x)) if not x[i].isfinite().all()}


@quickly
@given(
    seed=st.integers(0, 2**32 - 1), images=st.integers(1, 4), patches=st.integers(1, 12),
    depth=st.integers(1, 9), sentences=st.integers(1, 10), threshold=st.sampled_from([None, 0.0, 0.5, 1.0]),
    alike=st.booleans(),
)  # fmt: skip
def test_grouping_equals_whole_matrices(seed, images, patches, depth, sentences, threshold, alike):
    rng = np.random.default_rng(seed)
    x = unit(rng, images * patches, depth, 4).reshape(images, patches, depth)
    if alike:
        x[0] = x[0, :1]
    x, text = torch.tensor(x).requires_grad_(), torch.tensor(unit(rng, sentences, depth, 1))
    owner = torch.tensor(rng.integers(-1, images, sentences))
    got, want = (group_patches(x, text, owner, threshold, backend=name) for name in ("auto", "dense"))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    direction = torch.tensor(rng.standard_normal(got.shape))
    for one, other in zip(torch.autograd.grad(got, x, direction), torch.autograd.grad(want, x, direction)):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
