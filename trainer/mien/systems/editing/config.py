"""Sizes of the two UNets of an editor, and how conditions enter (magicface and rigface specs, section 3)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import Field, model_validator

from mien.config import Config

MaskMode = Literal["person", "face"]
"""What of a condition image is black: the whole person (released weights), or the face alone, so that hair,
ears, neck and clothes stay in the picture."""


class UNetConfig(Config):
    """Both UNets; the defaults are those of Stable Diffusion 1.5."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    """Channels of the levels, each at half the resolution of the one before; the last has no attention."""
    layers: int = Field(default=2, ge=1)
    """ResNet blocks of a level on the way down; one more on the way up."""
    heads: int = Field(default=8, ge=1)
    """Attention heads of each block."""
    groups: int = Field(default=32, ge=1)
    """Groups of the normalisations."""
    prompt_width: int = Field(default=768, ge=1)
    """Width of the constant prompt's states."""
    latent_channels: int = Field(default=4, ge=1)
    """Channels of a latent: 4 of a VAE, 3 in pixel space."""
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    """How time step and condition vector enter the ResNet blocks: added to their channels (`default`,
    released), or as a factor and a shift of each normalised channel (arXiv 2105.05233, section 3)."""
    near: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """From scratch: how steeply the attention of the denoiser's heads, in turn, falls off with the squared
    distance of places at the beginning; learnt from there on. Empty: not at all, as released."""

    photo: Literal["attention", "controlnet", "convolutions", "none"] = "attention"
    """How the photo reaches the denoiser. `attention`: to the states of an identity network (released). For
    comparison (magicface spec, table II): `controlnet`, `convolutions` added to the levels on the way down,
    and `none`, a denoiser that `frozen` may start from."""
    residual: bool = False
    """From scratch, with `objective.noise.prediction: sample`: whether the denoiser takes the photo's latent
    beside the noisy one and tells what differs from it in place of the whole latent, so that what stays need
    not be carried through attention."""
    frozen: bool = False
    """Whether the denoiser keeps the weights that it starts with; needs `init_from`."""

    @model_validator(mode="after")
    def _divides(self) -> UNetConfig:
        if len(self.channels) < 2:
            raise ValueError("channels needs at least two levels: the last one has no attention")
        for width in self.channels:
            if width % self.groups or width % self.heads:
                raise ValueError(
                    f"channels {width} must be a multiple of groups {self.groups} and of heads {self.heads}"
                )
        return self

    @property
    def tells_differences(self) -> bool:
        """Whether the denoiser tells what differs from the photo: `residual`, where there is a photo."""
        return self.residual and self.photo != "none"

    @property
    def beside(self) -> int:
        """Channels of the photo's latent that the denoiser takes last of all."""
        return self.latent_channels if self.tells_differences else 0

    def arguments(self) -> dict[str, Any]:
        """Of diffusers' `UNet2DConditionModel`."""
        levels = len(self.channels)
        return {
            "in_channels": self.latent_channels,
            "out_channels": self.latent_channels,
            "block_out_channels": self.channels,
            "layers_per_block": self.layers,
            "attention_head_dim": self.heads,  # diffusers calls the number of heads so here
            "norm_num_groups": self.groups,
            "cross_attention_dim": self.prompt_width,
            "resnet_time_scale_shift": self.resnet_time_scale_shift,
            "down_block_types": ("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        }


class ConditionConfig(Config):
    """What tells the denoiser which edit is asked for."""

    width: int = Field(ge=1)
    """Numbers of the condition vector: 12 AU differences, or expression coefficients."""
    maps: int = Field(default=1, ge=0)
    """Condition latents that are joined with the noisy latent: 1 of MagicFace, 2 of RigFace."""
    injection: Literal["linear", "pad", "channel"] = "linear"
    """How the vector enters. `linear`: a linear layer, added to the time embedding (released). `pad`: zeros
    fill it up to the width of the time embedding, and it is added. `channel`: an MLP makes a channel."""
    hidden: int = Field(default=1024, ge=1)
    """`channel`: width of the MLP's hidden layer."""


class CodecConfig(Config):
    """Between pictures and latents."""

    kind: Literal["vae", "patches", "cosines"] = "vae"
    """`vae`: a frozen autoencoder. `patches`: squares of pixels as channels. `cosines`: their lowest cosines,
    for tiny editors."""
    folder: str | None = Field(default=None, min_length=1)
    """`vae`: a diffusers folder (config.json and safetensors). null: none; without, weights can be imported
    and exported, but neither trained nor used on photos."""
    factor: int = Field(default=8, ge=1)
    """Pixels of a side to one place of a latent."""
    detail: int = Field(default=4, ge=0)
    """`cosines`: waves of brightness that a square holds at most, down and across together."""
    colour: int = Field(default=1, ge=0)
    """`cosines`: the same of both colours."""
    target_scale: float = Field(default=0.18215, gt=0)
    """Multiplies the latent that is denoised; `patches` and `cosines` need 1."""

    @property
    def channels(self) -> int:
        """Of a latent of `patches` or `cosines`."""
        if self.kind == "patches":
            return 3 * self.factor**2
        waves = [down + across for down in range(self.factor) for across in range(self.factor)]
        return sum(wave <= most for most in (self.detail, self.colour, self.colour) for wave in waves)

    def check(self, size: int, unet: UNetConfig, init_from: str | None) -> None:
        """Raise ValueError where pictures of that side make no latents that the UNet takes, or it is frozen
        before it has learnt anything."""
        if unet.frozen and init_from is None:
            raise ValueError("unet.frozen needs init_from: a denoiser that has learnt something")
        if self.kind != "vae" and unet.latent_channels != self.channels:
            raise ValueError(f"unet.latent_channels is {self.channels}: what the codec makes of a square")
        step = self.factor * 2 ** (len(unet.channels) - 1)
        if size % step:
            levels = len(unet.channels)
            raise ValueError(
                f"image_size {size} must be a multiple of {step}: codec.factor, halved at {levels} levels"
            )


@runtime_checkable
class EditorModel(Protocol):
    """What the `model:` sections of all editors have."""

    @property
    def unet(self) -> UNetConfig:
        """Sizes of both networks."""
        ...

    @property
    def condition(self) -> ConditionConfig:
        """How the edit is told."""
        ...

    @property
    def codec(self) -> CodecConfig:
        """Between pictures and latents."""
        ...

    @property
    def prompt(self) -> str | None:
        """File with the states of the prompt."""
        ...

    @property
    def image_size(self) -> int:
        """Side of the pictures, pixels."""
        ...

    @property
    def checkpointing(self) -> bool:
        """Whether activations are computed again in the backward pass."""
        ...

    @property
    def init_from(self) -> str | None:
        """What to start from."""
        ...


class NoiseConfig(Config):
    """How noise is drawn and how its prediction is graded."""

    beta_start: float = Field(default=0.00085, gt=0, lt=1)
    beta_end: float = Field(default=0.012, gt=0, lt=1)
    prediction: Literal["epsilon", "v", "sample"] = "epsilon"
    """What the denoiser tells: the noise (released weights), the clean latent, or the velocity between both
    (arXiv 2202.00512). Squares of pixels need `sample`: noise is more than a tiny network can carry."""
    drop: float = Field(default=0.1, ge=0, le=1)
    """Share of samples whose condition vector becomes zero, for guidance."""
    min_snr: float | None = Field(default=None, gt=0)
    """gamma of min-SNR weights (arXiv 2303.09556), commonly 5; null weighs all time steps alike."""
    offset: float = Field(default=0.0, ge=0)
    """Strength of noise that is one number a channel, beside that of each place."""
    zero_snr: bool = False
    """Stretch the schedule until nothing of the target is left at the last time step (arXiv 2305.08891, 3.1).
    With squares of pixels the published schedule leaves the colours in sight: they are averages of many
    numbers, so that an editor learns to take them from there, and sampling starts where they are grey."""
    late: float = Field(default=1.0, ge=1)
    """Time steps are drawn as this root of an even draw: above 1 more of them where noise hides the target
    and all has to come from photo, maps and vector. At 3 half of them lie beyond step 794."""

    @model_validator(mode="after")
    def _told_of_nothing(self) -> NoiseConfig:
        if self.zero_snr and self.prediction == "epsilon":
            raise ValueError("zero_snr needs prediction v or sample: pure noise told as noise says nothing")
        return self


class JudgeConfig(Config):
    """A face reader that compares what the denoiser takes the target to be with the true target."""

    run: str = Field(min_length=1)
    """A finished run of a facereader with `model.changes`. Measure edits by another one."""
    changes: float = Field(default=0.1, ge=0)
    """Weight of how the action units of source and edit differ: squared error in FACS levels."""
    units: float = Field(default=0.03, ge=0)
    """Of the intensities that the edit shows by itself: squared error in FACS levels."""
    pose: float = Field(default=1.0, ge=0)
    """Of yaw, pitch and roll: squared error in tens of degrees."""
    identity: float = Field(default=1.0, ge=0)
    """Of who it is: squared distance of the unit rows."""
    codes: float = Field(default=0.1, ge=0)
    """Of the 3D face and its light, where the reader reads them: squared error in standard deviations."""


class EditObjective(Config):
    """The noise and what is weighed."""

    noise: NoiseConfig = NoiseConfig()
    face_weight: float = Field(default=1.0, ge=1)
    """Weight of places that show the face, against 1 elsewhere."""
    change_weight: float = Field(default=0.0, ge=0)
    """How much more weigh places where source and target differ: 1 + this times the mean difference around
    them, of values -1..1. An action unit moves few pixels, and the rest would teach a tiny editor to copy."""
    identity_lr: float = Field(default=1.0, gt=0)
    """Rate of the identity network as a factor on that of the denoiser."""
    judge: JudgeConfig | None = None
    """Graded on the picture, too, by a network that reads action units. None: by latents alone (released)."""
