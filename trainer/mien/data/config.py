"""The `data:` section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mien.config import Config
from mien.data.location import locate
from mien.errors import DataError


class SetConfig(Config):
    """One set of shards."""

    shards: str
    """Folder, or URL of any fsspec file system, that holds `index.json` and the tar files it lists."""

    # Of the whole section, so that a message does not repeat a URL that holds a password.
    @model_validator(mode="after")
    def _usable(self) -> SetConfig:
        _locate(self.shards)
        return self


class PartConfig(SetConfig):
    """One set of a mixture."""

    weight: float = Field(default=1.0, gt=0)
    """How often its samples come, against the weights of the other sets."""


class TrainConfig(Config):
    """What to train on: one set, or several that are mixed."""

    shards: str | None = None
    """As in `SetConfig`."""
    mix: tuple[PartConfig, ...] | None = Field(default=None, min_length=1)
    """Sets whose samples come in the proportions of their weights, each in epochs of its own."""
    neighbours: str | None = None
    """Table that `mien mine` wrote for this set: samples come beside some of their neighbours, each still
    once an epoch. `objective.mining.source=table` makes those neighbours the targets."""
    beside: int = Field(default=3, ge=0, le=64)
    """Neighbours of the table that follow a sample at once, at most; 0 leaves the order as it is."""

    @model_validator(mode="after")
    def _one_of_both(self) -> TrainConfig:
        if self.neighbours is not None and self.mix is not None:
            raise ValueError("neighbours are numbered in one set: give shards, not mix")
        if (self.shards is None) == (self.mix is None):
            raise ValueError("give either shards (one set) or mix (several, with weights); null drops one")
        if self.shards is not None:
            _locate(self.shards)
        return self

    @property
    def parts(self) -> tuple[PartConfig, ...]:
        """The sets and their weights; one set has weight 1."""
        return self.mix or (PartConfig(shards=str(self.shards)),)


class RemoteConfig(Config):
    """How sets behind a URL are read. None of it changes the order or the content of samples."""

    fetch: Literal["auto", "shard", "range"] = "auto"
    """`shard`: each node fetches whole shards into a cache that its processes share. `range`: each process
    reads the bytes of its own samples, so that each of N nodes reads about 1/N. `auto`: `range` on two nodes
    or more if the cache cannot hold the set, else `shard`."""
    cache_dir: str | None = None
    """Folder of the cache, on a disk of the node; null is $MIEN_CACHE, or else one in the system's temporary
    folder."""
    cache_gb: float = Field(default=50.0, gt=0)
    """Bound of the cache over all sets, in 10^9 bytes; shards that are being fetched come on top."""
    attempts: int = Field(default=6, ge=1, le=30)
    """Times a request is made before the server counts as gone and the run stops."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Seconds for one request of at most 8 MiB."""


def _locate(shards: str) -> None:
    try:
        locate(shards)
    except DataError as error:
        raise ValueError(f"shards: {error}") from error


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

    train: TrainConfig | None = None
    """Set to train on, or a mixture of sets."""
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
    remote: RemoteConfig = RemoteConfig()
    augment: AugmentConfig = AugmentConfig()
    log_samples: bool = False
    """Write the ids of every micro-batch into the run folder (proves that none is missed or seen twice)."""
