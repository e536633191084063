"""Each formula of a plan against numbers computed by hand, and what must hold for all numbers."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mien.engine.meters import PEAK_FLOPS
from mien.errors import MienError
from mien.plan.assume import Assumptions
from mien.plan.cost import cost_of
from mien.plan.curve import between, knots
from mien.plan.gpus import GPUS, Gpu, gpu_of
from mien.plan.layouts import candidates
from mien.plan.memory import STRATEGIES, Activity, Layout, Weights, activity, host_bytes, memory
from mien.plan.scaling import whole_nodes
from mien.plan.speed import Compute, hidden_behind, roofline, step_of
from mien.plan.trace import Kernel, Sent
from mien.plan.wire import Traffic, Volume, features, seconds, shared, strategy_traffic, volume

PLAIN = Assumptions(
    efficiency=0.5, memory_efficiency=0.5, network_efficiency=0.5, launch_s=1e-6, latency_node_s=0.0,
    latency_network_s=0.0, context=10.0, communicator=5.0, fragmentation=0.0,
)  # fmt: skip
TOY = Gpu("toy", bf16=1000.0, fp32=100.0, memory=1e4, bandwidth=200.0, link=10.0, nic=2.0)
NOTHING = Activity(0.0, 0.0, 0.0, 0.0, 0.0)
HUNDRED = Weights(parameters=100, trained=100, block=10, rest=20, buffers=0)


def layout(strategy="ddp", world=4, **keys):
    usual = {"micro": 8, "accumulate": 1, "checkpointing": False, "per_node": 8, "offload": False}
    return Layout(strategy=strategy, world=world, **usual | keys)


# ------------------------------------------------------------------ wire


def test_shares_of_one_node_and_of_several():
    assert shared(800.0, 8, 8) == Traffic(700.0, 0.0, 1)
    assert shared(800.0, 1, 8) == Traffic()
    two_nodes = shared(800.0, 16, 8, times=2)
    assert two_nodes == Traffic(1400.0, 2 * 100.0 / 2, 2)


@given(nodes=st.integers(1, 64), per_node=st.integers(1, 16), size=st.floats(1, 1e12))
def test_two_levels_send_what_a_ring_sends(nodes, per_node, size):
    world = nodes * per_node
    assert shared(size, world, per_node).total == pytest.approx(size * (world - 1) / world)


@given(world=st.sampled_from([1, 2, 4, 8, 16, 64]), strategy=st.sampled_from(STRATEGIES))
def test_bytes_grow_with_the_ranks(world, strategy):
    moved = volume(strategy, 1000, 4, 2, 2)
    assert strategy_traffic(moved, world, 8).total < strategy_traffic(moved, 2 * world, 8).total


def test_volumes_by_strategy():
    expected = {
        "ddp": Volume(400.0, 2),  # all-reduce in float32
        "zero1": Volume(200.0, 1, updated=200.0),
        "zero2": Volume(200.0, 3, updated=200.0),  # a reduce-scatter each micro batch
        "zero3": Volume(200.0, 3, 200.0, 6),
        "fsdp2": Volume(400.0, 3, 200.0, 6),
    }
    assert {name: volume(name, 100, 4, 2, 3) for name in STRATEGIES} == expected


def test_embeddings_on_the_wire():
    sent = [Sent("all_gather", 80), Sent("reduce_scatter", 80), Sent("all_reduce", 8)]
    assert features(sent, 8, 8) == Traffic(70.0 + 70.0 + 14.0, 0.0, 4)
    assert features([Sent("ring", 99)], 16, 8) == Traffic(0.0, 99.0, 15)
    assert features([Sent("ring", 99)], 8, 8) == Traffic(99.0, 0.0, 7)


def test_seconds_of_traffic():
    assert seconds(Traffic(10.0, 2.0, 0), TOY, 16, 8, PLAIN) == pytest.approx((1.0 + 1.0) / 0.5)
    slow = replace(PLAIN, latency_node_s=1.0, latency_network_s=0.5)
    assert seconds(Traffic(0.0, 0.0, 3), TOY, 32, 8, slow) == pytest.approx(3 * (1.0 + 0.5 * 2))


# ------------------------------------------------------------------ memory


def static(strategy, **keys):
    made = memory(layout(strategy, **keys), HUNDRED, NOTHING, 0.0, PLAIN)
    return {name: getattr(made, name) for name in ("weights", "copies", "gradients", "optimizer", "buckets")}


def test_weights_gradients_and_moments_of_four_ranks():
    row = lambda *values: dict(zip(("weights", "copies", "gradients", "optimizer", "buckets"), values))  # noqa: E731
    assert static("ddp") == row(400, 0, 400, 800, 0)
    assert static("zero1") == row(200, 0, 200, (800 + 400) / 4, 200)
    assert static("zero2") == row(200, 0, 50, 300, 200)
    assert static("zero3") == row(50, 2 * (20 + 2 * 10), 50, 300, 200)
    assert static("fsdp2") == row(100, 80, 100, 200, 4 * 20)


def test_moments_of_other_optimisers_are_smaller():
    made = [memory(layout(world=1), HUNDRED, NOTHING, 0.0, PLAIN, moments=size) for size in (None, 2.25, 4.0)]
    assert [one.optimizer for one in made] == [800, 225, 400]
    assert made[0].total - made[1].total == 800 - 225


def test_offloading_moves_moments_to_the_host():
    both = (layout("zero2", offload=offload) for offload in (True, False))
    with_it, without = (memory(one, HUNDRED, NOTHING, 0.0, PLAIN) for one in both)
    assert without.total - with_it.total == 300
    assert host_bytes(layout("zero2", offload=True), HUNDRED) == 1200
    assert (
        host_bytes(layout("zero2", world=16, offload=True), HUNDRED) == 600
    )  # eight of sixteen ranks a node
    assert host_bytes(layout("ddp"), HUNDRED) == 0


def test_average_batch_and_context():
    made = memory(layout("fsdp2"), replace(HUNDRED, buffers=7), NOTHING, 50.0, PLAIN, ema=True)
    assert (made.ema, made.batch, made.context) == (100.0, 107.0, 15.0)
    assert made.tensors == made.total - 15.0
    assert memory(layout("ddp", world=1), HUNDRED, NOTHING, 0.0, PLAIN).context == 10.0


def test_gradients_of_one_process_come_while_activations_go():
    used = Activity(held=900.0, copies=0.0, objective=0.0, temporary=100.0, grown=1150.0)
    assert memory(layout(world=1), HUNDRED, used, 0.0, PLAIN).gradients == 150.0
    assert memory(layout(world=2), HUNDRED, used, 0.0, PLAIN).gradients == 400.0
    assert memory(layout(world=1, accumulate=2), HUNDRED, used, 0.0, PLAIN).gradients == 400.0


HALF = dict.fromkeys(("forward_peak", "held", "copies", "backward_peak", "backward_peak_with_gradients"), 0.0)


def test_peak_of_the_networks_and_peak_of_the_loss():
    encode = HALF | {"forward_peak": 120.0, "held": 100.0, "copies": 30.0, "backward_peak": 150.0,
                     "backward_peak_with_gradients": 180.0}  # fmt: skip
    small, large = HALF | {"backward_peak": 10.0}, HALF | {"backward_peak": 90.0}
    assert activity(encode, small) == Activity(70.0, 30.0, 0.0, 50.0, 180.0)
    assert activity(encode, large) == Activity(70.0, 30.0, 90.0, 0.0, 190.0)
    assert activity(encode, large).peak == 190.0


@given(
    world=st.sampled_from([2, 4, 8, 64, 512]),
    blocks=st.integers(8, 60),
    block=st.integers(1, 50_000_000),
    held=st.floats(0, 1e12),
    ema=st.booleans(),
)
def test_each_stage_needs_no_more_than_the_one_before(world, blocks, block, held, ema):
    weights = Weights(blocks * block, blocks * block, block, 0, 0)
    used = Activity(held, 2.0 * blocks * block, 0.0, 0.0, held)
    needs = [
        memory(layout(name, world), weights, used, 0.0, PLAIN, ema=ema).total
        for name in ("ddp", "zero1", "zero2", "zero3")
    ]
    assert needs == sorted(needs, reverse=True)
    sharded = memory(layout("fsdp2", world), weights, used, 0.0, PLAIN, ema=ema).total
    assert sharded <= needs[0]


@given(world=st.sampled_from([2, 4, 8, 64]), strategy=st.sampled_from(STRATEGIES))
def test_more_ranks_never_need_more_each(world, strategy):
    one, two = (memory(layout(strategy, n), HUNDRED, NOTHING, 0.0, PLAIN).total for n in (world, 2 * world))
    assert two <= one


def test_blocks_are_the_members_of_outermost_lists():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            inner = torch.nn.ModuleList([torch.nn.Linear(2, 2, bias=False) for _ in range(3)])
            self.blocks = torch.nn.ModuleList([torch.nn.ModuleDict({"inner": inner}), torch.nn.Linear(4, 5)])
            self.head = torch.nn.Linear(7, 1)
            self.head.bias.requires_grad_(False)

    assert Weights.of(Net()) == Weights(12 + 25 + 8, 12 + 25 + 7, 25, 8, 0)


# ------------------------------------------------------------------ time


def test_roofline_takes_the_slowest_of_products_bytes_and_start():
    def one(flops, size, dtype):
        return roofline(Counter({Kernel(flops, size, dtype): 2}), TOY, PLAIN)

    assert one(1000, 1, torch.bfloat16) == pytest.approx(2 * 1000 / 500)
    assert one(1000, 1, torch.float32) == pytest.approx(2 * 1000 / 50)
    assert one(0, 300, torch.float32) == pytest.approx(2 * 300 / 100)
    assert one(0, 0, None) == pytest.approx(2e-6)


def test_traffic_hides_behind_work():
    here = layout(world=8)  # 800 bytes twice: 1,400 bytes at 5 bytes/s
    assert hidden_behind(0.0, 800.0, 2, here, TOY, PLAIN) == pytest.approx(280.0)
    assert hidden_behind(100.0, 800.0, 2, here, TOY, PLAIN) == pytest.approx(280.0 - 80.0)
    assert hidden_behind(1e6, 800.0, 2, here, TOY, PLAIN) == pytest.approx(280.0 / 16)
    assert hidden_behind(0.0, 800.0, 2, layout(world=1), TOY, PLAIN) == 0.0


def test_step_by_part():
    compute = Compute(1.0, 2.0, 0.5)
    step = step_of(
        layout("ddp", 1, accumulate=3), HUNDRED, compute, volume("ddp", 100, 4, 2, 3), Traffic(), TOY,
        replace(PLAIN, loader=1.0), ema=True, workers=2,
    )  # fmt: skip
    assert (step.forward, step.backward, step.objective) == (3.0, 6.0, 1.5)
    assert step.optimizer == pytest.approx(100 * 52 / 100)
    assert step.data == pytest.approx(3 * 8 / 2 - 10.5)
    assert step.exposed == 0
    assert step.total == pytest.approx(10.5 + 52 + 1.5)


def test_offloaded_adam_runs_on_the_hosts():
    slow = replace(PLAIN, host_link=100.0, host_adam=10.0, loader=1e9)
    step = step_of(
        layout("zero2", 4, offload=True), HUNDRED, Compute(1.0, 2.0, 0.0), volume("zero2", 100, 4, 2, 1),
        Traffic(), TOY, slow,
    )  # fmt: skip
    assert step.offload == pytest.approx(4 * 25 / 100 + 100 / 10)
    assert step.optimizer == 0


def test_cost_of_a_run():
    rates = replace(PLAIN, host_link=10.0, storage=4.0, gpu_hours_between_failures=100.0, restart_s=190.0)
    cost = cost_of(2.0, steps=1000, every=10, state=80.0, world=4, shards=4, assume=rates)
    assert cost.checkpoint_s == pytest.approx(2.0)  # 80 bytes by four ranks at 10 bytes/s
    assert (cost.write_s, cost.interval_s) == (20.0, 20.0)
    share = 4 / 360_000 * (190 + 11)
    assert cost.goodput == pytest.approx(20 / 22 / (1 + share))
    assert cost.hours == pytest.approx(2000 / cost.goodput / 3600)
    assert cost.gpu_hours == pytest.approx(4 * cost.hours)
    assert cost.failures == pytest.approx(cost.gpu_hours / 100)
    assert cost.lost == pytest.approx(share / (1 + share))


def test_checkpoints_that_take_longer_than_the_time_between_them_hold_up():
    rates = replace(PLAIN, host_link=1e9, storage=1.0)
    assert cost_of(1.0, 100, 10, 30.0, 1, 1, rates).checkpoint_s == pytest.approx(20.0)


@given(world=st.integers(1, 4096), step=st.floats(1e-3, 100))
def test_goodput_is_a_share_and_falls_with_the_gpus(world, step):
    one, two = (cost_of(step, 1000, 100, 1e9, n, 1, Assumptions()) for n in (world, 2 * world))
    assert 0 < two.goodput <= one.goodput <= 1
    assert two.gpu_hours > one.gpu_hours


# ------------------------------------------------------------------ lines, layouts, GPUs


def test_lines_between_and_beyond():
    values = {8: 10.0, 32: 34.0, 128: 34.0}
    assert [between(values, x) for x in (8, 20, 32, 80, 128, 500, 4)] == [10, 22, 34, 34, 34, 34, 6]
    assert between({8: 3.0}, 99) == 3.0
    assert between({1: 1.0, 2: 2.0}, 2) == 2.0


def test_counted_micro_batches():
    assert knots(1024) == (1, 8, 32, 128)
    assert knots(16) == (1, 8, 16)
    assert knots(1) == (1,)


@given(
    batch=st.integers(1, 4096), accumulate=st.sampled_from([1, 2, 3]), world=st.sampled_from([1, 2, 8, 24])
)
def test_every_layout_makes_the_global_batch(batch, accumulate, world):
    found = list(candidates(batch, accumulate, world, 8))
    assert bool(found) == (batch % (world * accumulate) == 0)
    for one in found:
        assert one.micro * one.accumulate * world == batch
        assert one.micro >= 1
        assert math.log2(one.accumulate / accumulate).is_integer()
    assert len(set(found)) == len(found)


def test_one_gpu_has_ddp_and_what_offloads():
    names = {one.name for one in candidates(8, 1, 1, 8)}
    assert names == {"ddp", "zero1-offload", "zero2-offload", "zero3-offload"}


def test_numbers_of_gpus_are_parts_of_a_node_or_whole_nodes():
    assert whole_nodes((1, 8, 64, 512, 4096), 8) == (1, 8, 64, 512, 4096)
    assert whole_nodes((1, 8, 64), 6) == (1, 6, 66)


def test_peaks_are_those_that_the_engine_knows():
    for part, peak in PEAK_FLOPS.items():
        named = [gpu for gpu in GPUS.values() if gpu.name == part.lower() or gpu.name == f"{part.lower()}-80"]
        assert all(gpu.bf16 == pytest.approx(peak, rel=1e-3) for gpu in named)


def test_an_unknown_gpu_gets_the_nearest_name():
    with pytest.raises(MienError, match="did you mean 'h100'"):
        gpu_of("H100")
