"""`mien benchmark`: the five tasks on public sets, and paired tests between two models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mien.errors import MienError

if TYPE_CHECKING:
    from mien.benchmarks.base import Benchmark


class _RunFirst(TyperGroup):
    """`mien benchmark RUN ...` is `mien benchmark run RUN ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


benchmark = typer.Typer(
    cls=_RunFirst,
    no_args_is_help=True,
    help="Score a model on public benchmarks of five tasks; compare two models on the same items.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@benchmark.command(epilog="Example: mien benchmark checkpoints/emocapclip/tiny/RUN --root data/benchmarks")
def run(
    run: Annotated[
        str,
        typer.Argument(
            help="Run folder, or NAME:PATH of published weights: clip, flip, farl, emoclip, "
            "open_clip:CONFIG, or expclip:HEAD,CLIP with two files.",
            show_default=False,
        ),
    ],
    root: Annotated[Path, typer.Option(help="Folder below which the sets lie.", show_default=False)],
    only: Annotated[
        str | None, typer.Option(help="Only these benchmarks, with commas between.", show_default=False)
    ] = None,
    protocol: Annotated[str, typer.Option(help="clean or expclip; a table holds one of them.")] = "clean",
    shots: Annotated[
        bool, typer.Option("--shots", help="Also few-shot, linear probe and retrieval.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the report; default RUN/evaluation/benchmarks-PROTOCOL, or for published weights "
            "benchmarks/FILE/benchmarks-PROTOCOL.",
            show_default=False,
        ),
    ] = None,
    which: Annotated[str, typer.Option(help="Checkpoint of a run: last, best or a step.")] = "last",
    seed: Annotated[int, typer.Option(help="Of intervals, shots and folds.")] = 0,
) -> None:
    """Score a model on every benchmark found; finished ones are not computed again.

    The word `run` may be left out.
    """
    from mien.evaluation.suite.embed import PROTOCOLS
    from mien.evaluation.suite.report import print_results, write_report
    from mien.evaluation.suite.runner import require_one_protocol, run_all
    from mien.evaluation.suite.subject import open_subject

    chosen = next((name for name in PROTOCOLS if name == protocol), None)
    if chosen is None:
        raise MienError(f"unknown protocol '{protocol}'", fix="choose of " + ", ".join(PROTOCOLS))
    sets = _sets(root, only)
    target = out or _default_folder(run) / f"benchmarks-{protocol}"
    require_one_protocol(target, chosen)
    subject = open_subject(run, which)
    results, faults = run_all(subject, sets, chosen, target, shots=shots, seed=seed)
    if results:
        write_report(subject.name, results, target)
        print_results(subject.name, results)
        print(target / "report.html")
    for fault in faults[:-1]:
        print(fault, file=sys.stderr)
    if faults:
        raise faults[-1]


def _default_folder(run: str) -> Path:
    """Beside a run; for published weights `benchmarks/` and the name of their file, of two the first."""
    if Path(run).is_dir():
        return Path(run) / "evaluation"
    return Path("benchmarks") / Path(run.split(":")[-1].split(",")[0]).stem


def _sets(root: Path, only: str | None) -> dict[str, tuple[Benchmark, Path]]:
    """Benchmarks with their folders; raises MienError where one that was asked for is not found."""
    from mien.benchmarks.table import find, get

    if not root.is_dir():
        raise MienError(
            "no such folder", where=root, fix="give the folder that holds the sets, one folder each"
        )
    found = find(root)
    wanted = [get(name.strip()).name for name in only.split(",")] if only else list(found)
    for name in wanted:
        if name not in found:
            raise MienError(
                f"no folder holds {get(name).title}",
                where=root,
                fix=f"expected in one of its folders: {get(name).marker}",
            )
    if not wanted:
        raise MienError(
            "no folder holds a known benchmark", where=root, fix="put each set in a folder of its own there"
        )
    return {name: (get(name), found[name]) for name in wanted}


@benchmark.command(epilog="Example: mien benchmark compare 'out/ours-{seed}' 'out/clip-{seed}' --seeds 0,1,2")
def compare(
    first: Annotated[
        str, typer.Argument(help="Folder that mien benchmark wrote for model A.", show_default=False)
    ],
    second: Annotated[str, typer.Argument(help="The same for model B.", show_default=False)],
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Training seeds, with commas between; they replace {seed} in both.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the table to this file.", show_default=False)
    ] = None,
    draws: Annotated[int, typer.Option(min=100, max=100_000, help="Resamplings.")] = 2000,
) -> None:
    """Paired differences between two models with intervals and p: a benchmark, a task, over all."""
    from mien.engine.rundir import write_atomic
    from mien.evaluation.suite.paired import compare as test
    from mien.evaluation.suite.paired import markdown

    sides = []
    for side in (first, second):
        if seeds and "{seed}" not in side:
            raise MienError(
                "--seeds needs {seed} in a folder's name", where=side, fix="write it as 'out/ours-{seed}'"
            )
        names = [side.replace("{seed}", seed.strip()) for seed in seeds.split(",")] if seeds else [side]
        sides.append([Path(name) for name in names])
    text = markdown(test(sides[0], sides[1], n=draws))
    print(text, end="")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, text)
