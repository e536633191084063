"""`make bench-editing`: a training step and twenty edits of one photo, against the editor as published.

Both have the same modules and weights, take turns, and run on the device at hand. Medians of several.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mien.plan.measure import allocated
from mien.systems.editing.config import ConditionConfig, UNetConfig
from mien.systems.editing.model import Editor
from mien.systems.editing.noise import Guidance, NoiseConfig, guided
from mien.systems.editing.published import PublishedEditor
from mien.systems.editing.sampler import SAMPLERS, SampleConfig, sample

MIDDLE = UNetConfig(channels=(64, 128, 192, 192), groups=16, heads=4, prompt_width=96)
"""A fifth of Stable Diffusion's width; with latents of 32 x 32, attention has its share of the work."""

CONDITION = ConditionConfig(width=12)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m mien.systems.editing.bench", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--side", type=int, default=32, help="of a latent; 64 is 512 pixels")
    parser.add_argument("--batch", type=int, default=2, help="pairs of a training step")
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2, help="of the sampler; the ratio hardly depends on it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--full", action="store_true", help="at the width of Stable Diffusion 1.5; needs a GPU"
    )
    options = parser.parse_args(arguments)
    unet = UNetConfig() if options.full else MIDDLE
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    with device:
        editor = Editor(unet, CONDITION, torch.zeros(1, 77, unet.prompt_width))
    naive = PublishedEditor(editor, unet)
    shape = (options.batch, unet.latent_channels, options.side, options.side)
    table = Table(title="this core / as published, same modules and weights", box=box.MARKDOWN)
    for head in ("", "ms", "ms as published", "ratio", "MB", "MB as published", "ratio"):
        table.add_column(head, justify="right" if head else "left")
    table.add_row("training step", *_training(editor, naive, shape, options.repeats))
    table.add_row(
        f"{options.edits} edits of a photo, {options.steps} steps, guided",
        *_edits(editor.eval(), naive.eval(), shape, options),
    )
    Console(width=150).print(table)


def _training(editor: Editor, naive: PublishedEditor, shape: Sequence[int], repeats: int) -> list[str]:
    photo, noisy = torch.randn(shape), torch.randn(shape)
    photo, noisy = (x.to(editor.prompt.device) for x in (photo, noisy))
    step = torch.full((shape[0],), 500, device=noisy.device)
    vector = torch.randn(shape[0], CONDITION.width, device=noisy.device)

    def ours() -> Tensor:
        return editor.noise(noisy, photo, step, vector, editor.features(photo)).square().mean()

    def theirs() -> Tensor:
        naive.features(photo)
        return naive.noise(noisy, photo, step, vector).square().mean()

    seconds = _turns([lambda: _step(ours, editor), lambda: _step(theirs, naive)], repeats)
    peaks = [_peak(call, module) for call, module in ((ours, editor), (theirs, naive))]
    return _cells(seconds, peaks)


def _step(loss: Callable[[], Tensor], module: torch.nn.Module) -> None:
    module.zero_grad(set_to_none=True)
    loss().backward()


def _edits(
    editor: Editor, naive: PublishedEditor, shape: Sequence[int], options: argparse.Namespace
) -> list[str]:
    device = editor.prompt.device
    photo = torch.randn(1, *shape[1:]).to(device)
    vectors = torch.randn(options.edits, CONDITION.width).to(device)
    config = SampleConfig(steps=options.steps, batch=options.edits)

    def ours() -> None:
        sample(editor, photo, photo, vectors, NoiseConfig(), config)

    seconds = _turns([ours, lambda: loop(naive, photo, vectors, options.steps)], options.repeats)
    return _cells(seconds, None)


@torch.inference_mode()
def loop(naive: PublishedEditor, photo: Tensor, vectors: Tensor, steps: int) -> Tensor:
    """Edits one after another, features computed anew at every step: a reference network without a cache."""
    made = []
    for vector in vectors:
        scheduler = SAMPLERS["unipc"](beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        scheduler.set_timesteps(steps, device=photo.device)
        latents = torch.randn(photo.shape, generator=torch.Generator().manual_seed(424)).to(photo)
        for step in scheduler.timesteps:
            naive.features(photo)

            def predict(one: Tensor, x: Tensor = latents, at: Tensor = step) -> Tensor:
                return naive.noise(x, photo, at, one)

            noise = guided(predict, vector[None], Guidance().scale)
            latents = scheduler.step(noise, step, latents).prev_sample
        made.append(latents)
    return torch.cat(made)


def _turns(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each; they take turns, after one call that is not counted."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(repeats + 1):
        for place, call in enumerate(calls):
            start = _now()
            call()
            if number:
                times[place].append(_now() - start)
    return [statistics.median(some) for some in times]


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak(loss: Callable[[], Tensor], module: torch.nn.Module) -> int:
    """Bytes at most during forward and backward, beside weights."""
    module.zero_grad(set_to_none=True)
    if not torch.cuda.is_available():
        return allocated(loss)[1]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    loss().backward()
    return torch.cuda.max_memory_allocated() - before


def _cells(seconds: Sequence[float], peaks: Sequence[int] | None) -> list[str]:
    ours, theirs = seconds
    cells = [f"{1e3 * ours:,.0f}", f"{1e3 * theirs:,.0f}", f"{ours / theirs:.2f}"]
    if peaks is not None:
        cells += [f"{peaks[0] / 1e6:,.0f}", f"{peaks[1] / 1e6:,.0f}", f"{peaks[0] / peaks[1]:.2f}"]
    return cells


if __name__ == "__main__":
    main()
