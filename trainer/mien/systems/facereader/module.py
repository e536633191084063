"""A face reader in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.optim import inner_groups
from mien.systems.base import Batch, SystemModule
from mien.systems.editing.pair_rules import FULL
from mien.systems.facereader.codes import PLACES, SPREAD
from mien.systems.facereader.config import ReaderModel, ReaderObjective
from mien.systems.facereader.model import FaceReader, Reading
from mien.systems.ranks import mean_count, world_group
from mien_kernels import Tags, symmetric_contrast

if TYPE_CHECKING:
    from mien.recipe import Recipe


class ReaderModule(SystemModule):
    """Parts, jaw, units, pose and identity, learnt together."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        assert isinstance(recipe.model, ReaderModel)
        assert isinstance(recipe.objective, ReaderObjective)
        self.objective = recipe.objective
        self.model = FaceReader(recipe.model)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Weighted sum of the tasks' losses, and each of them."""
        reading, valid = self._read(batch)
        count = mean_count(valid.sum())

        def mean(values: Tensor) -> Tensor:
            return (values.float().flatten(1).mean(1) * valid).sum() / count

        parts = F.cross_entropy(reading.parts, batch["parts"].flatten(0, 1).long(), reduction="none")
        losses = {
            "parts": mean(parts),
            "jaw": mean((reading.jaw - batch["jaw"].flatten(0, 1)).square()),
            "units": mean((reading.units - batch["units"].flatten(0, 1)).square()),
            "pose": mean(((reading.pose - batch["pose"].flatten(0, 1)) / 10).square()),
            "identity": self._contrast(reading.identity, batch),
        }
        if "twins" in batch:
            losses["changes"] = self._of_pairs((self._changes(batch) - _differences(batch)).square(), batch)
        if "codes" in batch:
            away = (reading.codes - batch["codes"].flatten(0, 1)).square()
            # Field by field, so that fifty numbers of the shape do not outweigh three of the colour.
            losses["codes"] = mean(torch.stack([away[:, place].mean(1) for place in PLACES.values()], 1))
        total = torch.stack([getattr(self.objective, name) * loss for name, loss in losses.items()]).sum()
        return total, losses

    def _read(self, batch: Batch) -> tuple[Reading, Tensor]:
        pictures = batch["img"].flatten(0, 1).float() * 2 - 1
        return self.model(pictures), batch["valid"].repeat_interleave(2).float()

    def _changes(self, batch: Batch) -> Tensor:
        before, after = (batch["twins"].float() * 2 - 1).unbind(1)
        said: Tensor = self.model.changes(before, after)
        return said.float()

    def _of_pairs(self, values: Tensor, batch: Batch) -> Tensor:
        valid = batch["valid"].float()
        return (values.mean(1) * valid).sum() / mean_count(valid.sum())

    def _contrast(self, rows: Tensor, batch: Batch) -> Tensor:
        """Sources against targets; other pairs of the same person are neither positive nor negative."""
        source, target = rows.float().unflatten(0, (-1, 2)).unbind(1)
        scale = rows.new_tensor(1 / self.objective.temperature, dtype=torch.float32)
        return symmetric_contrast(
            source,
            target,
            scale,
            row_weight=batch["valid"].float(),
            tags=Tags.any(batch["person"]),
            process_group=world_group(),
        )

    @torch.no_grad()
    def validation_logs(self, batch: Batch, step: int) -> Mapping[str, Tensor | float]:
        """The losses, and in plain units: pixels named right, jaw in % of the side, levels, degrees.

        Of codes: the expression's error in FACS levels over all of psi, the error of the base colour, and how
        the light's departure from the usual one correlates with the true departure.
        Of changes: the mean error over units that differ, and what no change at all would give.
        Without that of the identity: a set in order shows one person a batch, so it would always be zero.
        """
        total, losses = self.loss(batch, step)
        losses = {name: loss for name, loss in losses.items() if name != "identity"}
        reading, valid = self._read(batch)
        count = mean_count(valid.sum())

        def mean(values: Tensor) -> Tensor:
            return (values.float().flatten(1).mean(1) * valid).sum() / count

        right = reading.parts.argmax(1) == batch["parts"].flatten(0, 1)
        away = (reading.jaw - batch["jaw"].flatten(0, 1)).norm(dim=-1)
        return {
            "loss": total,
            **losses,
            "pixels_right": mean(right),
            "jaw_percent": 100 * mean(away),
            "unit_levels": mean((reading.units.clamp(0, 5) - batch["units"].flatten(0, 1)).abs()),
            "pose_degrees": mean((reading.pose - batch["pose"].flatten(0, 1)).abs()),
            **{name: mean(values) for name, values in self._codes_logs(reading, batch).items()},
            **self._changes_logs(batch),
        }

    def _changes_logs(self, batch: Batch) -> dict[str, Tensor]:
        """Mean error of the units that differ, and what saying "no change" would give, FACS levels."""
        if "twins" not in batch:
            return {}
        true = _differences(batch)
        moved = (true.abs() > 0.1).float()
        share = moved / moved.sum(1, keepdim=True).clamp_min(1) * true.shape[1]
        away = (self._changes(batch) - true).abs()
        return {
            "change_levels": self._of_pairs(away * share, batch),
            "change_levels_none": self._of_pairs(true.abs() * share, batch),
        }

    def _codes_logs(self, reading: Reading, batch: Batch) -> dict[str, Tensor]:
        """A number for each picture, [2 B, 1]."""
        if "codes" not in batch:
            return {}
        true, spread = batch["codes"].flatten(0, 1), torch.from_numpy(SPREAD).to(reading.codes)
        away = ((reading.codes - true) * spread).abs()
        light = PLACES["light"]
        return {
            "expression_levels": FULL * away[:, PLACES["expression"]].mean(1, keepdim=True),
            "albedo_error": away[:, PLACES["albedo"]].mean(1, keepdim=True),
            "light_correlation": F.cosine_similarity(
                reading.codes[:, light] * spread[light], true[:, light] * spread[light]
            )[:, None],
        }

    def param_groups(self) -> list[dict[str, Any]]:
        """Kernels decay, the rest does not; those between the ends may be turned by `muon`."""
        return inner_groups(self.model, ("stem.", "parts.", "heads.", "changes.stem.", "changes.head."))

    def pictures(self, batch: Batch, count: int) -> Tensor | None:
        """Both pictures of each pair, as changed."""
        return torch.cat(list((batch["img"].float() * 255).to(torch.uint8).unbind(1)), 3)[:count]


def _differences(batch: Batch) -> Tensor:
    before, after = batch["units"].float().unbind(1)
    return after - before
