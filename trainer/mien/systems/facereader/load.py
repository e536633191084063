"""A trained face reader: what is to be known of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.systems.editing.face import Face
from mien.systems.editing.pair_rules import FULL
from mien.systems.editing.pair_samples import as_pixels
from mien.systems.facereader.codes import codes_from
from mien.systems.facereader.config import ReaderModel
from mien.systems.facereader.model import FaceReader
from mien.systems.rigface.codes import Codes
from mien.systems.weights import load_strictly, state_for_export


@dataclass(frozen=True)
class Measured:
    """Of N pictures, float32 on the CPU.

    Attributes:
        units: [N, 12], intensities 0..5.
        pose: [N, 3], degrees.
        identity: [N, E], unit rows.
    """

    units: Tensor
    pose: Tensor
    identity: Tensor


class Reader:
    """The network at rest.

    Args:
        model: trained weights.
        config: of the recipe.
        device: where to compute; None takes a GPU if there is one.
    """

    def __init__(self, model: FaceReader, config: ReaderModel, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.size = config.image_size
        self.reads_codes = config.codes
        self.reads_changes = config.changes is not None

    @torch.inference_mode()
    def measure(self, pictures: Tensor, batch: int = 64) -> Measured:
        """Units, pose and identity of pictures uint8 [N, 3, S, S]; S is resized to the reader's size."""
        found = [self.model(self._fit(part), parts=False) for part in pictures.split(batch)]
        return Measured(
            torch.cat([one.units for one in found]).clamp(0, FULL).float().cpu(),
            torch.cat([one.pose for one in found]).float().cpu(),
            torch.cat([one.identity for one in found]).float().cpu(),
        )

    @torch.inference_mode()
    def changes(self, before: Tensor, after: Tensor, batch: int = 64) -> Tensor:
        """What changes from one picture to another of the same person, FACS levels float32 [N, 12].

        Args:
            before: uint8 [N, 3, S, S].
            after: the same size, aligned.
            batch: pictures at a time.

        Raises:
            RunError: if this reader was not trained to read changes.
        """
        if not self.reads_changes:
            raise no_changes("reader")
        found = [
            self.model.changes(self._fit(one), self._fit(other))
            for one, other in zip(before.split(batch), after.split(batch), strict=True)
        ]
        return torch.cat(found).float().cpu()

    @torch.inference_mode()
    def read(self, picture: np.ndarray) -> Face:
        """Parts, jaw and units of a square picture uint8 [S, S, 3]."""
        side = picture.shape[0]
        whole = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
        seen = self.model(self._fit(whole))
        logits = torch.nn.functional.interpolate(seen.parts.float(), (side, side), mode="bilinear")
        bent, rest = (side * seen.jaw[0].float()).cpu().numpy()
        units = seen.units[0].clamp(0, FULL).float().cpu().numpy()
        return Face(picture, logits[0].argmax(0).to(torch.uint8).cpu().numpy(), bent, rest, units)

    @torch.inference_mode()
    def codes(self, picture: np.ndarray) -> Codes:
        """The 3D face of a square picture uint8 [S, S, 3], of space "world".

        Raises:
            RunError: if this reader was not trained to read codes.
        """
        if not self.reads_codes:
            raise no_codes("reader")
        whole = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
        seen = self.model(self._fit(whole), parts=False)
        yaw, pitch, roll = (float(angle) for angle in seen.pose[0])
        return codes_from(seen.codes[0].float().cpu().numpy(), (yaw, pitch, roll))

    def _fit(self, pictures: Tensor) -> Tensor:
        return fitted(as_pixels(pictures.to(self.device)), self.size)


def fitted(pixels: Tensor, side: int) -> Tensor:
    """Square pictures float [N, 3, S, S] at a reader's size, [N, 3, side, side]."""
    if pixels.shape[-1] == side:
        return pixels
    return torch.nn.functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)


def no_changes(where: object) -> RunError:
    """The error of a reader that was not trained to read changes."""
    fix = "train one with model.changes, such as facereader/tiny"
    return RunError("this face reader reads no changes between two pictures", where=where, fix=fix)


def no_codes(where: object) -> RunError:
    """The error of a reader that was not trained to read codes."""
    fix = "train one that does (mien train facereader/rig_tiny) and give it with --reader"
    return RunError("this face reader reads no codes of 3D faces", where=where, fix=fix)


def load(run: str | Path, which: str = "last", device: torch.device | None = None) -> Reader:
    """The reader of a run, with averaged weights where the run kept an average.

    Raises:
        RunError: if the run is none of a face reader, or a checkpoint cannot be used.
    """
    folder = RunFolder.open(run)
    config = folder.recipe.model
    if not isinstance(config, ReaderModel):
        raise RunError(
            f"a run of {folder.recipe.system} reads no faces", where=run, fix="give a run of facereader"
        )
    model = FaceReader(config)
    load_strictly(model, state_for_export(folder, which), folder.path)
    return Reader(model, config, device)
