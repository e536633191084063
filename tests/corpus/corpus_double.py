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
