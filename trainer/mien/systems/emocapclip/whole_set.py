"""Mining over a whole set: embed it once, compare all pairs in blocks (spec section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mien.data.collate import place_rows
from mien.data.neighbours import Neighbours, Side
from mien.errors import RunError
from mien.systems.emocapclip.config import MiningConfig, ModelConfig, ObjectiveConfig
from mien.systems.emocapclip.model import EmoCapCLIP, unit
from mien_kernels import Lists, Tags, mine

if TYPE_CHECKING:
    from mien.data.reader import ShardSet
    from mien.recipe import Recipe

_BATCH = 64


@dataclass(frozen=True)
class Embedded:
    """A set as mining sees it, sample i at row i, on the CPU."""

    image: Tensor
    """v, unit rows float32 [N, D]."""
    text: Tensor
    """unit(g + s) of the levels that the recipe trains, float32 [N, D]."""
    valid: Tensor
    """bool [N]: not damaged, and with a caption of those levels."""
    uid: Tensor
    """int64 [N]."""
    grp: Tensor
    """int64 [N]: images that are never each other's positives; -1: none."""

    def __len__(self) -> int:
        return len(self.valid)

    def to(self, device: torch.device) -> Embedded:
        """The same elsewhere."""
        parts = (self.image, self.text, self.valid, self.uid, self.grp)
        return Embedded(*(part.to(device) for part in parts))


@torch.no_grad()
def rows_of(model: EmoCapCLIP, levels: ObjectiveConfig, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rows of `Embedded` that a batch makes, by the names of its fields.

    Args:
        model: in evaluation mode, on its device.
        levels: which captions count.
        batch: as `samples.Collate` makes it.
    """
    device = model.mean.device
    image = model.see(batch["img"].to(device), patches=False)[0].float().cpu()
    text, has = _read(model, levels, batch, device)
    ids = {name: batch[name].cpu() for name in ("uid", "grp")}
    return {"image": image, "text": text, "valid": has, **ids}


def embed(
    model: EmoCapCLIP, levels: ObjectiveConfig, batches: Iterable[dict[str, Tensor]], size: int
) -> Embedded:
    """Embeddings of a set of `size` samples.

    Args:
        model: in evaluation mode, on its device.
        levels: which captions count.
        batches: as `samples.Collate` makes them, with `index`; rows whose index is -1 are passed over.
        size: N.
    """
    whole: dict[str, Tensor] = {}
    for batch in batches:
        place_rows(whole, rows_of(model, levels, batch), batch["index"], size)
    if not whole:
        raise ValueError("no batches")
    return Embedded(**whole)


def mine_embedded(
    embedded: Embedded, config: MiningConfig, set_sha: str, facts: Mapping[str, Any], backend: str = "auto"
) -> Neighbours:
    """The table of a set.

    Args:
        embedded: the set.
        config: rule, numbers and thresholds.
        set_sha: of the set.
        facts: what else the table should say of its origin, plain JSON.
        backend: of `mien_kernels.mine`.
    """
    assert config.rule is not None
    found = mine(
        embedded.image, embedded.text, rule=config.rule, k=config.k, ignore=config.ignore,
        threshold=config.threshold, ignore_threshold=config.ignore_threshold,
        tags=Tags.any(embedded.uid, embedded.grp), valid=embedded.valid, backend=backend,
    )  # fmt: skip
    told = {
        "rule": config.rule, "k": config.k, "threshold": config.threshold, "ignore": config.ignore,
        "ignore_threshold": config.ignore_threshold, "samples": len(embedded),
    }  # fmt: skip
    ab = _side(found.ab)
    return Neighbours(ab, ab if found.ba is found.ab else _side(found.ba), set_sha, {**told, **facts})


def embed_run(
    run: Path, place: str, which: str = "last", show: bool = True
) -> tuple[Embedded, Recipe, ShardSet, int]:
    """A set through the encoder of a run: embeddings, the run's recipe, the opened set, the step.

    Images are resized and nothing else; weights are the averaged ones where the run keeps an average.

    Raises:
        RunError: if the run is unusable or none of EmoCapCLIP.
        DataError: if the set is.
    """
    from rich.console import Console
    from rich.progress import track

    from mien import systems
    from mien.data.quarantine import Quarantine
    from mien.data.reader import ShardSet
    from mien.data.stream import EvalStream
    from mien.engine.rundir import RunFolder
    from mien.systems.emocapclip.load import load

    folder = RunFolder.open(run)
    recipe = folder.recipe
    if not isinstance(recipe.model, ModelConfig) or not isinstance(recipe.objective, ObjectiveConfig):
        raise RunError(f"a run of {recipe.system}", where=run, fix="mine with a run of emocapclip")
    step = folder.checkpoint(which).step
    encoder = load(run, which)
    shards = ShardSet(place, recipe.data.remote)
    bare = recipe.model_copy(update={"objective": without_guides(recipe.objective)})
    system = systems.get(recipe.system)
    quarantine = Quarantine(None, sha=shards.sha, size=len(shards), fraction=recipe.data.quarantine_fraction)
    stream = EvalStream(
        shards, system.transform(bare, "val"), system.collate(bare), batch=_BATCH, seed=recipe.seed,
        quarantine=quarantine,
    )  # fmt: skip
    console = Console(stderr=True)
    batches = track(stream, "embedding", total=len(stream), transient=True, disable=not show, console=console)
    return embed(encoder.model, recipe.objective, batches, len(shards)), recipe, shards, step


def without_guides(objective: ObjectiveConfig) -> ObjectiveConfig:
    """The same levels, reading no `guide.npy`: the set is compared by its embeddings."""
    return objective.model_copy(update={"mining": MiningConfig()})


def _read(
    model: EmoCapCLIP, levels: ObjectiveConfig, batch: Mapping[str, Tensor], device: torch.device
) -> tuple[Tensor, Tensor]:
    """unit(g + s) float32 [B, D], and which rows have either, bool [B]; on the CPU."""
    total: Tensor | float = 0.0
    valid = batch["valid"].cpu()
    any_ = torch.zeros_like(valid)
    for level, weight in (("g", levels.global_weight), ("s", levels.summary_weight)):
        if not weight:
            continue
        has = batch[f"has_{level}"].cpu() & valid
        rows = model.read(batch[f"tok_{level}"].to(device)).float().cpu()
        total = total + rows * has[:, None]
        any_ = any_ | has
    if isinstance(total, float):
        raise RunError(
            "the run trained no whole captions",
            where="objective",
            fix="mine with a run that has global_weight",
        )
    return unit(total), any_


def _side(lists: Lists) -> Side:
    arrays = (part.cpu().numpy() for part in lists)
    indices, weights, ignored = arrays
    return Side(indices.astype(np.int32), weights.astype(np.float32), ignored.astype(np.int32))
