"""`mien mine`: which samples of a whole set are alike, as a table for training and as a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def mine(
    run: Annotated[Path, typer.Argument(help="Run folder, as `mien train` printed it.", show_default=False)],
    place: Annotated[str, typer.Argument(metavar="SET", help="Shard set to mine.", show_default=False)],
    out: Annotated[
        Path | None, typer.Argument(help="Table to write (safetensors).", show_default=False)
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for a report on what each rule mines; new or empty.", show_default=False),
    ] = None,
    rule: Annotated[str, typer.Option(help="consensus, swap, union, text, image or cross.")] = "consensus",
    k: Annotated[int, typer.Option(help="Positives a sample, at most.")] = 4,
    threshold: Annotated[
        float, typer.Option(help="Standard deviations that a positive lies above the mean.")
    ] = 1.5,
    ignore: Annotated[int, typer.Option(help="Likely false negatives a sample, at most.")] = 8,
    ignore_threshold: Annotated[
        float, typer.Option(help="Standard deviations from which one is ignored.")
    ] = 2.0,
    batch: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Global batch of the report; default the run's.",
            show_default=False,
        ),
    ] = None,
    which: Annotated[str, typer.Option(help="Checkpoint: last, best or a step.")] = "last",
    seed: Annotated[int, typer.Option(help="Of the report's random pairs, sheets and intervals.")] = 0,
) -> None:
    """Mine a whole set with a trained encoder; train on the table with data.train.neighbours=OUT."""
    from pydantic import ValidationError

    from mien.data.neighbours import save
    from mien.errors import MienError
    from mien.systems.emocapclip.config import MiningConfig
    from mien.systems.emocapclip.whole_set import embed_run, mine_embedded

    if out is None and report is None:
        raise MienError(
            "nothing to write", where="mien mine", fix="give a file for the table, or --report FOLDER"
        )
    given = {
        "rule": rule, "k": k, "threshold": threshold, "ignore": ignore, "ignore_threshold": ignore_threshold
    }  # fmt: skip
    try:
        config = MiningConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise MienError(first["msg"], where=f"--{name}", fix="see `mien mine --help`") from error
    embedded, recipe, shards, step = embed_run(run, place, which)
    facts = {"run": run.resolve().name, "recipe": recipe.name, "step": step}
    if out is not None:
        sha = save(mine_embedded(embedded, config, shards.sha, facts), out)
        print(f"{out}: {len(embedded)} samples, sha256 {sha}")
    if report is not None:
        from mien.evaluation.mined import measure_rules, print_table
        from mien.evaluation.mined_page import write_report

        made = measure_rules(embedded, config, shards, recipe, facts, batch=batch, seed=seed)
        write_report(made, shards, report)
        print_table(made)
        print(report / "report.html")
