"""`mien plan`: what a recipe needs and costs on a cluster, without a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def plan(
    recipe: Annotated[str, typer.Argument(help="YAML file, or a name below recipes/.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Change keys of the recipe.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    gpus_per_node: Annotated[int, typer.Option(min=1, help="GPUs of a machine.")] = 8,
    gpu: Annotated[str, typer.Option(help="Kind of GPU: h100, a100-80, ...")] = "h100",
    bandwidth: Annotated[
        float | None,
        typer.Option(min=0.001, help="GB/s of a GPU to other nodes; default the usual.", show_default=False),
    ] = None,
    efficiency: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Share of the peak that products reach.", show_default=False),
    ] = None,
    loader: Annotated[
        float | None,
        typer.Option(min=0.001, help="Samples/s of one loader worker.", show_default=False),
    ] = None,
    storage: Annotated[
        float | None,
        typer.Option(min=0.001, help="GB/s at which checkpoints are written.", show_default=False),
    ] = None,
    mtbf: Annotated[
        float | None,
        typer.Option(min=1, help="GPU-hours between failures.", show_default=False),
    ] = None,
    restart: Annotated[
        float | None, typer.Option(min=0, help="Seconds from a failure to new steps.", show_default=False)
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Also write everything to this file.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw memory by part to this file.", show_default=False)
    ] = None,
) -> None:
    """Say what a recipe needs and costs on a cluster: memory, wire, time, GPU-hours, what breaks first.

    Computed from shapes, without a GPU; exit code 2 if no layout fits.
    """
    from mien import recipe as recipes
    from mien.plan.assume import Assumptions
    from mien.plan.gpus import gpu_of
    from mien.plan.report import does_not_fit, make, write_json
    from mien.plan.show import show

    device, loaded = gpu_of(gpu), recipes.load(recipe, overrides or [])
    if bandwidth is not None:
        device = replace(device, nic=bandwidth * 1e9)
    given = {
        "efficiency": efficiency,
        "loader": loader,
        "storage": None if storage is None else storage * 1e9,
        "gpu_hours_between_failures": mtbf,
        "restart_s": restart,
    }
    assume = replace(Assumptions(), **{name: value for name, value in given.items() if value is not None})
    made = make(loaded, device, nodes, gpus_per_node, assume)
    show(made)
    if json is not None:
        write_json(made, json)
    if plot is not None:
        from mien.plan.plot import plot as draw

        draw(made, plot)
    if made.best is None:
        raise does_not_fit(made)
