"""What this machine has and lacks: the first thing to run on a new one."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

State = Literal["ok", "note", "missing"]
_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}
_SPACE_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the table: `note` is a limit to know of, `missing` keeps mien from running."""

    subject: str
    state: State
    detail: str


def examine() -> list[Finding]:
    """Look at Python, libraries, devices, Slurm, tracking and disk; changes nothing, opens no connection."""
    findings = [_python(), *_libraries()]
    if any(finding.state == "missing" for finding in findings):
        return findings  # what follows imports the libraries
    parts: list[Callable[[], Finding]] = [_device, _processes, _triton, _slurm, _tracking, _recipes, _space]
    return findings + [part() for part in parts]


def print_findings(findings: list[Finding], console: Console | None = None) -> None:
    """Print the findings as a table."""
    table = Table(box=None, pad_edge=False)
    for head in ("subject", "state", "detail"):
        table.add_column(head, overflow="fold")
    for finding in findings:
        table.add_row(finding.subject, _MARKS[finding.state], finding.detail)
    (console or Console()).print(table)


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _libraries() -> list[Finding]:
    """Every requirement of the distribution: the unconditional ones must be there, extras are notes."""
    wrong: list[str] = []
    absent: list[str] = []
    extras: list[str] = []
    for text in metadata.requires("mien") or []:
        requirement = Requirement(text)
        extra = requirement.marker is not None and "extra" in str(requirement.marker)
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            (extras if extra else absent).append(requirement.name)
            continue
        if not extra and not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} (needs {requirement.specifier})")
    found = []
    if absent or wrong:
        found.append(Finding("libraries", "missing", f"{', '.join(absent + wrong)}; run `pip install -e .`"))
    else:
        found.append(Finding("libraries", "ok", f"torch {metadata.version('torch')}, all requirements met"))
    if extras:
        detail = (
            f"not installed: {', '.join(sorted(set(extras)))}; `pip install 'mien\\[gpu,demo,dev]'` has them"
        )
        found.append(Finding("extras", "note", detail))
    return found


def _device() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("device", "note", f"no CUDA device; {torch.get_num_threads()} CPU threads")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("device", "ok", ", ".join(names))


def _processes() -> Finding:
    import torch.distributed as dist

    backends = [name for name in ("nccl", "gloo") if getattr(dist, f"is_{name}_available")()]
    if not backends:
        return Finding("processes", "note", "torch has neither NCCL nor Gloo: one process only")
    return Finding("processes", "ok", f"{os.cpu_count()} CPUs, {' and '.join(backends)}")


def _triton() -> Finding:
    try:
        return Finding("triton", "ok", metadata.version("triton"))
    except metadata.PackageNotFoundError:
        return Finding("triton", "note", "not installed: kernels run in plain PyTorch")


def _slurm() -> Finding:
    if shutil.which("sbatch") is None:
        return Finding(
            "slurm", "note", "no sbatch here; `bash slurm/pretrain_emocapclip.sh` runs on this machine"
        )
    return Finding("slurm", "ok", str(shutil.which("sbatch")))


def _tracking() -> Finding:
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    known = netrc.is_file() and "api.wandb.ai" in netrc.read_text(encoding="utf-8", errors="replace")
    if os.environ.get("WANDB_API_KEY") or known:
        return Finding("W&B", "ok", "a key is set: runs are followed online")
    return Finding(
        "W&B", "note", "no key: runs are kept offline; `wandb login`, then `wandb sync RUN/wandb/*`"
    )


def _recipes() -> Finding:
    from mien.recipe import RECIPES, shipped

    count = len(shipped())
    if not count:
        return Finding("recipes", "note", "not in a source checkout: give recipes by path")
    return Finding("recipes", "ok", f"{count} in {RECIPES}")


def _space() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    state: State = "ok" if free >= _SPACE_GB else "note"
    return Finding("disk", state, f"{free:.1f} GB free in {Path.cwd()}")
