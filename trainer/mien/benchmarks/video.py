"""Benchmarks of clips."""

from __future__ import annotations

from mien.benchmarks.afew import AFEW
from mien.benchmarks.base import Benchmark
from mien.benchmarks.crema_d import CREMA_D
from mien.benchmarks.dfew import DFEW
from mien.benchmarks.enterface05 import ENTERFACE05
from mien.benchmarks.ferv39k import FERV39K
from mien.benchmarks.mafw import MAFW, MAFW_COMPOUND
from mien.benchmarks.ravdess import RAVDESS

VIDEO: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (DFEW, FERV39K, MAFW, AFEW, MAFW_COMPOUND, CREMA_D, RAVDESS, ENTERFACE05)
}
"""By name."""
