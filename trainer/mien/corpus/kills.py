"""Kills builds at random times, and tells whether the shards are those of a build that nobody disturbed.

python -m mien.corpus.kills --seeds 3 --kills 6        # or: make bench-kills
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from mien.corpus.ledger import Row
from mien.faces.movie_draw import make_movie

CALLS = "MIEN_KILLS_CALLS"
"""Environment variable: the file in which the captioner below notes the pictures it was asked for."""

JOBS = 2
"""Captions at a time: so many calls at most may be made again after a kill, twice that with those waiting."""

_LONGEST_S = 600


class NotingCaptioner:
    """Writes one and the same caption, slowly, and notes every call in the file of `CALLS`."""

    name = "mien.kills"
    prompt_sha = "0"
    uses_units = False

    def __call__(self, picture: bytes, units: Mapping[int, tuple[float, float]] | None) -> NotingCaptioner:
        """Note the call; the caption is this object."""
        with open(os.environ[CALLS], "a", encoding="utf-8") as file:
            file.write(hashlib.sha256(picture).hexdigest()[:16] + "\n")
        time.sleep(0.1)
        return self

    def record(self) -> Row:
        """The caption keys of a record."""
        seen = (("The lips part.", "mouth"), ("The brows rise.", "brows"), ("The lids rise.", "eyes"))
        parts: list[Row] = [
            {"text": text, "region": region, "au": [], "intensity": None} for text, region in seen
        ]
        return {"global": "The face is calm.", "locals": parts, "summary": "Little of it stirs."}


def make_captioner() -> NotingCaptioner:
    """For `--captioner mien.corpus.kills:make_captioner`."""
    return NotingCaptioner()


@dataclass(frozen=True)
class Outcome:
    """Of one seed: kills by what had been begun, calls made again, whether the shards are the same."""

    kills: Counter[str]
    again: int
    same: bool


def try_seed(movie: Path, folder: Path, whole: Path, seconds: float, seed: int, kills: int) -> Outcome:
    """Kill a build `kills` times at random, then let it end.

    Args:
        movie: folder of movies.
        folder: of this try; absent.
        whole: the corpus of an undisturbed build.
        seconds: that it took.
        seed: of the times.
        kills: at most; a build that ends before its time is not killed.
    """
    rng, counts, out, calls = random.Random(seed), Counter[str](), folder / "corpus", folder / "calls"
    folder.mkdir(parents=True)
    for _ in range(kills):
        build = start(movie, out, calls)
        try:
            build.wait(rng.uniform(0.1, 0.5) * seconds)
        except subprocess.TimeoutExpired:
            build.send_signal(signal.SIGKILL)
            build.wait()
            counts[_reached(out)] += 1
    end(start(movie, out, calls))
    asked = Counter(calls.read_text(encoding="utf-8").split())
    return Outcome(counts, sum(asked.values()) - len(asked), contents(out) == contents(whole))


def start(movie: Path, out: Path, calls: Path) -> subprocess.Popen[bytes]:
    """A build in a process of its own."""
    words = ["--captioner", "mien.corpus.kills:make_captioner", "--jobs", str(JOBS), "--set", "side=88"]
    return subprocess.Popen(
        [sys.executable, "-m", "mien", "data", "emocap", "build", str(movie), str(out), *words],
        env={**os.environ, CALLS: str(calls)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def end(build: subprocess.Popen[bytes]) -> None:
    """Wait for a build; one that fails stops everything, with what it said."""
    _, told = build.communicate(timeout=_LONGEST_S)
    if build.returncode:
        raise SystemExit(f"a build that nobody killed failed:\n{told.decode(errors='replace')}")


def contents(out: Path) -> dict[str, str]:
    """SHA-256 of every ledger and of every file of the shards, by path."""
    files = [*out.glob("work/*/*.jsonl"), *out.glob("shards/*/*")]
    ledgers = [path for path in files if not path.name.startswith(("captions-", "verdicts-"))]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in ledgers}


def _reached(out: Path) -> str:
    """The last thing that a killed build left."""
    steps = {"captions": "captions-*.jsonl", "dedup": "dedup.jsonl", "gates": "gates.jsonl*"}
    steps |= {"faces": "faces.jsonl*", "shots": "shots.jsonl*"}
    found = [step for step, pattern in steps.items() if any(out.glob(f"work/*/{pattern}"))]
    return "shards" if (out / "shards").is_dir() else found[0] if found else "start"


def main(seeds: int = 3, kills: int = 6, seconds: float = 12.0) -> None:
    """Print a table, one row a seed; exit code 1 if any build came out otherwise."""
    print("| seed | kills | killed in | calls made again | shards and ledgers the same |")
    print("|---:|---:|---|---:|---|")
    with tempfile.TemporaryDirectory(prefix="mien-kills-") as place:
        root = Path(place)
        movie = make_movie(
            root / "m", seconds=seconds, people=5, seed=4, width=640, height=400, fps=8, shot_seconds=1.25,
            progress=False,
        )  # fmt: skip
        begun = time.monotonic()
        end(start(movie, root / "whole", root / "calls"))
        took = time.monotonic() - begun
        wrong = 0
        for seed in range(seeds):
            done = try_seed(movie, root / str(seed), root / "whole", took, seed, kills)
            wrong += not done.same
            told = ", ".join(f"{step} {count}" for step, count in sorted(done.kills.items()))
            same = "yes" if done.same else "NO"
            print(f"| {seed} | {done.kills.total()} | {told} | {done.again} | {same} |", flush=True)
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
