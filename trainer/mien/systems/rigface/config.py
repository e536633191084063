"""The `model:` section of a RigFace recipe; its `objective:` is any editor's (rigface spec, 3 and 4)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from mien.config import Config
from mien.systems.editing.config import CodecConfig, ConditionConfig, UNetConfig

BackendName = Literal["builtin", "ict", "flame", "bfm64"]


class Signals(NamedTuple):
    """What a backend steers with."""

    space: str
    """Of the codes it draws, one of `codes.SPACES`, which is heavy to import."""
    width: int
    """Numbers of psi."""
    stored: bool = False
    """Whether psi comes from a network of its own, and so with each sample, not from the codes."""


BACKENDS: dict[str, Signals] = {
    "builtin": Signals("world", 50),
    "ict": Signals("world", 50),
    "flame": Signals("flame", 53),
    "bfm64": Signals("flame", 64, stored=True),
}
"""By the name that a model stores. `bfm64` is the released form: FLAME is drawn, psi is 64 coefficients of
the Basel model as a Deep3D regressor reads them (rigface spec, 1), member `tgt.psi.npy` of a sample."""


class RigFaceModel(Config):
    """Networks and what they are shown."""

    image_size: int = Field(default=512, ge=32)
    """Side of the pictures, pixels."""
    unet: UNetConfig = UNetConfig()
    backend: BackendName = "builtin"
    """What draws the 3D face and what psi means; weights of one backend do not fit another."""
    condition: ConditionConfig = ConditionConfig(width=BACKENDS["builtin"].width, maps=2)
    codec: CodecConfig = CodecConfig()
    face_share: float = Field(default=352 / 512 / 1.5, gt=0, le=1)
    """Width of a detector's box as a part of the picture's side; photos are cropped so (rigface spec, 2)."""
    dilation: tuple[float, float] = (5.0, 25.0)
    """Least and most by which the grey person grows in training, pixels at 512, drawn for each sample;
    evaluation and edits take `background.DILATION`."""
    prompt: str | None = None
    """Safetensors file with the states [1, T, W] of the constant prompt as `prompt`; null is one zero."""
    checkpointing: bool = False
    """Recompute the networks' activations in the backward pass: less memory, about a third more time."""
    init_from: str | None = None
    """Folder of Stable Diffusion 1.5 (its `unet`), of released weights (backend bfm64), or a run to start
    from."""

    @model_validator(mode="after")
    def _fits(self) -> RigFaceModel:
        wanted = BACKENDS[self.backend].width
        if self.condition.width != wanted:
            raise ValueError(f"condition.width is {wanted}: the expression of backend {self.backend}")
        if self.condition.maps != 2:
            raise ValueError("condition.maps is 2: background and rendering")
        if not 0 <= self.dilation[0] <= self.dilation[1]:
            raise ValueError(f"dilation {list(self.dilation)} is [least, most], 0 or more")
        self.codec.check(self.image_size, self.unet, self.init_from)
        return self
