"""The recipes of paper scale: schedules agree with the specification, steps fit an 80 GB card."""

from __future__ import annotations

import functools
import math

import pytest

from mien import recipe as recipes
from mien.plan.assume import Assumptions
from mien.plan.count import Half, Model
from mien.plan.gpus import gpu_of
from mien.plan.layouts import evaluate
from mien.plan.memory import Layout, Weights
from mien.plan.workload import Workload

TOWERS = {
    "b32": ("ViT-B-32-quickgelu", 1e-5),
    "b16": ("ViT-B-16-quickgelu", 1e-5),
    "l14": ("ViT-L-14-quickgelu", 5e-6),
}
WIDTHS = {"b32": 512, "b16": 512, "l14": 768}
GPUS = (1, 8, 32)
ALL = [(tower, gpus) for tower in TOWERS for gpus in GPUS]
FACES, EPOCHS, SPEC_BATCH = 107_134, 15, 1024


def load(tower: str, gpus: int) -> recipes.Recipe:
    return recipes.load(f"emocapclip/paper/{tower}-{gpus}gpu")


@functools.cache
def counted(tower: str, checkpointing: bool) -> tuple[Model, dict[int, Half]]:
    """Networks of a tower on the meta device: at 128 samples; for 1,024 a line through 32 and 64."""
    model = Model(load(tower, 1 if checkpointing else 8), checkpointing)
    return model, {micro: model.encode(micro) for micro in ((32, 64) if checkpointing else (128,))}


@pytest.mark.parametrize(("tower", "gpus"), ALL)
def test_the_schedule_is_that_of_the_specification(tower, gpus):
    made = load(tower, gpus)
    engine, mining = made.engine, made.objective.mining
    name, rate = TOWERS[tower]
    epoch = FACES // engine.global_batch
    assert made.model.tower == name
    assert engine.precision == "bf16"
    assert abs(engine.max_steps - EPOCHS * FACES / engine.global_batch) <= EPOCHS
    assert engine.optimizer.lr == pytest.approx(rate * math.sqrt(engine.global_batch / SPEC_BATCH))
    assert 0.05 <= engine.schedule.warmup / engine.max_steps <= 0.1
    assert (mining.rule, mining.share) == ("consensus", 0.3)
    assert mining.hold_steps == mining.ramp_steps == 2 * epoch
    assert engine.val_every == engine.checkpoint_every == epoch
    assert SPEC_BATCH <= engine.global_batch <= 4096
    assert engine.global_batch % gpus == 0
    assert engine.accumulate == 1  # accumulated samples are no negatives of each other


def test_one_node_trains_as_one_gpu():
    """Only whether activations are recomputed differs, which changes no number."""
    for tower in TOWERS:
        one, node = (load(tower, gpus).dump() for gpus in (1, 8))
        assert (one["model"].pop("checkpointing"), node["model"].pop("checkpointing")) == (True, False)
        one.pop("name"), node.pop("name")
        assert one == node


@pytest.mark.parametrize(("tower", "gpus"), ALL)
def test_the_step_flows_and_fits_an_80_gb_card(tower, gpus):
    made = load(tower, gpus)
    model, halves = counted(tower, made.model.checkpointing)
    assert model._outputs[0][-1] == WIDTHS[tower]
    micro = made.engine.global_batch // gpus
    work = Workload(
        made, Weights.of(model.module), True, {made.model.checkpointing: halves}, model
    )  # fmt: skip
    work.encoded[False] = work.encoded.get(False, halves)  # FLOPs alone are read from it
    layout = Layout("ddp", micro, 1, made.model.checkpointing, gpus, min(gpus, 8))
    for gpu in ("h100", "a100-80"):
        found = evaluate(layout, work, gpu_of(gpu), Assumptions())
        assert found.fits, f"{found.memory.total / 2**30:.1f} GiB of {gpu_of(gpu).memory / 2**30:.1f}"
        assert found.negatives == made.engine.global_batch
        assert found.same_training


def test_keeping_activations_on_one_gpu_would_not_fit():
    """Else the recipe would pay for recomputation without need."""
    _, halves = counted("b32", False)
    assert 1024 / 128 * halves[128].held > gpu_of("h100").memory
