"""Benchmarks of clips."""

from __future__ import annotations

from mien.benchmarks.base import Benchmark

VIDEO: dict[str, Benchmark] = {}
"""By name."""
