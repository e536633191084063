"""The `model:` and `objective:` sections of a MagicFace recipe (magicface spec, 3 and 4)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mien.config import Config
from mien.systems.editing.config import CodecConfig, ConditionConfig, MaskMode, UNetConfig
from mien.systems.editing.pair_rules import UNITS


class MagicFaceModel(Config):
    """Networks and what they are shown; the defaults are the released form."""

    image_size: int = Field(default=512, ge=32)
    """Side of the pictures, pixels."""
    unet: UNetConfig = UNetConfig()
    condition: ConditionConfig = ConditionConfig(width=len(UNITS), maps=1)
    codec: CodecConfig = CodecConfig()
    mask_mode: MaskMode = "person"
    """What of the condition image is black: `person` matches the released weights."""
    jaw: Literal["expression", "rest"] = "expression"
    """Whether the dots follow the open jaw of the target (released), or show the pose alone, which neither
    betrays AU26 in training nor resists it afterwards."""
    face_share: float = Field(default=352 / 512 / 1.5, gt=0, le=1)
    """Width of a detector's box as a part of the picture's side; photos are cropped so (spec, 2)."""
    guidance: float = Field(default=3.0, ge=0)
    """Scale over action units that edits are made with unless told otherwise; the paper's best (spec, 6)."""
    prompt: str | None = None
    """Safetensors file with the states [1, T, W] of the constant prompt as `prompt`; null is one zero."""
    checkpointing: bool = False
    """Recompute the networks' activations in the backward pass: less memory, about a third more time."""
    init_from: str | None = None
    """Folder of Stable Diffusion 1.5 (its `unet`), of released weights, or a run to start from."""

    @model_validator(mode="after")
    def _fits(self) -> MagicFaceModel:
        if self.condition.width != len(UNITS):
            raise ValueError(f"condition.width is {len(UNITS)}: one number an action unit")
        if self.condition.maps != 1:
            raise ValueError("condition.maps is 1: the condition image")
        self.codec.check(self.image_size, self.unet, self.init_from)
        return self
