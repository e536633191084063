"""Sessions of the tests: see `mien.faults.sessions`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mien.faults import sessions
from mien.faults.sessions import rank_environments


class Session(sessions.Session):
    """With the faults of the tests: poisoned steps, a step that hangs, little patience for a lock."""

    def __init__(
        self,
        overrides: Iterable[str],
        log: Path,
        *,
        recipe: str = "emocapclip/tiny",
        resume: bool = False,
        environment: Mapping[str, str] | None = None,
        poison: Iterable[int] = (),
        hang: int | None = None,
        patience_s: float | None = None,
    ) -> None:
        wanted: dict[str, Any] = {"poison": list(poison) or None, "hang": hang, "patience": patience_s}
        faults = {name: value for name, value in wanted.items() if value is not None}
        super().__init__(overrides, log, recipe=recipe, resume=resume, environment=environment, faults=faults)


def ranks(
    world: int,
    overrides: Iterable[str],
    folder: Path,
    *,
    recipe: str = "emocapclip/tiny",
    resume: bool = False,
    poison: Mapping[int, Iterable[int]] | None = None,
    hang: Mapping[int, int] | None = None,
) -> list[Session]:
    """Start `world` ranks as torchrun would: one job, one address."""
    return [
        Session(
            overrides,
            folder / f"rank{rank}-of-{world}.log",
            recipe=recipe,
            resume=resume,
            environment=environment,
            poison=(poison or {}).get(rank, ()),
            hang=(hang or {}).get(rank),
        )
        for rank, environment in enumerate(rank_environments(world))
    ]
