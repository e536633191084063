"""What the log rows are made of: means of losses since the last row, and where the time of a step went."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "4090": 165e12}
"""Dense bfloat16 FLOP/s by part of the device name, from the vendor's data sheets."""


class Window:
    """Sums of logged values since the last row.

    Values stay on their device until `mean` is read, so a step does not wait for the device. Values of a step
    count only after `keep_step`; `drop_step` forgets those of a step that the guard skipped.
    """

    def __init__(self) -> None:
        self._open: list[Mapping[str, Tensor | float]] = []
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        """Note 0-d values of the current step; repeated names are averaged."""
        self._open.append({k: v.detach() if isinstance(v, Tensor) else v for k, v in values.items()})

    def drop_step(self) -> None:
        """Forget the current step."""
        self._open = []

    def keep_step(self) -> None:
        """Take the current step into the sums."""
        for values in self._open:
            for name, value in values.items():
                number = torch.as_tensor(value, dtype=torch.float64)
                self._sums[name] = self._sums[name] + number if name in self._sums else number
                self._counts[name] = self._counts.get(name, 0) + 1
        self._open = []

    def state_dict(self) -> dict[str, list[float]]:
        """[sum, count] of each name, as numbers."""
        return {name: [float(total), self._counts[name]] for name, total in self._sums.items()}

    def load_state_dict(self, saved: dict[str, list[float]]) -> None:
        """Continue from saved sums."""
        self._open = []
        self._sums = {name: torch.tensor(total, dtype=torch.float64) for name, (total, _) in saved.items()}
        self._counts = {name: int(count) for name, (_, count) in saved.items()}

    def clear(self) -> None:
        """Start anew."""
        self.load_state_dict({})


class TimedStream:
    """A stream that knows how long its consumer waited for it, and can be told that no more is wanted.

    Args:
        stream: iterable of batches, iterated by a generator.
    """

    def __init__(self, stream: Iterable[Any]) -> None:
        self._stream = stream
        self._batches: Iterator[Any] = iter(())
        self.waited = 0.0

    def __iter__(self) -> Iterator[Any]:
        self._batches = iter(self._stream)
        while True:
            start = time.perf_counter()
            try:
                batch = next(self._batches)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - start
            yield batch

    def close(self) -> None:
        """End the stream and its workers, which Lightning's references would keep until the process ends."""
        if isinstance(self._batches, Generator):
            self._batches.close()


class Speed:
    """Splits wall time into waiting for data and computing, step by step.

    Args:
        samples: samples a step, over all ranks.
        stream: the stream of this rank.
        productive_s: computing time of earlier sessions that survives.
    """

    def __init__(self, samples: int, stream: TimedStream, productive_s: float = 0.0) -> None:
        self.samples = samples
        self.stream = stream
        self.productive_s = productive_s
        self._recent: deque[tuple[float, float]] = deque(maxlen=50)
        self.mark()

    def mark(self) -> None:
        """A step begins now: what happened since the last one (validation, a save) is not part of it."""
        self._start = time.perf_counter()
        self._waited = self.stream.waited

    def step(self) -> None:
        """A step ends now."""
        total = time.perf_counter() - self._start
        data = min(self.stream.waited - self._waited, total)
        self._recent.append((total, data))
        self.productive_s += total - data

    def row(self) -> dict[str, float]:
        """Medians over the last steps: samples/s, seconds a step, and seconds of it waiting for data."""
        if not self._recent:
            return {}
        step = statistics.median(total for total, _ in self._recent)
        data = statistics.median(data for _, data in self._recent)
        return {
            "perf/samples_per_s": self.samples / max(step, 1e-9),
            "perf/step_s": step,
            "perf/data_s": data,
        }


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Peak FLOP/s of the device where it is known: bfloat16 on a listed GPU, else None."""
    if device.type != "cuda" or precision != "bf16":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)


class FlopMeter:
    """Counts the FLOPs of one forward pass; a training step costs three times that (Kaplan et al., 2020)."""

    def __init__(self) -> None:
        self._counter = FlopCounterMode(display=False)

    def __enter__(self) -> FlopMeter:
        self._counter.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._counter.__exit__(*error)

    @property
    def step_flops(self) -> float:
        """FLOPs of forward and backward."""
        return 3.0 * self._counter.get_total_flops()
