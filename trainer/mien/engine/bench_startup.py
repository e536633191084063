"""From `mien train` to the first step, and from `--resume` to the next, by part.

    python -m mien.engine.bench_startup --data data/emocap [--rounds 5] [key=value ...]

Each round starts a run of the tiny recipe in a process of its own, ends it after two steps, and resumes it
for two more. Beside them: what a process takes that only imports the libraries.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from mien.engine.runs import find

_LIBRARIES = "import torch, lightning.pytorch, open_clip, wandb"
Parts = dict[str, float]


def measure(
    data: Path, rounds: int, overrides: Sequence[str]
) -> tuple[list[Parts], list[Parts], list[float]]:
    """Parts of every start and resume, and seconds that importing alone takes; a value a round."""
    starts, resumes, libraries = [], [], []
    for _ in track(range(rounds), "rounds"):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", _LIBRARIES], check=True)
        libraries.append(time.perf_counter() - began)
        with tempfile.TemporaryDirectory(prefix="mien-startup-") as root:
            sets = [f"data.{name}.shards={data / name}" for name in ("train", "val")]
            keys = [*sets, "engine.schedule.warmup=1", *overrides]
            for steps in (2, 4):
                _train([*keys, f"engine.max_steps={steps}", f"run.root={root}"])
            (run,) = find(Path(root))
            first, second = _sessions(run.path)
        starts.append(first)
        resumes.append(second)
    return starts, resumes, libraries


def _train(keys: list[str]) -> None:
    command = [sys.executable, "-m", "mien", "train", "emocapclip/tiny", "--resume", *keys]
    done = subprocess.run(
        command, env=os.environ | {"WANDB_MODE": "offline"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)


def _sessions(run: Path) -> list[Parts]:
    from mien.engine.rundir import RunFolder

    return [session["startup"] for session in RunFolder(run).info["sessions"]]


def table(starts: list[Parts], resumes: list[Parts], libraries: list[float]) -> str:
    """Medians of each part, and of the sums."""
    lines = ["| seconds | start | resume |", "|---|---:|---:|"]
    for part in starts[0]:
        values = (statistics.median(one[part] for one in ways) for ways in (starts, resumes))
        lines.append(f"| {part} | {' | '.join(f'{value:.2f}' for value in values)} |")
    sums = [statistics.median(sum(one.values()) for one in ways) for ways in (starts, resumes)]
    lines.append(f"| **to the end of the first step** | {sums[0]:.2f} | {sums[1]:.2f} |")
    lines.append(f"| a process that imports the libraries | {statistics.median(libraries):.2f} | |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m mien.engine.bench_startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=Path("data/emocap"), help="sets of `make data`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for every run")
    options = parser.parse_args()
    print(table(*measure(options.data, options.rounds, options.overrides)))


if __name__ == "__main__":
    main()
