"""Benchmarks of pictures."""

from __future__ import annotations

from mien.benchmarks.base import Benchmark

STATIC: dict[str, Benchmark] = {}
"""By name."""
