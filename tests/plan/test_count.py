"""Steps counted on shapes against steps that ran, and what the recorder and the fake ranks see."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils.flop_counter import FlopCounterMode

from mien import recipe as recipes
from mien import systems
from mien.errors import RunError
from mien.plan.count import Model, autocast, record
from mien.plan.curve import between, knots
from mien.plan.fake import RealIntegers, new_fake_mode, ranks
from mien.plan.measure import measured, planned
from mien.plan.trace import FORMULAS, Recorder
from plan.plan_recipes import small

B32 = ("model.image_size=64", "engine.precision=32")
"""ViT-B/32 with four patches an image: real networks, small enough to run in a test."""


def close(plan, real):
    """Within 1 % for FLOPs and 10 % for memory, on one thread: operators' scratch grows with the threads."""
    assert plan.flops == pytest.approx(real.flops, rel=0.01)
    assert plan.held == pytest.approx(real.held, rel=0.1)
    assert plan.tensors == pytest.approx(real.tensors, rel=0.02)
    assert plan.peak == pytest.approx(real.peak, rel=0.1)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_plan_agrees_with_a_real_step_of_the_tiny_recipe(checkpointing):
    recipe = recipes.load("emocapclip/tiny")
    close(planned(recipe, 8, checkpointing), measured(recipe, 8, checkpointing))


@pytest.mark.parametrize("branch", ["none", "cls", "attn", "region"])
@pytest.mark.parametrize("rule", ["null", "swap"])
def test_plan_agrees_for_every_branch(branch, rule):
    recipe = small(f"objective.local.branch={branch}", f"objective.mining.rule={rule}")
    close(planned(recipe, 8, False), measured(recipe, 8, False))


def test_plan_agrees_in_mixed_precision():
    recipe = recipes.load("emocapclip/tiny", ["engine.precision=bf16"])
    close(planned(recipe, 8, False), measured(recipe, 8, False))


def test_plan_agrees_with_a_real_step_of_vit_b32():
    recipe = recipes.load("emocapclip/base", B32)
    close(planned(recipe, 2, False), measured(recipe, 2, False))


def test_single_operators_add_up_to_what_torchs_counter_counts():
    model = Model(small("engine.precision=bf16"), False)
    batch = model._batch(4)
    with model._on_shapes(), FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        half = record(
            model.module, lambda: model.planned.encode(model.module, batch), lambda: autocast(model.recipe)
        )
    assert half.flops == counter.get_total_flops() > 0


def test_lines_meet_a_count_of_another_micro_batch():
    model = Model(small(), False)
    halves = {micro: model.encode(micro) for micro in knots(64)}
    for micro in (4, 16, 48):
        direct = model.encode(micro)
        lines = {
            part: between({m: getattr(half, part) for m, half in halves.items()}, micro)
            for part in ("flops", "held", "backward_peak")
        }
        assert lines["flops"] == pytest.approx(direct.flops)
        assert lines["held"] == pytest.approx(direct.held, rel=0.01)
        # the highest of several lines: between two counted ones it can only lie below
        assert 0.99 * direct.backward_peak <= lines["backward_peak"] <= 1.1 * direct.backward_peak


def test_recomputing_holds_less_and_computes_more():
    kept, recomputed = (Model(small(), checkpointing).encode(16) for checkpointing in (False, True))
    assert recomputed.held < kept.held
    assert recomputed.flops > kept.flops


def test_the_loss_on_more_ranks_gathers_more_and_sends_more():
    model = Model(small(), False)
    one, two, four = (model.objective(8, world) for world in (1, 2, 4))
    assert not one.sent
    gathered = [sum(s.bytes for s in half.sent if s.kind == "all_gather") for half in (two, four)]
    assert gathered[1] == 2 * gathered[0]
    assert one.forward_peak < two.forward_peak < four.forward_peak
    assert one.flops < two.flops < four.flops
    assert {sent.kind for sent in two.sent} == {"all_gather", "reduce_scatter"}
    assert not dist.is_initialized()


def test_embeddings_are_gathered_once_a_level_and_scattered_once():
    """Global, summary and local level: image and text of a level travel together, D = 16, float32."""
    half = Model(small("objective.mining.rule=null"), False).objective(8, 4)
    scattered = sorted(sent.bytes for sent in half.sent if sent.kind == "reduce_scatter")
    rows = 8 * 4
    assert scattered == [rows * 2 * 16 * 4, rows * 2 * 16 * 4, 3 * rows * 2 * 16 * 4]


def test_a_ring_sends_shards_and_computes_as_much():
    gather = Model(small("objective.backend=chunked"), False).objective(8, 4)
    ring = Model(small("objective.exchange=ring"), False).objective(8, 4)
    assert "ring" in {sent.kind for sent in ring.sent}
    # both directions of the gathered loss compute their own logits, the ring computes them once
    assert ring.flops < gather.flops
    assert ring.flops > 0.4 * gather.flops


def test_the_recorder_follows_storages_of_real_tensors():
    weight = torch.ones(8, 8, requires_grad=True)
    with Recorder([weight]) as recorder:
        a = weight @ weight  # 256 bytes; kept by the next product
        b = a * 2  # 256 bytes
        recorder.mark()
        del a
        recorder.mark()
        c = b.view(64)
        del b
        recorder.mark()
        del c
        recorder.mark()
    trace = recorder.trace
    assert [trace.live(at) for at in trace.marks] == [512, 256, 256, 0]
    assert trace.peak(0, trace.marks[-1]) == 512
    assert trace.flops == 2 * 8**3
    assert trace.launches == 2


def test_integers_stay_real_and_floats_do_not():
    fake = new_fake_mode()
    with fake:
        floats = torch.empty(4, 3)
    mask = torch.tensor([True, False, True, True])
    with fake, RealIntegers(fake):
        count = int(mask.sum())
        chosen = floats[mask]
        spread = floats.new_zeros(4, 3).index_put((mask,), chosen)
        where = torch.arange(4)[mask]
        none = (floats > 0).nonzero()
    assert count == 3
    assert isinstance(chosen, FakeTensor)
    assert chosen.shape == (3, 3)
    assert spread.shape == (4, 3)
    assert where.tolist() == [0, 2, 3]
    assert none.shape == (0, 2)


def test_ranks_leave_no_group_behind():
    with ranks(1):
        assert not dist.is_initialized()
    with ranks(8):
        assert dist.get_world_size() == 8
    assert not dist.is_initialized()


def test_a_system_without_a_batch_cannot_be_planned(monkeypatch):
    bare = replace(systems.get("emocapclip"), planned=None)
    monkeypatch.setitem(systems.SYSTEMS, "emocapclip", bare)
    with pytest.raises(RunError, match="no batch to plan with"):
        Model(small(), False)
