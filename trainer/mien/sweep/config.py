"""What a sweep file may say: which recipe, which keys over which values, by which method, judged by what."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from mien.config import Config

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


class Dimension(Config):
    """One key of the space: either `values`, or a range `low` to `high`."""

    values: tuple[JsonValue, ...] | None = None
    """The values to choose among."""
    low: float | None = None
    """Least value of a range."""
    high: float | None = None
    """Greatest value of a range; it can be drawn."""
    log: bool = False
    """Draw the logarithm evenly."""
    step: float | None = Field(default=None, gt=0)
    """Only `low`, `low + step`, ...; a grid needs it."""
    whole: bool = Field(default=False, alias="int")
    """Whole numbers only."""

    @model_validator(mode="after")
    def _fits(self) -> Dimension:
        if self.values is not None:
            if self.low is not None or self.high is not None or self.log or self.step or self.whole:
                raise ValueError("give either values, or low and high")
            texts = [json.dumps(value) for value in self.values]
            if not texts or len(set(texts)) < len(texts):
                raise ValueError("values are at least one, each once")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give either values, or low and high")
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.step:
            raise ValueError("a range has log or step, not both")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range begins above 0, not at {self.low:g}")
        if self.whole and any(number % 1 for number in (self.low, self.high, self.step or 1)):
            raise ValueError("a range of whole numbers has whole low, high and step")
        return self

    def grid(self) -> list[Any]:
        """Its values in order; a range gives those at its steps, a range of whole numbers all of them.

        Raises:
            ValueError: if the range has no steps.
        """
        if self.values is not None:
            return list(self.values)
        assert self.low is not None
        assert self.high is not None
        step = self.step or (1.0 if self.whole and not self.log else None)
        if step is None:
            raise ValueError("a grid needs values, or a range with a step")
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        numbers = (round(self.low + i * step, 12) for i in range(count))
        return [int(number) if self.whole else number for number in numbers]

    def ends(self) -> list[Any]:
        """All values, or the two ends of the range."""
        if self.values is not None:
            return list(self.values)
        return [int(end) if self.whole else end for end in (self.low, self.high) if end is not None]


class PruningConfig(Config):
    """When a trial is given up: after a validation that leaves it behind the others."""

    rule: Literal["none", "median", "asha", "hyperband"] = "none"
    """`median`: worse than the median of the others at that step. `asha`: not in the best third of its rung.
    `hyperband`: the same in several brackets."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps that every trial may train; for asha and hyperband the first rung."""
    warmup_trials: int = Field(default=5, ge=0)
    """Trials to finish before the median rule starts; the other rules start at once."""


class SweepConfig(Config):
    """A sweep, completely described."""

    name: str = Field(pattern=rf"^{NAME}$")
    """Name of its folder and of its group at the tracker; default the stem of the file."""
    recipe: str
    """The recipe to start from: a file beside the sweep's, or a name below recipes/."""
    set: dict[str, JsonValue] = {}
    """Recipe keys that are the same in all trials."""
    root: str = Field(default="checkpoints/sweeps", min_length=1)
    """Folder that receives the sweep's folder."""
    method: Literal["grid", "random", "tpe"]
    """`grid` takes all combinations; `random` draws; `tpe` draws where results were good (Bergstra, 2011)."""
    trials: int | None = Field(default=None, ge=1)
    """Points to try; None is all of a grid."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the draws. The seed of the training is the recipe's, or one of `seeds`."""
    seeds: tuple[int, ...] = ()
    """Train every point once with each of these; none keeps the recipe's own seed."""
    metric: str = Field(min_length=1)
    """Column of metrics.csv that judges a trial, such as `val/loss`."""
    mode: Literal["min", "max"]
    """Whether less or more of it is better."""
    value: Literal["last", "best"] = "last"
    """Which of its values counts: that of the last validation, or the best one."""
    space: dict[str, Dimension] = Field(min_length=1)
    """What varies: recipe key -> values or range."""
    pruning: PruningConfig = PruningConfig()

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a seed is there twice")
        return value

    @model_validator(mode="after")
    def _fits(self) -> SweepConfig:
        if self.method == "grid":
            for key, dimension in self.space.items():
                try:
                    dimension.grid()
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from error
        elif self.trials is None:
            raise ValueError(f"trials is missing: say how many points {self.method} draws")
        for key in (*self.set, *self.space):
            if key == "run" or key.startswith("run."):
                raise ValueError(f"{key} is the sweep's to choose; set root")
        if both := sorted(set(self.set) & set(self.space)):
            raise ValueError(f"{both[0]} is both set and in the space")
        if self.seeds and "seed" in self.space:
            raise ValueError("seed is in the space; then seeds stays empty")
        return self

    @property
    def points(self) -> int:
        """Points of the space that are tried."""
        if self.method != "grid":
            assert self.trials is not None
            return self.trials
        size = math.prod(len(dimension.grid()) for dimension in self.space.values())
        return min(size, self.trials or size)

    @property
    def total(self) -> int:
        """Trials in all: points times seeds."""
        return self.points * max(len(self.seeds), 1)

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination; the last key changes fastest."""
        columns = [dimension.grid() for dimension in self.space.values()]
        for row in itertools.product(*columns):
            yield dict(zip(self.space, row, strict=True))

    def dump(self) -> dict[str, Any]:
        """As plain YAML/JSON types, with the keys of the file."""
        return self.model_dump(mode="json", by_alias=True)
