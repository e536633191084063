"""Small recipes and batches for the tests of EmoCapCLIP."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from mien.systems.emocapclip.config import LocalConfig, MiningConfig, ModelConfig, ObjectiveConfig, TinyConfig
from mien.systems.emocapclip.module import EmoCapModule
from mien.systems.emocapclip.tokens import tokenize

WORDS = [
    "the",
    "brows",
    "rise",
    "strongly",
    "while",
    "lips",
    "part",
    "and",
    "lids",
    "tighten",
    "showing",
    "clear",
    "surprise",
    "not",
    "sadness",
    "here",
]
SMALL = ModelConfig(
    image_size=32,
    tiny=TinyConfig(
        widths=(8, 8, 16, 16), embed=12, vocabulary_width=8, text_width=16, text_layers=2, text_heads=2
    ),
)


def sentence(rng: np.random.Generator, low: int = 3, high: int = 12) -> str:
    return " ".join(rng.choice(WORDS, rng.integers(low, high)))


def batch_of(size: int, count: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """A batch with every kind of gap: missing parts, a dead row, equal texts, one group of two images."""
    rng = np.random.default_rng(seed)

    def tokens(*shape: int) -> torch.Tensor:
        rows = [tokenize(sentence(rng)) for _ in range(int(np.prod(shape)))]
        return torch.from_numpy(np.stack(rows)).unflatten(0, shape)

    batch = {
        "img": torch.from_numpy(rng.integers(0, 256, (size, 3, 32, 32), dtype=np.uint8)),
        "tok_g": tokens(size), "tok_s": tokens(size), "tok_l": tokens(size, count),
        "has_g": torch.ones(size, dtype=torch.bool), "has_s": torch.ones(size, dtype=torch.bool),
        "mask_l": torch.ones(size, count, dtype=torch.bool),
        "region_l": torch.from_numpy(rng.integers(0, 3, (size, count))),
        "lm5": torch.full((size, 5, 2), torch.nan),
        "uid": torch.arange(size) + 100, "grp": torch.full((size,), -1),
        "valid": torch.ones(size, dtype=torch.bool), "index": torch.arange(size),
    }  # fmt: skip
    batch["valid"][size - 1] = False
    batch["has_g"][0] = batch["has_s"][1] = False
    batch["mask_l"][2] = False
    batch["mask_l"][3, 1:] = False
    batch["region_l"][~batch["mask_l"]] = -1
    batch["tok_g"][4] = batch["tok_g"][5]
    batch["tok_l"][4, 0] = batch["tok_l"][5, 1]
    batch["grp"][4] = batch["grp"][6] = 7
    return batch


def recipe_of(
    branch: str = "group",
    rule: str | None = None,
    model: ModelConfig = SMALL,
    negatives: int | None = None,
    **objective: Any,
) -> Any:
    mining = MiningConfig(rule=rule, threshold=0.5, ignore_threshold=0.5, local_threshold=0.5, local_same=0.9)  # type: ignore[arg-type]
    local = LocalConfig(branch=branch, sentences=3, negatives=negatives)  # type: ignore[arg-type]
    return SimpleNamespace(
        model=model, objective=ObjectiveConfig(**{"local": local, "mining": mining} | objective)
    )


def module_of(seed: int = 0, **keys: Any) -> EmoCapModule:
    torch.manual_seed(seed)
    module = EmoCapModule(recipe_of(**keys))
    with torch.no_grad():  # the second norm of a block starts at zero: give every weight a part in the result
        for parameter in module.model.image.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.rand_like(parameter) * 0.5)
    return module


def gradients_on_ranks(rank: int, world: int, folder: str, cases: dict[str, dict[str, Any]]) -> None:
    """One of `world` gloo processes: gradients of its share of the batch, averaged as DDP does, by case."""
    os.environ["USE_LIBUV"] = "0"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    share = {key: value.chunk(world)[rank] for key, value in batch_of(8).items()}
    found = {}
    for name, keys in cases.items():
        module = module_of(**keys).double()
        loss, _ = module.loss(share, step=10)
        loss.backward()
        result = {"loss": loss.detach(), "stats": module.objective.miner.stats.clone()}
        result |= {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
        for value in result.values():
            dist.all_reduce(value)
        found[name] = {key: value / world for key, value in result.items()}
    if rank == 0:
        torch.save(found, f"{folder}/gradients.pt")
    dist.destroy_process_group()
