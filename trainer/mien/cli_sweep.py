"""`mien sweep`, and the steps of it that a Slurm job calls one by one."""

from __future__ import annotations

import shlex
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import RunError

if TYPE_CHECKING:
    from mien.sweep.study import Sweep

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the sweep (trials=3), else of its recipe."),
]
_ASK_S = 5.0
Root = Annotated[Path, typer.Argument(help="Folder of a trial.", show_default=False)]


def sweep(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP",
            help="YAML file, a name below recipes/sweeps/, or a sweep's folder.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    here: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Take at most N trials, then stop.", show_default=False),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time.")] = 1,
    status: Annotated[
        bool, typer.Option("--status", help="Print how the trials stand; train nothing.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write report.html, trials.csv and trials.json; train nothing.")
    ] = False,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Print the sbatch line that runs it as an array; train nothing.")
    ] = False,
) -> None:
    """Train many trials of a recipe; run again after any death, it continues."""
    if slurm:
        print(_sbatch_line(source, overrides or []))
        return
    if status or report:
        _show(source, overrides or [], status, report)
        return
    from mien.sweep.report import write_report
    from mien.sweep.status import print_status
    from mien.sweep.worker import Worker

    begun = _begin(source, overrides or [])
    code = Worker(begun, jobs, here).run()
    print_status(begun)
    print(write_report(begun), flush=True)
    raise typer.Exit(code)


def take(source: str, overrides: Overrides = None) -> None:
    """Claim a trial for this Slurm job; print its folder and the claim's number, nothing if none is left.

    Waits while a trial's holder is being watched for signs of life.
    """
    from mien.sweep import claims

    for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(signum, _leave)
    begun = _begin(source, overrides or [])
    claim, watching = begun.take(claims.job())
    while claim is None and watching:
        time.sleep(_ASK_S)
        claim, watching = begun.take(claims.job())
    if claim is not None:
        begun.root(claim.trial).mkdir(parents=True, exist_ok=True)
        print(begun.root(claim.trial), claim.generation)


def trial(
    root: Root,
    overrides: Overrides = None,
    claim: Annotated[int | None, typer.Option(help="Number of the claim.", show_default=False)] = None,
) -> None:
    """Train a trial from where it stands."""
    from mien.sweep.trial import train_trial

    train_trial(root, claim, overrides or [])


def give_up(root: Root, reason: str) -> None:
    """Note that a trial cannot be finished, and why."""
    from mien.sweep.trial import fail, open_trial

    fail(*open_trial(root), reason)


def add_to(app: typer.Typer) -> None:
    """Register the commands; those that a Slurm job calls are not listed in the help."""
    app.command(epilog="Example: mien sweep emocapclip_tiny trials=4 engine.max_steps=60 --jobs 2")(sweep)
    for name, step in (("sweep-take", take), ("sweep-trial", trial), ("sweep-fail", give_up)):
        app.command(name, hidden=True)(step)


def _leave(signum: int, frame: object) -> None:
    """End by a signal with the sweep's lock given back; the launcher requeues the job."""
    raise SystemExit(128 + signum)


def _begin(source: str, overrides: list[str]) -> Sweep:
    from mien.sweep import load
    from mien.sweep.study import Sweep

    file = load.find(source)
    if file is None:
        if (Path(source) / "sweep.yaml").is_file():
            return Sweep.open(Path(source))
        raise load.no_such_sweep(source)
    return Sweep.begin(load.load(file, overrides), file)


def _show(source: str, overrides: list[str], status: bool, report: bool) -> None:
    from mien.sweep import load
    from mien.sweep.report import write_report
    from mien.sweep.status import print_status
    from mien.sweep.study import Sweep

    file = load.find(source)
    folder = Path(source)
    if file is not None:
        config = load.load(file, overrides)
        folder = Path(config.root) / config.name
    elif not (folder / "sweep.yaml").is_file() and (Path("checkpoints/sweeps") / source).is_dir():
        folder = Path("checkpoints/sweeps") / source
    begun = Sweep.open(folder)
    if status:
        print_status(begun)
    if report:
        print(write_report(begun))


def _sbatch_line(source: str, overrides: list[str]) -> str:
    from mien.recipe import RECIPES
    from mien.sweep import load

    file = load.find(source)
    if file is None:
        raise load.no_such_sweep(source)
    config = load.load(file, overrides)
    load.try_points(config, load.base_recipe(config, file), file)
    script = RECIPES.parent / "slurm" / "sweep.sh"
    if not script.is_file():
        raise RunError("no launcher here", where=script, fix="work in a checkout of mien")
    words = ["sbatch", f"--array=0-{config.total - 1}", str(script), str(file), *overrides]
    return shlex.join(words)
