"""What a user can choose about pairs made from videos."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mien.corpus.options import FaceOptions
from mien.editing.crop import SHARE
from mien.systems.editing.pair_rules import PairRules


class PairOptions(FaceOptions):
    """Defaults are those of the magicface spec, section 2, where it states any."""

    score: float = Field(0.7, ge=0, le=1)
    """Lowest score of the detector."""
    side: float = Field(150.0, ge=12, le=4000)
    """Lowest short side of a face's box, pixels."""
    parts: dict[str, float] = {"train": 0.9, "val": 0.1}
    """Shares of the parts; no identity is in two of them."""
    split: Literal["video", "identity"] = "video"
    """What is dealt to the parts: whole videos, or the people of all videos, where each person is in one."""
    size: int = Field(512, ge=32, le=2048)
    """Side of the stored pictures, pixels."""
    share: float = Field(SHARE, gt=0, le=1)
    """Width of the detector's box as a part of that side."""
    mirrored: float = Field(0.25, ge=0, le=1)
    """Largest part of a picture that lies outside the frame and is mirrored."""
    quality: int = Field(95, ge=95, le=100)
    """Of the pictures' JPEG."""
    faces: int = Field(24, ge=2, le=500)
    """Most pictures of a track."""
    pairs: int = Field(32, ge=1, le=10_000)
    """Most pairs of a track."""
    alike: float = Field(0.5, ge=-1, le=1)
    """Least cosine of the mean identity rows of two tracks of a video for one person."""
    change: float = Field(PairRules.change, ge=0, le=60)
    """As in `pair_rules.PairRules`."""
    calm: float = Field(PairRules.calm, ge=0, le=60)
    """The same."""
    calm_share: float = Field(PairRules.calm_share, ge=0, le=1)
    """The same."""
    identity: float = Field(PairRules.identity, ge=0, le=1)
    """The same."""
    rare_gain: float = Field(PairRules.rare_gain, ge=1, le=1000)
    """The same."""

    @property
    def rules(self) -> PairRules:
        """What makes a pair."""
        return PairRules(self.change, self.calm, self.calm_share, self.identity, rare_gain=self.rare_gain)
