"""What the engine costs: its training step against a bare loop over the same towers, and against open_clip's.

    python -m mien.engine.bench [--pairs 20] [--threads 1] [--recipe emocapclip/tiny] [key=value ...]

Each step of the engine is followed by one of the rival, in the same process and with a stream of its own, so
that both meet the same weather. Streams are the real ones, over random pictures with real captions. With more
threads than idle cores the numbers say more about the neighbours than about the loops.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback
from open_clip.loss import ClipLoss
from PIL import Image
from torch.nn.utils import clip_grad_norm_

from mien import optim
from mien import recipe as recipes
from mien.data.reader import ShardSet
from mien.data.stream import Stream
from mien.data.writer import ShardWriter
from mien.engine import rng
from mien.engine.ema import Ema
from mien.engine.holdings import Replicated
from mien.engine.training import train
from mien.faces.captions import describe_label
from mien.recipe import Recipe
from mien.systems import get
from mien.systems.emocapclip.module import EmoCapModule

_WARM_UP = 3
_LABELS = ("happiness", "sadness", "anger", "fear", "surprise", "disgust", "neutral")
Loss = Callable[[EmoCapModule, dict[str, Any], int], torch.Tensor]


class Rival(Callback):
    """A loop as one writes it by hand; takes one step after each of the engine's.

    Args:
        recipe: the engine's, whose optimiser, schedule, bound of the gradient and average the rival has too.
        loss: (module, batch, step) -> loss.
    """

    def __init__(self, recipe: Recipe, loss: Loss) -> None:
        rng.seed(recipe.seed)
        self.engine = recipe.engine
        self.loss = loss
        self.module = EmoCapModule(recipe)
        self.optimizer = optim.adamw(self.module.param_groups(), recipe.engine.optimizer)
        self.schedule = optim.scheduler(self.optimizer, recipe.engine.max_steps, recipe.engine.schedule)
        self.holdings = Replicated(self.module, self.optimizer)
        self.average = Ema(self.holdings, recipe.engine.ema) if recipe.engine.ema else None
        self.batches = _batches(recipe)
        self.engine_s: list[float] = []
        self.rival_s: list[float] = []
        self._begun = 0.0

    def on_train_start(self, *args: Any) -> None:
        """The engine's first step begins."""
        self._begun = time.perf_counter()

    def on_train_batch_end(self, *args: Any) -> None:
        """The engine's step has ended: take one, and let the engine's next begin."""
        ended = time.perf_counter()
        self.step(len(self.rival_s))
        self.engine_s.append(ended - self._begun)
        self.rival_s.append(time.perf_counter() - ended)
        self._begun = time.perf_counter()

    def step(self, number: int) -> None:
        """Fetch, forward, backward, clip, step, clamp, average."""
        batch = next(self.batches)
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.module, batch, number).backward()
        if self.engine.clip is not None:
            clip_grad_norm_(self.module.parameters(), self.engine.clip)
        self.optimizer.step()
        self.schedule.step()
        self.holdings.clamp(self.module.bounds())
        if self.average is not None:
            self.average.update()


def same_loss(module: EmoCapModule, batch: dict[str, Any], step: int) -> torch.Tensor:
    """The system's own loss."""
    return module.loss(batch, step)[0]


def clip_loss(module: EmoCapModule, batch: dict[str, Any], step: int) -> torch.Tensor:
    """As open_clip trains: every sentence in its full 77 tokens, and its ClipLoss."""
    image, _ = module.model.see(batch["img"], patches=False)
    text = torch.nn.functional.normalize(module.model.text.text(batch["tok_g"]), dim=-1)
    return ClipLoss()(image, text, module.model.log_scale.exp())


def clip_loss_on_cropped(module: EmoCapModule, batch: dict[str, Any], step: int) -> torch.Tensor:
    """open_clip's ClipLoss, with sentences as short as they are: only the loss differs from ours."""
    image, _ = module.model.see(batch["img"], patches=False)
    return ClipLoss()(image, module.model.read(batch["tok_g"]), module.model.log_scale.exp())


def compare(recipe: Recipe, loss: Loss) -> tuple[list[float], list[float]]:
    """Seconds of each step after the warm-up, of the engine and of the rival."""
    rival = Rival(recipe, loss)
    try:
        train(recipe, callbacks=[rival])
    finally:
        rival.batches.close()
    return rival.engine_s[_WARM_UP:], rival.rival_s[_WARM_UP:]


def _batches(recipe: Recipe) -> Generator[dict[str, Any], None, None]:
    assert recipe.data.train is not None
    system = get(recipe.system)
    stream = Stream(
        ShardSet(recipe.data.train.parts[0].shards),
        system.transform(recipe, "train"),
        system.collate(recipe),
        seed=recipe.seed,
        global_batch=recipe.engine.global_batch,
        workers=recipe.data.workers,
        prefetch=recipe.data.prefetch,
    )
    try:
        yield from stream
    finally:
        stream.close()  # else its workers wait for requests, and the program for them


def write_set(out: Path, size: int, samples: int) -> None:
    """Random pictures of `size` pixels with captions of seven emotions."""
    draw = np.random.default_rng(0)
    with ShardWriter(out, "emocap/1") as writer:
        for uid in range(samples):
            label = _LABELS[uid % len(_LABELS)]
            caption = describe_label(label, draw)
            names = ("text", "region", "au", "intensity")
            record = {
                "uid": uid,
                "label": label,
                "group": str(uid % 32),
                "global": caption.global_,
                "summary": caption.summary,
                "locals": [{name: getattr(local, name) for name in names} for local in caption.locals],
            }
            picture = io.BytesIO()
            coarse = Image.fromarray(draw.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8))
            coarse.resize((size, size), Image.Resampling.BICUBIC).save(picture, "JPEG", quality=90)
            writer.write(f"{uid:06d}", {"jpg": picture.getvalue(), "json": json.dumps(record).encode()})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=20, help="steps of each that are measured")
    parser.add_argument("--recipe", default="emocapclip/tiny", help="recipe of EmoCapCLIP")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("overrides", nargs="*", help="key=value of the recipe")
    asked = parser.parse_args()
    global_only = ("objective.summary_weight=0", "objective.local.branch=none", "objective.mining.rule=null")
    cases: list[tuple[str, tuple[str, ...], Loss]] = [
        ("the recipe against a bare loop, same loss", (), same_loss),
        ("global level against open_clip's step, 77 tokens", global_only, clip_loss),
        ("global level against ClipLoss on cropped text", global_only, clip_loss_on_cropped),
    ]
    lines = [f"{'milliseconds a step':<50} {'engine':>8} {'rival':>8} {'ratio':>6} {'of means':>9}"]
    with tempfile.TemporaryDirectory() as folder:
        own = [
            f"run.root={folder}/runs", f"data.train.shards={folder}/set", "data.val=null",
            "tracking.wandb=off", f"engine.max_steps={_WARM_UP + asked.pairs}", "engine.schedule.warmup=1",
            "engine.checkpoint_every=1000000", f"engine.threads={asked.threads}", *asked.overrides,
        ]  # fmt: skip
        size = recipes.load(asked.recipe, own).model.image_size  # type: ignore[attr-defined]
        write_set(Path(folder) / "set", size, 512)
        for name, keys, loss in cases:
            engine, rival = compare(recipes.load(asked.recipe, [*own, *keys]), loss)
            medians = statistics.median(engine), statistics.median(rival)
            ratio, means = medians[0] / medians[1], math.fsum(engine) / math.fsum(rival)
            numbers = f"{1e3 * medians[0]:8.1f} {1e3 * medians[1]:8.1f} {ratio:6.3f} {means:9.3f}"
            lines.append(f"{name:<50} {numbers}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
