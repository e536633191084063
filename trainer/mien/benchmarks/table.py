"""Every benchmark by name, and those that a folder of folders holds."""

from __future__ import annotations

import difflib
from pathlib import Path

from mien.benchmarks.base import Benchmark
from mien.benchmarks.static import STATIC
from mien.benchmarks.video import VIDEO
from mien.errors import DataError

BENCHMARKS: dict[str, Benchmark] = STATIC | VIDEO
"""In the order of the published table (emocapclip spec, section 6.2)."""


def get(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        DataError: if there is none, with the nearest name.
    """
    if name not in BENCHMARKS:
        close = difflib.get_close_matches(name, BENCHMARKS, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(BENCHMARKS)}"
        raise DataError(f"no benchmark called {name!r}", where="benchmark", fix=fix)
    return BENCHMARKS[name]


def find(root: str | Path) -> dict[str, Path]:
    """Benchmarks whose folder lies in `root`, by name; two uses of one set share its folder.

    A folder counts when it holds the benchmark's marker; what it lacks beyond that is told when it is opened.
    """
    folders = sorted(entry for entry in Path(root).iterdir() if entry.is_dir())
    found: dict[str, Path] = {}
    for name, benchmark in BENCHMARKS.items():
        for folder in folders:
            if next(folder.glob(benchmark.marker), None) is not None:
                found[name] = folder
                break
    return found
