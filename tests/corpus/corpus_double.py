"""A captioner for processes that are killed: slow, and it notes every call in a file."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping

from mien.corpus.ledger import Row


class Slow:
    """Takes a moment for each caption."""

    name = "slow"
    prompt_sha = "0"

    def __call__(self, picture: bytes, units: Mapping[int, tuple[float, float]] | None) -> Slow:
        with open(os.environ["CALLS"], "a") as file:
            file.write(hashlib.sha256(picture).hexdigest()[:16] + "\n")
        time.sleep(0.05)
        return self

    def record(self) -> Row:
        seen = (
            ("The lips part.", "mouth", 25),
            ("The brows rise.", "brows", 1),
            ("The lids rise.", "eyes", 5),
        )
        parts = [{"text": t, "region": r, "au": [unit], "intensity": "low"} for t, r, unit in seen]
        return {"global": "Calm.", "locals": parts, "summary": "Nothing else stirs."}


def make() -> Slow:
    return Slow()


class Liar:
    """Tells the truth of some faces, a lie on the side of others, and one on which unit acts of the rest.

    The faces do one thing: the left corner of the mouth goes up. It does not look at units.
    """

    name = "liar"
    prompt_sha = "0"
    uses_units = False

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.units: list[Mapping[int, tuple[float, float]] | None] = []

    def __call__(self, picture: bytes, units: Mapping[int, tuple[float, float]] | None) -> Told:
        self.calls.append(picture)
        self.units.append(units)
        mouth = (
            ("The left corner of the mouth is pulled up.", "mouth", [12]),
            ("The right corner of the mouth is pulled up.", "mouth", [12]),
            ("The brows are drawn together.", "brows", [4]),
        )
        return Told(mouth[hashlib.sha256(picture).digest()[0] % 3])


class Told:
    """A caption whose first local sentence is given: text, region, units."""

    def __init__(self, first: tuple[str, str, list[int]]) -> None:
        self.first = first

    def record(self) -> Row:
        seen = (self.first, ("The nose is smooth.", "nose", []), ("The jaw is shut.", "jaw_chin", []))
        parts = [{"text": t, "region": r, "au": au, "intensity": "low" if au else None} for t, r, au in seen]
        return {"global": "A trace of feeling.", "locals": parts, "summary": "It shows in one place only."}


def lie() -> Liar:
    return Liar()
