"""A second grade beside the error of latents: does the picture show the edit, and the same person?

Few pixels move with an action unit, so that they count for little in the error of latents. Not against labels
but against the same readings of the true picture: what the reader gets wrong of that is no fault of an edit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mien.errors import RunError
from mien.systems.editing.config import JudgeConfig
from mien.systems.facereader.load import fitted, load, no_changes

_UNIT = {"pose": 10.0}
"""What readings are counted in: tens of degrees."""


class Judge:
    """A face reader at rest, through which gradients pass to the picture.

    No nn.Module, so that its weights are neither trained nor saved with the editor's.

    Args:
        config: which run, and weights.

    Raises:
        RunError: if the run is none of a face reader, or reads nothing that has a weight.
    """

    def __init__(self, config: JudgeConfig) -> None:
        reader = load(config.run, device=torch.device("cpu"))
        if config.changes and not reader.reads_changes:
            raise no_changes(config.run)
        read = ["changes", "units", "pose", "identity", *(["codes"] if reader.reads_codes else [])]
        if not any(getattr(config, name) for name in read):
            fix = "give changes, units, pose or identity a weight; codes needs a reader of codes"
            raise RunError("nothing that this reader reads has a weight", where="objective.judge", fix=fix)
        self.config, self.side, self.network = config, reader.size, reader.model

    def __call__(self, before: Tensor, made: Tensor, true: Tensor) -> dict[str, Tensor]:
        """Squared errors [B] of each reading whose weight is not zero, by its name.

        Args:
            before: pictures float [B, 3, S, S] in -1..1.
            made: of the same size, edited; gradients reach these.
            true: what they should look like.
        """
        self.network.to(made.device)
        before, made, true = (fitted(pictures, self.side) for pictures in (before, made, true))
        with torch.no_grad():
            wanted = self._read(before, true)
        shown = self._read(before, made)
        return {name: _squares(name, shown[name] - wanted[name]) for name in shown}

    def weighed(self, errors: dict[str, Tensor]) -> Tensor:
        """Their weighted sum, [B]."""
        return torch.stack([getattr(self.config, name) * error for name, error in errors.items()]).sum(0)

    def _read(self, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        found = {"changes": self.network.changes(before, after)} if self.config.changes else {}
        alone = [name for name in ("units", "pose", "identity", "codes") if getattr(self.config, name)]
        if alone:
            reading = self.network(after, parts=False)
            rows = {name: getattr(reading, name) for name in alone}
            found |= {name: row / _UNIT.get(name, 1) for name, row in rows.items() if row.shape[1]}
        return {name: row.float() for name, row in found.items()}


def _squares(name: str, apart: Tensor) -> Tensor:
    return apart.square().sum(1) if name == "identity" else apart.square().mean(1)
