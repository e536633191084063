"""The `data:` section of a recipe."""

from __future__ import annotations

from pydantic import Field, model_validator

from mien.config import Config


class SetConfig(Config):
    """One set of shards."""

    shards: str
    """Folder that holds `index.json` and the tar files it lists."""


class AugmentConfig(Config):
    """Random changes of a training image; keyed by (seed, epoch, sample), so a resumed run repeats them."""

    scale: tuple[float, float] = (0.8, 1.0)
    """Area of the random crop as a fraction of the image, lowest and highest, in (0, 1]."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a left-right mirror."""
    jitter: float = Field(default=0.2, ge=0, lt=1)
    """Strength of brightness, contrast and saturation changes: factors lie in [1 - jitter, 1 + jitter]."""

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> AugmentConfig:
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"scale is (lowest, highest) in (0, 1], not ({low}, {high})")
        return self


class DataConfig(Config):
    """Where samples come from and how they are streamed."""

    train: SetConfig | None = None
    """Set to train on."""
    val: SetConfig | None = None
    """Set to validate on, in index order, without augmentation."""
    workers: int = Field(default=2, ge=0, le=256)
    """Loader processes a rank; 0 loads in the training process. Does not change the order of samples."""
    prefetch: int = Field(default=4, ge=1)
    """Micro-batches each worker holds ready. Does not change the order of samples."""
    shuffle_block: int = Field(default=8, ge=1)
    """Shards that are shuffled together; more mixes better, fewer reads more locally."""
    quarantine_fraction: float = Field(default=0.01, ge=0, le=1)
    """Share of damaged samples a set may have before the run stops."""
    augment: AugmentConfig = AugmentConfig()
    log_samples: bool = False
    """Write the ids of every micro-batch into the run folder (proves that none is missed or seen twice)."""
