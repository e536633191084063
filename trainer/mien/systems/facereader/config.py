"""The `model:` and `objective:` sections of a face reader's recipe."""

from __future__ import annotations

from pydantic import Field, field_validator

from mien.config import Config


class ReaderModel(Config):
    """A convolutional network down to an eighth of the picture and, for the parts, up again."""

    image_size: int = Field(default=64, ge=32)
    """Side of the pictures, pixels; a multiple of 8."""
    widths: tuple[int, int, int, int] = (16, 32, 64, 96)
    """Channels at full, half, quarter and eighth resolution."""
    embed: int = Field(default=64, ge=2)
    """Width of the identity embedding."""
    changes: tuple[int, int, int, int] | None = None
    """Channels of a second network, which tells how the units of one picture differ from those of another of
    the same person: what edits are measured by. None has none."""
    codes: bool = False
    """Whether it also reads the codes of a 3D face, which RigFace's edits start from; learnt from sets of
    schema rigpair/1."""

    @field_validator("image_size")
    @classmethod
    def _eighths(cls, value: int) -> int:
        if value % 8:
            raise ValueError("must be a multiple of 8")
        return value


class ReaderObjective(Config):
    """Weights of the tasks, and how pictures are changed."""

    parts: float = Field(default=1.0, ge=0)
    """Cross-entropy of the part that each pixel shows."""
    jaw: float = Field(default=10.0, ge=0)
    """Squared error of the jaw's points, as fractions of the picture's side."""
    units: float = Field(default=1.0, ge=0)
    """Squared error of intensities, in FACS levels 0..5."""
    changes: float = Field(default=1.0, ge=0)
    """Squared error of differences of intensities, in FACS levels; where the model reads them."""
    pose: float = Field(default=1.0, ge=0)
    """Squared error of yaw, pitch and roll, in tens of degrees."""
    identity: float = Field(default=0.2, ge=0)
    """Contrast of the two pictures of a pair against those of other people."""
    codes: float = Field(default=1.0, ge=0)
    """Squared error of the codes in standard deviations; where the model reads them."""
    temperature: float = Field(default=0.1, gt=0)
    """Of that contrast."""
    backdrop: float = Field(default=0.7, ge=0, le=1)
    """Share of pictures whose background is replaced by one colour: pairs share theirs, people do not."""
    jitter: float = Field(default=0.25, ge=0, le=1)
    """Strength of random noise, gain, gamma and tint, different for both pictures of a pair; of the noise
    alone where codes are read: colours tell the light."""
    shift: float = Field(default=0.06, ge=0, le=0.25)
    """Largest displacement, as a fraction of the side."""
