"""A trained RigFace: edits of a photo by the codes of a 3D face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.systems.editing.config import EditObjective
from mien.systems.editing.model import Editor
from mien.systems.editing.noise import Guidance
from mien.systems.editing.rest import EditorAtRest
from mien.systems.editing.sampler import SampleConfig
from mien.systems.editing.start import trained
from mien.systems.rigface.backend import FaceRigBackend, open_backend
from mien.systems.rigface.background import grey_background, person_mask
from mien.systems.rigface.codes import Codes
from mien.systems.rigface.config import BACKENDS, RigFaceModel
from mien.systems.rigface.model import NAME

PLAIN = SampleConfig(guidance=Guidance(scale=1.0))
"""Without guidance: no condition is dropped in training, so that there is nothing to guide away from
(rigface spec, 3)."""


class RigFace(EditorAtRest):
    """Networks at rest, and the rig that draws what they are told.

    Args:
        editor: trained weights.
        config: of the recipe.
        objective: of the recipe; its noise is what the sampler steps through.
        rig: draws the edited codes; of the recipe's backend.
        device: where to compute; None takes a GPU if there is one.

    Raises:
        RunError: if the rig is not the one trained with, or the recipe trained on latents of the set.
    """

    def __init__(
        self,
        editor: Editor,
        config: RigFaceModel,
        objective: EditObjective,
        rig: FaceRigBackend,
        device: torch.device | None = None,
    ) -> None:
        # The released form draws FLAME, too; only its psi comes from elsewhere.
        drawn = "flame" if config.backend == "bfm64" else config.backend
        if rig.name != drawn:
            what = f"trained with backend {config.backend}, and the rig is {rig.name}"
            raise RunError(what, where="rig", fix=f"open the rig {drawn}")
        super().__init__(editor, config.codec, config.image_size, objective, device)
        self.config, self.rig = config, rig

    @torch.inference_mode()
    def edit(
        self,
        picture: np.ndarray,
        labels: np.ndarray,
        source: Codes,
        edited: Sequence[Codes],
        config: SampleConfig = PLAIN,
        note: Callable[[int], None] = lambda count: None,
        psi: np.ndarray | None = None,
    ) -> Tensor:
        """Edits of one photo, uint8 [E, 3, S, S] on the CPU; features of the photo are computed once for all.

        Args:
            picture: the photo, uint8 [S, S, 3]; its side is `size`.
            labels: uint8 [S, S], what its pixels show, see `editing.parsing.CLASSES`.
            source: the photo's codes. An edit that turns the head away from them needs room in the background
                where the turned head is (`modes.Edit.mask`), as in training.
            edited: its codes after each edit, as `modes.mix` or `sliders.Sliders` give them.
            config: how to sample.
            note: told of sampler steps done, see `sampler.sample`.
            psi: float [E, width] for a backend whose psi is not in the codes (`bfm64`); else None.

        Raises:
            ValueError: if the photo has another size, there is no edit, or psi has another shape.
            MienError: for codes of another space or labels of another size.
            RunError: if psi is absent where it is needed, or given where the codes hold it.
        """
        if not edited:
            raise ValueError("no edit: give codes of one or more")
        self.check(picture)
        vectors = self._vectors(edited, psi)
        # One by one, so that no edit depends on its company.
        maps = [
            torch.cat([self.encode(each) for each in self.maps(picture, labels, source, codes)], 1)
            for codes in edited
        ]
        return self.draw(picture, torch.cat(maps), vectors, config, note)

    def maps(
        self, picture: np.ndarray, labels: np.ndarray, source: Codes, codes: Codes
    ) -> tuple[np.ndarray, np.ndarray]:
        """Background and rendering of the edit to `codes`, uint8 [S, S, 3] each; arguments as of `edit`."""
        drawn = self.rig.render(codes, self.size)
        other = drawn.alpha if codes.pose != source.pose else None
        return grey_background(picture, person_mask(labels, other)), drawn.image

    def mask(self, labels: np.ndarray, source: Codes, codes: Codes) -> np.ndarray:
        """Where the edit to `codes` draws, bool [S, S]: what is grey in its background; see `edit`."""
        other = self.rig.render(codes, self.size).alpha if codes.pose != source.pose else None
        return person_mask(labels, other)

    def _vectors(self, edited: Sequence[Codes], psi: np.ndarray | None) -> Tensor:
        wanted = BACKENDS[self.config.backend]
        if wanted.stored != (psi is not None):
            what = "needs psi" if wanted.stored else "has psi in the codes"
            fix = "give psi of a Deep3D regressor" if wanted.stored else "leave psi out"
            raise RunError(f"backend {self.config.backend} {what}", where="psi", fix=fix)
        found = np.stack([self.rig.expression(codes) for codes in edited]) if psi is None else psi
        if found.shape != (len(edited), wanted.width):
            raise ValueError(f"psi is {[*found.shape]}, not {[len(edited), wanted.width]}")
        return torch.from_numpy(np.array(found, np.float32))


def load(
    run: str | Path,
    which: str = "last",
    device: torch.device | None = None,
    rig: str | Path = "builtin",
) -> RigFace:
    """The editor of a run, with averaged weights where the run kept an average.

    Args:
        run: run folder.
        which: checkpoint `last`, `best` or a step number.
        device: where to compute; None takes a GPU if there is one.
        rig: what draws, as `backend.open_backend` takes it.

    Raises:
        RunError: if the run or checkpoint cannot be used, or was trained with another rig.
        DataError: if the rig cannot be opened.
    """
    folder = RunFolder.open(run)
    config, objective = folder.recipe.model, folder.recipe.objective
    assert isinstance(config, RigFaceModel)
    assert isinstance(objective, EditObjective)
    editor = trained(folder, which, config, NAME)
    return RigFace(editor, config, objective, open_backend(rig), device)
