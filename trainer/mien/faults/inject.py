"""Faults inside a session's own process, by name; each takes plain values."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any


def apply(faults: Mapping[str, Any]) -> None:
    """Install faults in this process: `{"poison": [4, 8], "hang": 3}`."""
    for name, value in faults.items():
        _FAULTS[name](value)


def _poison(steps: list[int]) -> None:
    """The loss of these steps (done before) is not a number."""
    _change_loss(lambda loss, step: loss * float("nan") if step in steps else loss)


def _hang(at: int) -> None:
    """This step (done before) never ends."""

    def change(loss: Any, step: int) -> Any:
        if step == at:
            wait_for_ever()
        return loss

    _change_loss(change)


def wait_for_ever() -> None:
    """Stand still, under a name that shows in a stack."""
    while True:
        time.sleep(1)


def _clock(jump: tuple[int, float]) -> None:
    """From a step (done before) on, the wall clock is so many seconds off."""
    at, seconds = jump
    true, now = time.time, 0.0

    def change(loss: Any, step: int) -> Any:
        nonlocal now
        now = seconds if step >= at else 0.0
        return loss

    time.time = lambda: true() + now
    _change_loss(change)


def _slow_writes(seconds: float) -> None:
    """Every part of a checkpoint takes so long to write."""
    from mien.engine import pieces

    write = pieces.write

    def slow(*args: Any) -> None:
        time.sleep(seconds / 2)
        write(*args)
        time.sleep(seconds / 2)

    pieces.write = slow  # type: ignore[assignment]


def _patience(seconds: float) -> None:
    """Wait so long for another job's lock."""
    from mien.engine import lock

    lock.PATIENCE_S = seconds


def _change_loss(change: Callable[[Any, int], Any]) -> None:
    """Whatever system the session trains."""
    from mien.systems import SYSTEMS

    for name, system in SYSTEMS.items():
        SYSTEMS[name] = replace(system, build=_changed(system.build, change))


def _changed(build: Callable[[Any], Any], change: Callable[[Any, int], Any]) -> Callable[[Any], Any]:
    def built(recipe: Any) -> Any:
        module = build(recipe)
        healthy = module.loss

        def loss(batch: Any, step: int) -> Any:
            total, logs = healthy(batch, step)
            return (change(total, step) if module.training else total), logs

        module.loss = loss
        return module

    return built


_FAULTS: dict[str, Callable[[Any], None]] = {
    "poison": _poison,
    "hang": _hang,
    "clock": _clock,
    "slow_writes": _slow_writes,
    "patience": _patience,
}
