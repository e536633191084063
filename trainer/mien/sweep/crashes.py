"""How often a run died by itself without getting further: the file that `slurm/launch.sh` counts in, too.

<run root>/failures: newest checkpoint at the last death, and deaths since one got further
"""

from __future__ import annotations

from pathlib import Path

from mien.engine.rundir import write_atomic


def count(root: Path) -> int:
    """Note one more death of the run below a root; gives how many there were since it last got further."""
    file = root / "failures"
    before, deaths = "none", 0
    if file.is_file():
        before, _, number = file.read_text(encoding="utf-8").strip().partition(" ")
        deaths = int(number) if number.isdecimal() else 0
    now = newest(root)
    if now != "none" and (before == "none" or now > before):
        before, deaths = now, 0
    write_atomic(file, f"{before} {deaths + 1}\n")
    return deaths + 1


def newest(root: Path) -> str:
    """Name of the newest checkpoint of the runs below a root; `none` without one."""
    from mien.engine.checkpoint import STEP  # torch loads slowly, and most workers see no death

    names = [path.name for path in root.glob("**/checkpoints/*") if STEP.fullmatch(path.name)]
    return max(names, default="none")
