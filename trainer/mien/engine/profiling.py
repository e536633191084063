"""Looking into steps with torch's profiler: a trace on request, and how long collectives take in one step."""

from __future__ import annotations

import gzip
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from mien.engine.config import ProfileConfig

log = logging.getLogger("mien.engine")
_SAMPLED = 5
"""Step of a session, counted from 1, whose collectives are timed: late enough that nothing is new."""
_COLLECTIVES = ("gloo:", "nccl:", "nccldevkernel")
_COMPUTES = ("aten::", "mien", "triton_")
Interval = tuple[float, float]


class Profiling:
    """Profiles some steps of a session; call `before` and `after` around each.

    Args:
        config: which steps to trace.
        folder: receives `trace-rank<r>.json.gz` (for chrome://tracing or Perfetto) and `ops-rank<r>.txt`.
        start: steps done before the session.
        rank: this process.
        world: processes.
    """

    def __init__(self, config: ProfileConfig, folder: Path, start: int, rank: int, world: int) -> None:
        self.config = config
        self.communication: dict[str, float] = {}
        """`perf/comm_s`, seconds of a step in which a collective is under way, and `perf/comm_alone_s`, those
        in which nothing computes meanwhile; empty until known, and with one process."""
        self._folder = folder
        self._start = start
        self._rank = rank
        self._world = world
        self._profiler: Any = None
        self._tracing = False

    def before(self, step: int) -> None:
        """Step number `step` (from 1) begins."""
        if self._profiler is not None:
            return
        first = self.config.start
        self._tracing = first is not None and first <= step < first + self.config.steps
        sampling = self._world > 1 and step - self._start == _SAMPLED and not self._rank
        if self._tracing or sampling:
            kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
            os.environ.setdefault(
                "KINETO_LOG_LEVEL", "99"
            )  # it prints of its own, and an error without a GPU
            self._profiler = profile(activities=kinds, record_shapes=self._tracing)
            self._profiler.__enter__()

    def after(self, step: int) -> None:
        """Step number `step` has ended."""
        first = self.config.start or 0
        if self._profiler is None or (self._tracing and step < first + self.config.steps - 1):
            return
        self.close()

    def close(self) -> None:
        """End what is under way and write it."""
        if self._profiler is None:
            return
        profiler, self._profiler = self._profiler, None
        profiler.__exit__(None, None, None)
        if self._tracing:
            self._write(profiler)
        elif not self._rank:
            self.communication = communication(profiler.events())

    def _write(self, profiler: Any) -> None:
        self._folder.mkdir(exist_ok=True)
        plain = self._folder / f"trace-rank{self._rank}.json"
        profiler.export_chrome_trace(str(plain))
        with plain.open("rb") as trace, gzip.open(f"{plain}.gz", "wb") as packed:
            shutil.copyfileobj(trace, packed)
        plain.unlink()
        key = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        table = profiler.key_averages().table(sort_by=key, row_limit=60)
        (self._folder / f"ops-rank{self._rank}.txt").write_text(table, encoding="utf-8")
        if not self._rank:
            log.warning("trace of %d steps: %s.gz", self.config.steps, plain)


def communication(events: Iterable[Any]) -> dict[str, float]:
    """Seconds in which a collective is under way, in all and while nothing computes.

    Args:
        events: of one step, with `name` and `time_range` in microseconds.
    """
    collectives: list[Interval] = []
    computing: list[Interval] = []
    for event in events:
        name = event.name.lower()
        span = (event.time_range.start, event.time_range.end)
        if name.startswith(_COLLECTIVES):
            collectives.append(span)
        elif (
            name.startswith(_COMPUTES)
            or getattr(event, "device_type", None) == torch.autograd.DeviceType.CUDA
        ):
            computing.append(span)
    busy, both = _length(_union(collectives)), _union(computing)
    overlapped = _length(_common(_union(collectives), both))
    return {"perf/comm_s": busy / 1e6, "perf/comm_alone_s": (busy - overlapped) / 1e6}


def _union(spans: list[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _common(one: list[Interval], other: list[Interval]) -> list[Interval]:
    found, place = list[Interval](), 0
    for start, end in one:
        while place < len(other) and other[place][1] <= start:
            place += 1
        ahead = place
        while ahead < len(other) and other[ahead][0] < end:
            found.append((max(start, other[ahead][0]), min(end, other[ahead][1])))
            ahead += 1
    return found


def _length(spans: list[Interval]) -> float:
    return sum(end - start for start, end in spans)
