"""Targets from a table of the whole set: those of the neighbours that are in the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from emocap_batches import batch_of, module_of

from mien.data.config import TrainConfig
from mien.data.neighbours import Neighbours, Side
from mien.errors import RunError
from mien.systems.emocapclip.config import MiningConfig, check_neighbours
from mien.systems.emocapclip.table import TableMiner, in_batch
from mien.systems.emocapclip.whole_set import Embedded, mine_embedded
from mien_kernels import Lists, mine


def lists_of(size, k=4, seed=0):
    rng = np.random.default_rng(seed)
    indices = np.full((size, k), -1, np.int32)
    ignored = np.full((size, 2), -1, np.int32)
    for row in range(size):
        others = rng.permutation(np.delete(np.arange(size), row))
        count = rng.integers(0, k + 1)
        indices[row, :count], ignored[row] = others[:count], others[k : k + 2]
    weights = rng.random((size, k)).astype(np.float32) * (indices >= 0)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-9)
    return Side(indices, weights, ignored)


def tensors(side):
    return Lists(*(torch.from_numpy(part) for part in (side.indices, side.weights, side.ignored)))


@pytest.mark.parametrize("seed", range(5))
def test_lists_in_a_batch_equal_those_found_in_loops(seed):
    rng = np.random.default_rng(seed)
    side = lists_of(30, seed=seed)
    everyone = rng.choice(30, 16, replace=True)  # a batch over two epochs may hold a sample twice
    everyone[3] = -1
    mine_ = slice(4, 12)
    found = in_batch(tensors(side), torch.from_numpy(everyone[mine_]), torch.from_numpy(everyone))
    for row, sample in enumerate(everyone[mine_].tolist()):
        first = {int(s): i for i, s in reversed(list(enumerate(everyone.tolist()))) if s >= 0}
        pairs = zip(side.indices[sample].tolist(), side.weights[sample].tolist(), strict=True)
        shares = {first[j]: weight for j, weight in pairs if sample >= 0 and j in first}
        total = sum(shares.values())
        got = {
            int(i): float(w) for i, w in zip(found.indices[row], found.weights[row]) if i >= 0
        }  # fmt: skip
        assert got.keys() == shares.keys()
        assert all(got[i] == pytest.approx(shares[i] / total, rel=1e-5) for i in got)
        ignored = [first[int(j)] for j in side.ignored[sample] if sample >= 0 and int(j) in first]
        assert sorted(i for i in found.ignored[row].tolist() if i >= 0) == sorted(ignored)


def test_the_own_pair_keeps_its_share_and_a_lonely_row_all():
    side = lists_of(20)
    config = MiningConfig(rule="consensus", source="table", share=0.3)
    found = TableMiner(config, Neighbours(side, side, "", {})).captions(
        torch.arange(12), torch.ones(12, dtype=torch.bool), 5, None
    )
    indices, weights = found.ab
    assert torch.equal(indices[:, 0], torch.arange(12, dtype=torch.int32))
    alone = (indices[:, 1:] < 0).all(1)
    assert alone.any()
    assert not alone.all()
    assert torch.allclose(weights.sum(1), torch.ones(12))
    assert torch.allclose(weights[:, 0], torch.where(alone, 1.0, 0.7))


def test_before_the_hold_ends_it_is_the_plain_contrast():
    side = lists_of(12)
    config = MiningConfig(rule="consensus", source="table", hold_steps=5)
    miner = TableMiner(config, Neighbours(side, side, "", {}))
    live = torch.ones(12, dtype=torch.bool)
    assert miner.captions(torch.arange(12), live, 4, None).ab is None
    assert miner.captions(torch.arange(12), live, 5, None).ab is not None


def loss_of(module, batch, step=10):
    return module.loss(batch, step)


def table_of_batch(module, batch):
    """What online mining finds in the batch, as a table of a set that is the batch."""
    with torch.no_grad():
        encoded = module.encode(batch)
    from mien.systems.emocapclip.model import unit
    from mien_kernels import Tags

    found = mine(
        encoded.image, unit(encoded.global_ + encoded.summary), rule=module.levels.mining.rule, k=4, ignore=8,
        threshold=0.5, ignore_threshold=0.5, tags=Tags.any(batch["uid"], batch["grp"]),
        valid=batch["valid"] & (batch["has_g"] | batch["has_s"]),
    )  # fmt: skip
    sides = [Side(*(part.numpy() for part in lists)) for lists in (found.ab, found.ba)]
    return Neighbours(sides[0], sides[0] if found.ab is found.ba else sides[1], "", {})


@pytest.mark.parametrize("rule", ["consensus", "swap"])
def test_a_table_of_the_batch_gives_the_loss_of_online_mining(rule):
    batch = batch_of(9)
    online = module_of(rule=rule)
    mining = online.levels.mining.model_copy(update={"source": "table"})
    module = module_of(mining=mining)
    module.take_neighbours(table_of_batch(online, batch))
    expected, logs = loss_of(online, batch)
    got, found = loss_of(module, batch)
    assert float(logs["mined"]) > 0
    assert got.item() == pytest.approx(expected.item(), rel=1e-6)
    assert float(found["mined"]) == float(logs["mined"])
    plain = loss_of(module_of(rule=None), batch)[0]
    assert abs(got.item() - plain.item()) > 1e-4


def test_no_positives_where_indices_are_of_another_set():
    """In validation `index` counts another set: the table says nothing there."""
    batch = batch_of(9)
    online = module_of(rule="consensus")
    module = module_of(mining=online.levels.mining.model_copy(update={"source": "table"}))
    module.take_neighbours(table_of_batch(online, batch))
    plain = module_of(rule=None)
    module.objective.miner.local_stats.fill_(float("nan"))
    levels = module.eval().loss(batch, 10)[1]
    assert torch.equal(levels["loss_global"], plain.eval().loss(batch, 10)[1]["loss_global"])
    assert not torch.equal(module.train().loss(batch, 10)[1]["loss_global"], levels["loss_global"])


def test_a_recipe_without_its_table_is_refused():
    mining, train = MiningConfig(rule="consensus", source="table"), TrainConfig(shards="set")
    with pytest.raises(RunError, match=r"data\.train\.neighbours: objective\.mining\.source is table"):
        check_neighbours(train, mining)
    check_neighbours(train, mining.model_copy(update={"every": 1}))
    check_neighbours(train, mining.model_copy(update={"rule": None}))
    check_neighbours(train.model_copy(update={"neighbours": "table"}), mining)


def test_no_source_table_leaves_the_state_and_the_loss_alone():
    one, other = module_of(rule="consensus"), module_of(rule="consensus")
    batch = batch_of(9)
    other.take_neighbours(table_of_batch(one, batch))
    assert torch.equal(one.loss(batch, 10)[0], other.loss(batch, 10)[0])
    table = module_of(mining=one.levels.mining.model_copy(update={"source": "table"}))
    table.take_neighbours(table_of_batch(one, batch))
    assert table.state_dict().keys() == one.state_dict().keys()


def test_the_table_of_a_set_is_what_mine_finds_in_it():
    rng = torch.Generator().manual_seed(0)
    rows = [torch.nn.functional.normalize(torch.randn(40, 6, generator=rng), dim=1) for _ in range(2)]
    ids = torch.arange(40)
    valid = ids % 7 != 3
    config = MiningConfig(rule="swap", k=3, threshold=0.3, ignore=2, ignore_threshold=0.3)
    table = mine_embedded(
        Embedded(*rows, valid, ids, torch.div(ids, 4, rounding_mode="floor")), config, "s", {"run": "r"}
    )
    assert table.facts["rule"] == "swap"
    assert table.facts["run"] == "r"
    assert table.ab is not table.ba
    similarity = {"ab": rows[1] @ rows[1].T, "ba": rows[0] @ rows[0].T}
    for name, s in similarity.items():
        pairs = valid[:, None] & valid[None] & ~torch.eye(40, dtype=torch.bool)
        z = (s - s[pairs].mean()) / s[pairs].std(correction=0)
        allowed = pairs & (ids[:, None] // 4 != ids[None] // 4) & (z >= 0.3)
        for row in range(40):
            best = z[row].masked_fill(~allowed[row], -torch.inf).topk(3)
            expected = [int(i) for v, i in zip(*best) if v > -torch.inf]
            assert [i for i in getattr(table, name).indices[row].tolist() if i >= 0] == expected
