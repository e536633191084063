"""From seconds a step to hours and GPU-hours of a run, with checkpoints and failures."""

from __future__ import annotations

from dataclasses import dataclass

from mien.plan.assume import Assumptions


@dataclass(frozen=True)
class Cost:
    """Of a whole run. Seconds, hours."""

    goodput: float
    """Share of the time that makes steps that last: no copying of checkpoints, no repeating, no restarts."""
    hours: float
    gpu_hours: float
    checkpoint_s: float
    """How long a checkpoint holds the loop up: the copy to host memory, and waiting for the one before."""
    write_s: float
    """From there to disk, beside the loop."""
    interval_s: float
    """Between two checkpoints."""
    failures: float
    """Expected in the run."""
    lost: float
    """Share of time that failures cost."""


def cost_of(
    step_s: float, steps: int, every: int, state: float, world: int, shards: int, assume: Assumptions
) -> Cost:
    """A run of `steps` steps on `world` GPUs.

    A failure costs a restart and, on average, half an interval of work. Failures of GPUs are independent.

    Args:
        step_s: seconds a step.
        steps: of the run.
        every: steps between checkpoints.
        state: bytes of a checkpoint.
        world: GPUs.
        shards: ranks that copy and write a checkpoint's parts.
        assume: rates.
    """
    interval = every * step_s
    write = state / assume.storage
    blocked = state / shards / assume.host_link + max(0.0, write - interval)
    saving = interval + blocked
    rate = world / (assume.gpu_hours_between_failures * 3600)
    lost = rate * (assume.restart_s + saving / 2)
    goodput = interval / saving / (1 + lost)
    hours = steps * step_s / goodput / 3600
    return Cost(
        goodput, hours, hours * world, blocked, write, interval, rate * hours * 3600, lost / (1 + lost)
    )
