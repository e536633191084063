from __future__ import annotations

import kernel_references as reference
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mien_kernels import Tags, mine

RULES = ("consensus", "swap", "union", "text", "image", "cross")
BARS = {"k": 3, "ignore": 4, "threshold": 0.4, "ignore_threshold": 0.6}


def rows(n, dim=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, dim, generator=generator, dtype=torch.float64), dim=1)


def as_lists(found, row):
    keep = [j for j in found.indices[row].tolist() if j >= 0]
    return keep, found.weights[row, : len(keep)].tolist(), [j for j in found.ignored[row].tolist() if j >= 0]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [5, 19])  # N below and above D: two ways to the statistics
def test_equals_loops(rule, n):
    image, text = rows(n), rows(n, seed=1)
    group = torch.arange(n) // 2
    usable = [i != 3 for i in range(n)]
    banned = {(i, j) for i in range(n) for j in range(n) if i // 2 == j // 2}
    got = mine(image, text, rule=rule, tags=Tags.any(group), valid=torch.tensor(usable), **BARS)
    found = 0
    for direction, lists in (("ab", got.ab), ("ba", got.ba)):
        want = reference.mine(
            image.numpy(), text.numpy(), rule=rule, direction=direction, banned=banned, usable=usable, **BARS
        )
        for i in range(n):
            best, shares, near = as_lists(lists, i)
            assert best == want[i][0]
            assert near == want[i][2]
            np.testing.assert_allclose(shares, want[i][1], rtol=1e-6)
            assert not set(best) & set(near)
            found += len(best)
    assert found > 0


def test_shapes_types_and_pads():
    got = mine(rows(7).float(), rows(7, seed=1).float(), k=4, ignore=9)
    assert (got.ab.indices.shape, got.ab.indices.dtype) == ((7, 4), torch.int32)
    assert (got.ab.weights.shape, got.ab.weights.dtype) == ((7, 4), torch.float32)
    assert (got.ab.ignored.shape, got.ab.ignored.dtype) == ((7, 9), torch.int32)
    assert ((got.ab.weights == 0) == (got.ab.indices < 0)).all()
    none = mine(rows(7), rows(7, seed=1), threshold=99.0, ignore_threshold=99.0)
    assert (none.ab.indices == -1).all()
    assert (none.ab.weights == 0).all()
    assert (none.ab.ignored == -1).all()
    empty = mine(rows(7), rows(7, seed=1), k=0, ignore=0)
    assert empty.ab.indices.shape == empty.ab.ignored.shape == (7, 0)


def test_ties_go_to_the_lower_index():
    text = torch.eye(4, dtype=torch.float64)[[0, 0, 0, 0, 1, 1, 2, 3]]
    got = mine(None, text, rule="text", k=2, ignore=1, threshold=0.5, ignore_threshold=0.5).ab
    assert got.indices[:4].tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
    assert got.ignored[:4].tolist() == [[3], [3], [3], [2]]


@pytest.mark.parametrize("rule", RULES)
def test_unusable_guidance_finds_nothing_and_disturbs_nobody(rule):
    image, text = rows(12), rows(12, seed=1)
    broken_image, broken_text = image.clone(), text.clone()
    broken_image[2, 1], broken_text[2] = torch.nan, torch.inf
    got = mine(broken_image, broken_text, rule=rule, **BARS)
    keep = torch.arange(12) != 2
    want = mine(image[keep], text[keep], rule=rule, **BARS)
    back = torch.cat([torch.arange(12)[keep], torch.tensor([-1])])  # the last is the padding
    for one, other in ((got.ab, want.ab), (got.ba, want.ba)):
        assert (one.indices[2] == -1).all()
        assert (one.ignored[2] == -1).all()
        assert torch.equal(one.indices[keep].long(), back[other.indices.long()])
        assert torch.equal(one.ignored[keep].long(), back[other.ignored.long()])


@pytest.mark.parametrize("rule", RULES)
def test_some_rows_find_what_all_rows_find(rule):
    image, text, tags = rows(12), rows(12, seed=1), Tags.any(torch.arange(12) // 3)
    whole = mine(image, text, rule=rule, tags=tags, **BARS)
    for start in (0, 4, 8):
        part = mine(image, text, rule=rule, tags=tags, rows=slice(start, start + 4), **BARS)
        for one, other in ((part.ab, whole.ab), (part.ba, whole.ba)):
            assert torch.equal(one.indices, other.indices[start : start + 4])
            assert torch.equal(one.ignored, other.ignored[start : start + 4])
            torch.testing.assert_close(one.weights, other.weights[start : start + 4])
        torch.testing.assert_close(part.stats, whole.stats, equal_nan=True)


def test_statistics_are_those_of_the_off_diagonal_and_blend():
    for n in (5, 30):
        text = rows(n)
        off = (text @ text.T)[~torch.eye(n, dtype=torch.bool)]
        stats = mine(None, text, rule="text").stats
        torch.testing.assert_close(stats[1], torch.stack([off.mean(), off.std(unbiased=False)]))
        assert stats[[0, 2]].isnan().all()
        later = mine(None, rows(n, seed=5), rule="text", stats=stats, momentum=0.9).stats
        torch.testing.assert_close(
            later[1], 0.9 * stats[1] + 0.1 * mine(None, rows(n, seed=5), rule="text").stats[1]
        )
        alone = mine(None, text[:1], rule="text", stats=stats)
        torch.testing.assert_close(alone.stats[1], stats[1])
        assert (alone.ab.indices == -1).all()
    fresh = mine(None, text, rule="text", stats=torch.full((3, 2), torch.nan, dtype=torch.float64))
    torch.testing.assert_close(fresh.stats, stats, equal_nan=True)


def test_crowded_embeddings_keep_their_spread():
    near = F.normalize(
        torch.ones(40, 8) + 1e-3 * torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), dim=1
    )
    off = (near.double() @ near.double().T)[~torch.eye(40, dtype=torch.bool)]
    assert mine(None, near, rule="text").stats[1, 1].item() == pytest.approx(
        off.std(unbiased=False).item(), rel=1e-3
    )


def test_local_level_stays_inside_a_region_and_ignores_by_cosine():
    text, region = rows(30, dim=3), torch.arange(30) % 3
    options = {"rule": "text", "within": region, "k": 2, "threshold": 0.5, "ignore": 10, "ignore_cosine": 0.6}
    got = mine(None, text, **options).ab
    cosine = text @ text.T
    for i in range(30):
        best, _, near = as_lists(got, i)
        wanted = {j for j in range(30) if j != i and j % 3 == i % 3 and cosine[i, j] >= 0.6} - set(best)
        assert set(near) == wanted
        assert all(j % 3 == i % 3 for j in best)
    assert (got.indices >= 0).any()


def test_targets_keep_the_own_pair():
    got = mine(rows(9), rows(9, seed=1), **BARS).ab
    indices, weights = got.targets(0.3, start=18)
    assert indices[:, 0].tolist() == list(range(18, 27))
    lonely = got.indices[:, 0] < 0
    assert 0 < lonely.sum() < 9
    torch.testing.assert_close(weights[:, 0], torch.where(lonely, 1.0, 0.7))
    torch.testing.assert_close(weights.sum(1), torch.ones(9))


def test_no_gradient_and_faults():
    image = rows(6).requires_grad_()
    assert not mine(image, image).ab.weights.requires_grad
    with pytest.raises(ValueError, match=r"unknown rule 'best'.*consensus, swap"):
        mine(image, image, rule="best")
    with pytest.raises(ValueError, match="needs image rows"):
        mine(None, image)
    with pytest.raises(ValueError, match="do not fit"):
        mine(image, rows(5))
    with pytest.raises(ValueError, match="within must have 6 rows"):
        mine(image, image, within=torch.zeros(5))
    with pytest.raises(ValueError, match="unknown back end"):
        mine(image, image, backend="fast")
