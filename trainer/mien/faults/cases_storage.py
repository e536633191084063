"""Faults of disks: torn and flipped checkpoints, no room, damaged shards."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from mien.data.check import check
from mien.faults.compare import only_run
from mien.faults.lab import EVERY, Case, Lab, Outcome, reached
from mien.faults.shards import damage

_FILES = ("state.pt", "part-00000-of-00001.safetensors", "manifest.json")


def _damaged_checkpoint(lab: Lab, root: Path, chance: random.Random, hurt: Callable[[Path], None]) -> Outcome:
    (session,) = lab.start(root)
    session.until(reached(root, chance.randint(2 * EVERY + 2, 3 * EVERY)))
    session.kill()
    newest = only_run(root).store.path(2 * EVERY)
    if not newest.is_dir():
        return Outcome(False, "no checkpoint to damage")
    hurt(newest / chance.choice(_FILES))
    run = lab.finish(root)
    said = "".join(log.read_text() for log in root.glob("*.log"))
    if "checkpoint passed over" not in said:
        return Outcome(False, "the damage was not noticed")
    return lab.same(run, said=" from the one before")


def torn(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """The newest checkpoint is cut short."""

    def hurt(file: Path) -> None:
        with file.open("r+b") as handle:
            handle.truncate(chance.randrange(file.stat().st_size))

    return _damaged_checkpoint(lab, root, chance, hurt)


def flipped(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """One bit of the newest checkpoint is another."""

    def hurt(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)

    return _damaged_checkpoint(lab, root, chance, hurt)


def full(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """The disk of the run, a small tmpfs, fills up; with room again the run goes on."""
    root.mkdir(parents=True)
    with _small_disk(root / "disk") as disk:
        runs = disk / "runs"
        (session,) = lab.start(runs, "engine.checkpoint_every=3")
        session.until(reached(runs, chance.randint(4, 12)))
        session.pause()
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(bytes(max(0, free - chance.randrange(1, 200_000))))
        session.proceed()
        code = session.wait()
        if code != 2 or not ("no room" in session.said() or "No space left" in session.said()):
            return Outcome(False, f"code {code}: {session.said()[-300:]}")
        (disk / "filler").unlink()
        run = lab.finish(runs, "engine.checkpoint_every=3")
        return lab.same(run, "engine.checkpoint_every=3", said=" after code 2")


@contextlib.contextmanager
def _small_disk(at: Path) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "mien-faults", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def _shard(kind: str, where: str) -> Case:
    """A case of a damaged shard: told before training, or while training, and nothing is written outside."""

    def case(lab: Lab, root: Path, chance: random.Random) -> Outcome:
        root.mkdir(parents=True)
        bad = damage(lab.train, root / "bad", kind, chance)
        (session,) = lab.start(root / "runs", f"data.train.shards={bad}")
        code, said = session.wait(), session.said()
        if {entry.name for entry in root.iterdir()} - {"bad", "runs"} or any(root.parent.glob("outside*")):
            return Outcome(False, "wrote outside")
        checked = _check(bad)
        told = code == 2 and "Traceback" not in said
        if where == "before":
            begun = any((root / "runs").glob("*/*/*/checkpoints/step-*"))
            return Outcome(told and not begun and checked, "refused before training, code 2")
        if where == "check":
            return Outcome(checked, "named by `mien data check`, code 2")
        return Outcome(told and checked, "quarantined, then code 2; named by `mien data check`")

    return case


def _check(folder: Path) -> bool:
    return not check(folder).ok


CASES: dict[str, Case] = {
    "torn checkpoint": torn,
    "bit-flipped checkpoint": flipped,
    "disk full": full,
    "shard truncated": _shard("truncated", "before"),
    "shard missing": _shard("missing", "before"),
    "shard bit-flipped": _shard("flipped", "check"),
    "shard with a path traversal name": _shard("traversal", "train"),
    "shard with a pickle member": _shard("pickle", "train"),
    "shard with a decompression bomb": _shard("bomb", "train"),
}
