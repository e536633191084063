"""A plan against a real card: FLOPs by torch's counter, memory by CUDA's allocator."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mien import recipe as recipes
from mien import systems
from mien.plan.measure import planned

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize(("name", "micro"), [("emocapclip/base", 64), ("emocapclip/vitl14", 32)])
def test_plan_agrees_with_a_step_on_the_card(name, micro, checkpointing):
    recipe = recipes.load(name)
    system = systems.get(recipe.system)
    assert system.planned is not None
    step = system.planned(recipe, checkpointing)
    module = system.build(step.recipe).cuda()
    batch = {key: value.cuda() for key, value in step.batch(micro).items()}

    def run():
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss, _ = module.loss(batch, recipe.engine.max_steps - 1)
        loss.backward()

    with FlopCounterMode(display=False) as counter:  # not while memory is watched: it keeps activations alive
        run()  # libraries take their workspaces here, too
    module.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    beside = torch.cuda.memory_allocated() - sum(p.nbytes for p in module.parameters())
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - beside
    plan = planned(recipe, micro, checkpointing)
    assert plan.flops == pytest.approx(counter.get_total_flops(), rel=0.01)
    assert plan.peak == pytest.approx(peak, rel=0.1)
