"""The `mien` command: thin, one function a sub-command. Heavy modules are imported when a command runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from mien import __version__, cli_demo, cli_edit, cli_import, cli_predict, cli_sweep
from mien.cli_benchmark import benchmark
from mien.cli_data import data
from mien.cli_mine import mine
from mien.cli_plan import plan
from mien.errors import MienError

app = typer.Typer(
    name="mien",
    help="Train facial-affect models at scale: one recipe, one engine, exact resume.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data")
app.add_typer(benchmark, name="benchmark")
app.command(epilog="Example: mien plan emocapclip/vitl14 --nodes 8 --gpu h100 --plot memory.png")(plan)
app.command(epilog="Example: mien mine RUN data/emocap/train neighbours.safetensors --report mined")(mine)

Run = Annotated[Path, typer.Argument(help="Run folder, as `mien train` printed it.", show_default=False)]
Which = Annotated[str, typer.Option(help="Checkpoint: last, best or a step.")]


def main() -> None:
    """Run the command; a fault of the input is told in plain lines and ends with exit code 2."""
    try:
        app(prog_name="mien")
    except MienError as error:
        print(error, file=sys.stderr)
        _leave(2)
    except SystemExit as leaving:
        _leave(leaving.code)


def _leave(code: str | int | None) -> NoReturn:
    """End the process, at once where a tracker's thread hangs in a server that does not answer."""
    patient = sys.modules.get("mien.engine.patient")
    if patient is not None and patient.left_behind and not isinstance(code, str):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command(epilog="Example: mien train emocapclip/tiny engine.max_steps=200 seed=1 --resume")
def train(
    recipe: Annotated[str, typer.Argument(help="YAML file, or a name below recipes/.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Change keys of the recipe.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the newest run of this recipe under run.root, or start one."),
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Print the resolved recipe and its hash; train nothing.")
    ] = False,
) -> None:
    """Train a recipe; the last line printed is the run folder."""
    from mien import engine
    from mien import recipe as recipes

    loaded = recipes.load(recipe, overrides or [])
    if show:
        print(recipes.to_yaml(loaded), end="")
        print(f"# sha256 {loaded.hash}")
        return
    folder = engine.run(loaded, resume=resume)
    if _is_first_rank():
        print(folder, flush=True)


cli_sweep.add_to(app)


def _is_first_rank() -> bool:
    from lightning.pytorch.utilities import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


@app.command(
    epilog="Example: mien evaluate checkpoints/emocapclip/tiny/RUN --protocol zero_shot --test data/test"
)
def evaluate(
    run: Run,
    test: Annotated[Path, typer.Option(help="Shard set to score on.", show_default=False)],
    protocol: Annotated[
        str, typer.Option(help="zero_shot, linear_probe, retrieval, or classify for a fine-tuned run.")
    ] = "zero_shot",
    train: Annotated[
        Path | None,
        typer.Option(help="Shard set for the probe and the trained baselines.", show_default=False),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Also write the table to this file.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the report; default RUN/evaluation/PROTOCOL.", show_default=False),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="majority, hog or cnn; repeat for more. Default: majority and hog.", show_default=False
        ),
    ] = None,
    task: Annotated[
        str, typer.Option(help="emotion, or au for the linear probe of action units.")
    ] = "emotion",
    classes: Annotated[
        str | None, typer.Option(help="Keep only these labels, with commas between.", show_default=False)
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(help="Prompt set: a packaged name or a YAML file.", show_default=False)
    ] = None,
    which: Which = "last",
    seed: Annotated[int, typer.Option(help="Of folds, bootstrap and the CNN.")] = 0,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Let people be in both sets.")
    ] = False,
) -> None:
    """Score a run against baselines with intervals over people; writes a table and report.html."""
    from mien.evaluation import evaluate as score
    from mien.evaluation import print_table

    report = score(
        run,
        protocol,
        test,
        train,
        out,
        prompts=prompts,
        baselines=tuple(baseline or ("majority", "hog")),
        task=task,
        classes=[name.strip() for name in classes.split(",")] if classes else None,
        allow_overlap=allow_overlap,
        which=which,
        seed=seed,
        progress=lambda line: print(line, file=sys.stderr),
    )
    if json is not None:
        report.write_json(json)
    print_table(report)


cli_predict.add_to(app)
cli_edit.add_to(app)
cli_demo.add_to(app)
cli_import.add_to(app)


@app.command(epilog="Example: mien runs checkpoints --state running")
def runs(
    root: Annotated[Path, typer.Argument(help="Folder below which runs lie.")] = Path("checkpoints"),
    state: Annotated[
        str | None,
        typer.Option(
            help="Only new, running, finished, pruned, stopped, failed, killed or imported ones.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Also write the list to this file.", show_default=False)
    ] = None,
) -> None:
    """List runs, the newest first: state, step, newest checkpoint, metric, size, folder."""
    from mien.engine.runs import find, print_runs, write_json

    found = find(root, state)
    print_runs(found)
    if json is not None:
        write_json(found, json)


@app.command(epilog="Example: mien doctor")
def doctor() -> None:
    """Say what this machine has, what is missing and how to get it; exit code 2 if mien cannot run."""
    from mien.doctor import examine, print_findings

    findings = examine()
    print_findings(findings)
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(2)
