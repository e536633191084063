"""Fine-tuning in training: the classifier, its loss, parameter groups, and exact UAR of a validation set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mien.data.config import SetConfig, TrainConfig
from mien.data.reader import ShardSet
from mien.errors import RunError
from mien.optim import decay_groups
from mien.systems.base import Batch, SystemModule
from mien.systems.emocapclip.finetune.adapt import blocks_of
from mien.systems.emocapclip.finetune.config import FinetuneModel, FinetuneObjective
from mien.systems.emocapclip.finetune.load import start_tower
from mien.systems.emocapclip.finetune.model import FaceClassifier
from mien.systems.emocapclip.finetune.objective import Imbalanced
from mien.systems.ranks import mean_count

if TYPE_CHECKING:
    from mien.recipe import Recipe


class FinetuneModule(SystemModule):
    """A classifier of faces.

    Attributes:
        model: tower and head.
        objective: the loss.
        share: 1 / (classes x share of the class) in the validation set, float32 [C]: weights a right answer
            so that the mean over samples is UAR. Zero for classes that it does not have.
    """

    share: Tensor

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        assert isinstance(recipe.model, FinetuneModel)
        assert isinstance(recipe.objective, FinetuneObjective)
        self.config = recipe.model
        self.model = FaceClassifier(recipe.model)
        if recipe.model.init_from:
            start_tower(self.model.image, recipe.model.init_from)
        self.model.adapt(recipe.model)
        counts = [1] * len(recipe.model.classes)
        if recipe.objective.balance != "none":
            counts = class_counts(recipe.data.train, recipe.model.classes, "data.train")
            if empty := [name for name, n in zip(recipe.model.classes, counts, strict=True) if not n]:
                fix = "drop the class, or set objective.balance=none"
                raise RunError(f"no training sample of {empty[0]!r}", where="model.classes", fix=fix)
        self.objective = Imbalanced(recipe.objective, counts)
        held = class_counts(recipe.data.val, recipe.model.classes, "data.val") if recipe.data.val else counts
        there = torch.tensor(held, dtype=torch.float64)
        share = there.sum() / (there.clamp(min=1) * (there > 0).sum())
        self.register_buffer("share", (share * (there > 0)).float(), persistent=False)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Mean loss over the samples of all ranks, and the share of right answers (`war`)."""
        logits = self.model(batch["img"])
        valid = batch["valid"].to(logits.dtype)
        losses = self.objective(logits, batch["label"].clamp(min=0))
        right = (logits.detach().argmax(1) == batch["label"]).to(logits.dtype)
        count = mean_count(valid.sum())
        return (losses * valid).sum() / count, {"war": (right * valid).sum() / count}

    @torch.no_grad()
    def validation_logs(self, batch: Batch, step: int) -> Mapping[str, Tensor | float]:
        """Plain cross-entropy, WAR and UAR; means over a whole set are the set's own values."""
        logits = self.model(batch["img"])
        valid, labels = batch["valid"].to(logits.dtype), batch["label"].clamp(min=0)
        losses = nn.functional.cross_entropy(logits, labels, reduction="none")
        right = (logits.argmax(1) == labels).to(logits.dtype)
        count = mean_count(valid.sum())

        def mean(values: Tensor) -> Tensor:
            return (values * valid).sum() / count

        return {"loss": mean(losses), "war": mean(right), "uar": mean(right * self.share[labels])}

    def param_groups(self) -> list[dict[str, Any]]:
        """Head and temporal part at the recipe's rate; the tower at `tower_lr`, late blocks faster."""
        adapt = self.config.adapt
        head = nn.ModuleList([self.model.head])
        if self.model.temporal is not None:
            head.append(self.model.temporal)
        groups = decay_groups(head)
        blocks = blocks_of(self.model.image)
        depth = {id(p): place for place, block in enumerate(blocks, 1) for p in block.parameters()}
        levels: dict[tuple[int, bool], list[Tensor]] = {}
        for name, parameter in self.model.image.named_parameters():
            if parameter.requires_grad:
                late = name.startswith(("post_norm", "projection", "visual.ln_post", "visual.proj"))
                place = len(blocks) + 1 if late else depth.get(id(parameter), 0)
                levels.setdefault((place, parameter.ndim >= 2), []).append(parameter)
        for (place, decays), parameters in levels.items():
            scale = adapt.tower_lr * adapt.layer_decay ** (len(blocks) + 1 - place)
            group: dict[str, Any] = {"params": parameters, "lr_scale": scale}
            groups.append(group if decays else group | {"weight_decay": 0.0})
        return groups

    def blocks(self) -> list[nn.Module]:
        """Of the tower."""
        return blocks_of(self.model.image)

    def pictures(self, batch: Batch, count: int) -> Tensor | None:
        """Images, or the middle frames of clips."""
        images = batch["img"]
        return images[:count, images.shape[1] // 2] if images.ndim == 5 else images[:count]


def class_counts(source: TrainConfig | SetConfig | None, classes: Sequence[str], key: str) -> list[int]:
    """Samples of each class in the sets of a section, by reading every record.

    Raises:
        DataError: if a set cannot be read.
    """
    assert source is not None, key
    folders = [part.shards for part in source.parts] if isinstance(source, TrainConfig) else [source.shards]
    found: Counter[str] = Counter()
    for folder in folders:
        shards = ShardSet(folder)
        found.update(shards.read(index).record["label"] for index in range(len(shards)))
    return [found[name] for name in classes]
