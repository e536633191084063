"""`make bench-gpu`: plans against a step on the card at hand: FLOPs, memory, milliseconds, MFU."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from mien import recipe as recipes
from mien import systems
from mien.errors import MienError
from mien.plan.assume import Assumptions
from mien.plan.count import quietly
from mien.plan.gpus import Gpu, gpu_of
from mien.plan.measure import counted
from mien.plan.speed import roofline

Case = tuple[str, int, bool]
CASES: tuple[Case, ...] = (
    ("emocapclip/base", 128, False),
    ("emocapclip/base", 384, False),
    ("emocapclip/base", 1024, True),
    ("emocapclip/vitl14", 32, False),
    ("emocapclip/vitl14", 128, False),
    ("emocapclip/vitl14", 512, True),
)
"""Recipe, micro batch, whether activations are recomputed."""

OVERRIDES = ("model.weights=null",)
"""Time and memory do not depend on the weights."""


@dataclass(frozen=True)
class Row:
    """Forward and backward of one micro batch: planned, or measured. Bytes are beside the batch."""

    flops: float
    peak: float
    seconds: float


def planned(name: str, micro: int, checkpointing: bool, gpu: Gpu) -> Row:
    """What a plan says of a recipe, from shapes."""
    figures, halves = counted(recipes.load(name, OVERRIDES), micro, checkpointing)
    parts = [part for half in halves for part in (half.forward, half.backward)]
    return Row(figures.flops, figures.peak, sum(roofline(part, gpu, Assumptions()) for part in parts))


def measured(name: str, micro: int, checkpointing: bool, repeats: int = 7) -> Row:
    """The same of a real step on the current CUDA device; seconds are the median of `repeats`."""
    recipe = recipes.load(name, OVERRIDES)
    system = systems.get(recipe.system)
    assert system.planned is not None
    step = system.planned(recipe, checkpointing)
    with quietly(), torch.device("cuda"):  # random weights of a large tower take long on a CPU
        module = system.build(step.recipe)
    module.cuda()
    batch = {key: value.cuda() for key, value in step.batch(micro).items()}

    def run() -> None:
        module.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=recipe.engine.precision == "bf16"):
            loss, _ = module.loss(batch, recipe.engine.max_steps - 1)
        loss.backward()

    with FlopCounterMode(display=False) as counter:
        run()
    module.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    beside = torch.cuda.memory_allocated() - sum(p.nbytes for p in module.parameters())
    torch.cuda.reset_peak_memory_stats()
    seconds = statistics.median(_timed(run) for _ in range(repeats))
    peak = torch.cuda.max_memory_allocated() - beside
    return Row(counter.get_total_flops(), peak, seconds)


def _timed(run: Callable[[], None]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3


def plans(gpu: Gpu, cases: Sequence[Case] = CASES) -> list[tuple[Row, Row]]:
    """What is planned for each case, and for it with activations kept; side by side, for each takes 10 s."""
    start = partial(torch.set_num_threads, 1)
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=start) as pool:
        ahead = [pool.submit(planned, *case, gpu) for case in cases]
        kept = [pool.submit(planned, name, micro, False, gpu) for name, micro, _ in cases]
        return [(one.result(), other.result()) for one, other in zip(ahead, kept, strict=True)]


def table(gpu: Gpu, made: Sequence[tuple[Row, Row]], cases: Sequence[Case] = CASES) -> Table:
    """A line a case: plan / measured, and how far the plan is off. `made`: by `plans`."""
    title = f"plan of {gpu.name} / measured on {torch.cuda.get_device_name()}, torch {torch.__version__}"
    result = Table(title=title, title_justify="left", box=box.MARKDOWN)
    result.add_column("recipe")
    heads = ("micro", "activations", "TFLOP", "off", "peak GB", "off", "ms", "off", "samples/s", "MFU")
    for head in heads:
        result.add_column(head, justify="right")
    for (name, micro, checkpointing), (plan, needed) in zip(cases, made, strict=True):
        real = measured(name, micro, checkpointing)
        cells = [name, str(micro), "recomputed" if checkpointing else "kept"]
        for part, unit in (("flops", 1e12), ("peak", 1e9), ("seconds", 1e-3)):
            said, seen = getattr(plan, part), getattr(real, part)
            cells += [f"{said / unit:,.2f} / {seen / unit:,.2f}", f"{said / seen - 1:+.1%}"]
        cells += [f"{micro / real.seconds:,.0f}", f"{needed.flops / real.seconds / gpu.bf16:.2f}"]
        result.add_row(*cells)
        torch.cuda.empty_cache()
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the table if asked to."""
    parser = argparse.ArgumentParser(prog="python -m mien.plan.bench_gpu", description=__doc__)
    parser.add_argument("--gpu", default=None, help="name of the plan's GPU; by default that of the card")
    parser.add_argument("--out", type=Path, default=None, help="file for the table")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        fix = "run it on a machine with a GPU; `mien plan` needs none"
        print(MienError("no CUDA device", where="bench-gpu", fix=fix), file=sys.stderr)
        raise SystemExit(2)
    console = Console(width=170, record=True)
    gpu = gpu_of(options.gpu or _short(torch.cuda.get_device_name()))
    console.print(table(gpu, plans(gpu)))
    if options.out is not None:
        options.out.write_text(console.export_text(), encoding="utf-8")


def _short(card: str) -> str:
    """`h100` of "NVIDIA H100 80GB HBM3"; a MienError says which names there are otherwise."""
    words = card.lower().split()
    for word in words[1:]:
        try:
            return gpu_of(word).name
        except MienError:
            continue
    return gpu_of(card.lower()).name


if __name__ == "__main__":
    main()
