"""EmoCapCLIP in training: towers, objective, parameter groups and clamps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mien.optim import decay_groups
from mien.systems.base import Batch, SystemModule
from mien.systems.emocapclip import whole_set
from mien.systems.emocapclip.config import ModelConfig, ObjectiveConfig
from mien.systems.emocapclip.load import start_from
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.emocapclip.objective import Encoded, Objective, text_keys, with_scales, world_group
from mien_kernels import gather_rows

if TYPE_CHECKING:
    from mien.data.neighbours import Neighbours
    from mien.recipe import Recipe

_PATCH_HEAD_LR = 10.0  # spec section 5: towers 1e-5, LN_loc and W_loc 1e-4
_NO_DECAY = ("positional_embedding", "class_embedding", "token_embedding.weight", "token_embedding.0.weight")


class EmoCapModule(SystemModule):
    """Contrast of faces with captions at three levels.

    Attributes:
        model: the dual encoder.
        objective: the loss, with the running statistics of mining.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        assert isinstance(recipe.model, ModelConfig)
        assert isinstance(recipe.objective, ObjectiveConfig)
        self.config, self.levels = recipe.model, recipe.objective
        self.model = EmoCapCLIP(recipe.model, recipe.objective)
        if recipe.model.init_from:
            start_from(self.model, recipe.model.init_from)
        self.objective = Objective(recipe.objective)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Loss of a micro batch as `samples.Collate` makes it; `step` drives the warm-up of mining."""
        return self.objective(self.encode(batch), batch, step)

    def take_neighbours(self, table: Neighbours | None) -> None:
        """Targets of `objective.mining.source: table`."""
        mining = self.levels.mining
        if table is not None and mining.rule is not None and mining.source == "table":
            self.objective.use(table)

    def mining_epochs(self) -> int | None:
        """`objective.mining.every`."""
        return self.levels.mining.every

    def mining_rows(self, batch: Batch) -> dict[str, Tensor]:
        """Both embeddings of each sample; see `whole_set.Embedded`."""
        return whole_set.rows_of(self.model, self.levels, batch)

    def mine(self, rows: Mapping[str, Tensor], set_sha: str, facts: Mapping[str, Any]) -> Neighbours:
        """The table by the recipe's rule and thresholds."""
        embedded = whole_set.Embedded(**rows).to(self.device)
        return whole_set.mine_embedded(embedded, self.levels.mining, set_sha, facts, self.levels.backend)

    def encode(self, batch: Batch) -> Encoded:
        """Embeddings of a micro batch; every sentence that takes part is encoded once, in one pass."""
        levels, model = self.levels, self.model
        image, patches = model.see(batch["img"], levels.local.patches)
        valid = batch["valid"]
        wanted = [
            (batch["tok_g"], batch["has_g"] & valid & bool(levels.global_weight)),
            (batch["tok_s"], batch["has_s"] & valid & bool(levels.summary_weight)),
            (
                batch["tok_l"].flatten(0, 1),
                (batch["mask_l"] & valid[:, None] & levels.reads_sentences).flatten(),
            ),
        ]
        tokens = torch.cat([tokens[live] for tokens, live in wanted])
        if not len(tokens):  # keep the text tower in the graph: other ranks wait for its gradient
            nothing = model.read(batch["tok_g"][:1]) * 0
            empty = [nothing.new_zeros(len(live), nothing.shape[1]) + nothing for _, live in wanted]
        else:
            parts = model.read(tokens).split([int(live.sum()) for _, live in wanted])
            empty = [
                part.new_zeros(len(live), part.shape[1]).index_put((live,), part)
                for (_, live), part in zip(wanted, parts, strict=True)
            ]
        global_, summary, local = empty
        return with_scales(model, image, patches, global_, summary, local.unflatten(0, batch["mask_l"].shape))

    def param_groups(self) -> list[dict[str, Any]]:
        """Towers, and the patch head at ten times their rate where it starts from trained weights.

        No decay on norms, biases, temperatures and embedding tables.
        """
        head = {"local_norm.weight", "local_norm.bias", "local_projection.weight"}
        towers: dict[bool, list[Tensor]] = {True: [], False: []}
        for name, parameter in self.model.named_parameters():
            if name not in head and not name.startswith("pool."):
                table = name.endswith(_NO_DECAY)
                towers[parameter.ndim >= 2 and not table].append(parameter)
        pretrained = self.config.weights is not None
        patch_head = torch.nn.ModuleList([self.model.local_norm, self.model.local_projection])
        if self.model.pool is not None:
            patch_head.append(self.model.pool)
        return [
            {"params": towers[True]},
            {"params": towers[False], "weight_decay": 0.0},
            *decay_groups(patch_head, _PATCH_HEAD_LR if pretrained else 1.0),
        ]

    def bounds(self) -> list[tuple[nn.Parameter, float, float]]:
        """Both temperatures in [0, ln max_scale]."""
        highest = math.log(self.levels.max_scale)
        return [(theta, 0.0, highest) for theta in (self.model.log_scale, self.model.local_log_scale)]

    def blocks(self) -> list[nn.Module]:
        """Residual blocks and transformer layers of both towers."""
        return self.model.blocks()

    @torch.no_grad()
    def validation_logs(self, batch: Batch, step: int) -> Mapping[str, Tensor | float]:
        """Loss, its parts, and retrieval R@1 both ways inside the batch (equal captions count as right)."""
        encoded = self.encode(batch)
        loss, logs = self.objective(encoded, batch, step)
        level = "g" if self.levels.global_weight else "s"
        live = batch["valid"] & batch[f"has_{level}"]
        text = encoded.global_ if level == "g" else encoded.summary
        if not self.levels.whole:  # no level reads whole captions, yet they are what is retrieved
            level, live = "g", batch["valid"] & batch["has_g"]
            text = self.model.read(batch["tok_g"]).masked_fill(~live[:, None], 0)
        image, keys = encoded.image, text_keys(batch[f"tok_{level}"])
        if group := world_group():  # among the batches of all ranks, so that their number changes nothing
            image, text, keys, live = (gather_rows(part, group) for part in (image, text, keys, live))
        return {"loss": loss, **logs, **recall(image[live], text[live], keys[live])}


def recall(image: Tensor, text: Tensor, keys: Tensor) -> dict[str, Tensor | float]:
    """Share of rows whose best partner is right, each way.

    Args:
        image: unit rows [N, D].
        text: unit rows [N, D], row i belongs to image i.
        keys: int64 [N]; texts of equal key are the same text.
    """
    if not len(keys):
        return {"r1_text": 0.0, "r1_image": 0.0}
    cosines = image @ text.T
    right = [(keys[cosines.argmax(dim)] == keys).float().mean() for dim in (1, 0)]
    return {"r1_text": right[0], "r1_image": right[1]}
