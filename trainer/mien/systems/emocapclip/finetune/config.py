"""The `model:` and `objective:` sections of a fine-tuning recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mien.config import Config
from mien.systems.emocapclip.config import ModelConfig


class AdaptConfig(Config):
    """What of the image tower learns; the head always does."""

    how: Literal["linear", "lora", "adapter", "full"] = "full"
    """`linear`: nothing. `lora`: low-rank changes of its matrices (Hu et al., ICLR 2022). `adapter`: a narrow
    network after each block (Houlsby et al., ICML 2019). `full`: everything."""
    rank: int = Field(default=8, ge=1, le=256)
    """`lora`: rank of each change."""
    alpha: float = Field(default=16.0, gt=0)
    """`lora`: changes are scaled by alpha / rank."""
    width: int = Field(default=64, ge=1, le=4096)
    """`adapter`: hidden width."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """`full`: the rate of a block is this factor times that of the block after it."""
    tower_lr: float = Field(default=1.0, gt=0)
    """Rate of the tower's weights, LoRA and adapters included, as a factor on that of the head."""


class ClipConfig(Config):
    """Clips in place of images."""

    frames: int = Field(default=16, ge=2, le=128)
    """Frames a clip: one of each of so many equal segments; random in training, the middle otherwise."""
    head: Literal["mean", "transformer", "gru"] = "mean"
    """What turns the embeddings of frames into one: their mean, a transformer with a class token, or the last
    states of a bidirectional GRU."""
    layers: int = Field(default=1, ge=1, le=12)
    """Of the transformer or GRU."""
    heads: int = Field(default=4, ge=1)
    """Attention heads of the transformer."""


class FinetuneModel(ModelConfig):
    """An image tower, what of it learns, and a head; `init_from` is an EmoCapCLIP run or its export."""

    classes: tuple[str, ...] = ()
    """Labels, in the order of the outputs; at least two."""
    adapt: AdaptConfig = AdaptConfig()
    clip: ClipConfig | None = None
    """null: images."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Before the head."""

    @model_validator(mode="after")
    def _classes_and_start(self) -> FinetuneModel:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: name two labels or more, each once")
        if self.adapt.how != "full" and not (self.init_from or self.weights):
            raise ValueError(
                f"adapt.how {self.adapt.how} keeps the tower as it starts: give init_from or weights"
            )
        return self


class FinetuneObjective(Config):
    """Cross-entropy, and what evens out rare classes."""

    balance: Literal["none", "inverse", "effective", "logits"] = "none"
    """`inverse`: samples weigh 1 / (size of their class). `effective`: 1 / (effective size), Cui et al., CVPR
    2019. `logits`: log of the class share is added to the logits in training, Menon et al., ICLR 2021."""
    beta: float = Field(default=0.999, gt=0, lt=1)
    """`effective`: an n-th sample adds beta^(n-1) to the size of its class."""
    tau: float = Field(default=1.0, ge=0)
    """`logits`: factor on the log share."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the labels."""
    focal: float = Field(default=0.0, ge=0)
    """gamma: samples weigh (1 - p)^gamma, p the probability of their class (Lin et al., ICCV 2017)."""
