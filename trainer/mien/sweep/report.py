"""The report of a sweep: one page without script or link to the outside, and its tables for programs."""

from __future__ import annotations

import statistics
import warnings
from datetime import datetime
from pathlib import Path

import optuna
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from optuna.trial import TrialState

from mien import recipe as recipes
from mien.engine.rundir import write_atomic
from mien.sweep import figures, load, status
from mien.sweep.config import SweepConfig
from mien.sweep.status import Row
from mien.sweep.study import Sweep

_ENOUGH = 8
"""Finished trials from which on it is said which parameter matters."""


def write_report(sweep: Sweep) -> Path:
    """Write `report.html`, `trials.csv` and `trials.json` to the sweep's `report`; gives the page's path."""
    found = status.rows(sweep)
    folder = sweep.folder / "report"
    folder.mkdir(exist_ok=True)
    status.write_tables(found, sweep.config.dump(), folder)
    page = folder / "report.html"
    write_atomic(page, _page(sweep, found))
    return page


def importances(sweep: Sweep) -> dict[str, float]:
    """Share of the metric's variance by parameter (fANOVA; Hutter et al., 2014); {} with too few trials."""
    done = [trial for trial in sweep.trials() if trial.state == TrialState.COMPLETE]
    values = {trial.value for trial in done}
    varied = [key for key in sweep.config.space if len({trial.params[key] for trial in done}) > 1]
    if len(done) < _ENOUGH or len(values) < 2 or len(varied) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(sweep.study, evaluator=evaluator, params=varied)
    return {key: float(share) for key, share in found.items()}


def _page(sweep: Sweep, found: list[Row]) -> str:
    environment = Environment(
        loader=PackageLoader("mien.sweep", "."), autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["shown"] = status.shown
    environment.filters["short"] = status.short
    environment.filters["within"] = lambda run: run.removeprefix(f"{sweep.folder}/")
    config, top = sweep.config, status.best_point(sweep, found)
    tops = [row.number for row in top]
    shares = importances(sweep)
    drawn = {
        "parallel": figures.parallel(found, config, tops),
        "history": figures.history(found, config),
        "curves": figures.curves(found, config, tops),
        "importance": figures.importance(shares) if shares else "",
    }
    return environment.get_template("report.html.j2").render(
        config=config,
        keys=list(config.space),
        rows=_best_first(found, config),
        tops=tops,
        tiles=_tiles(found, config, top),
        best=[load.override(key, value) for key, value in top[0].params.items()] if top else [],
        points=_points(found, config) if config.seeds else [],
        svg={name: Markup(text) for name, text in drawn.items()},  # figures escapes every word
        facts=_facts(sweep),
    )


def _best_first(found: list[Row], config: SweepConfig) -> list[Row]:
    sign = 1 if config.mode == "min" else -1

    def order(row: Row) -> tuple[int, float, int]:
        rank = {"finished": 0, "running": 1, "interrupted": 1, "pruned": 2}.get(row.state, 3)
        return rank, sign * row.value if row.value is not None else 0.0, row.number

    return sorted(found, key=order)


def _tiles(found: list[Row], config: SweepConfig, top: list[Row]) -> list[tuple[str, str, str]]:
    """Big number, its name, and a remark."""
    counts = {state: sum(row.state == state for row in found) for state in status.COLOURS}
    others = ", ".join(f"{count} {state}" for state, count in counts.items() if count and state != "finished")
    spent = sum(row.seconds for row in found)
    tiles = [(f"{counts['finished']} of {config.total}", "trials finished", others)]
    if top:
        which = f"trial {top[0].number}" if len(top) == 1 else f"mean of {len(top)} seeds"
        tiles.insert(0, (f"{status.mean(top):.4g}", f"best {config.metric}", which))
    return [*tiles, (_duration(spent), "of training", f"{sum(row.steps for row in found):,} steps")]


def _points(found: list[Row], config: SweepConfig) -> list[tuple[str, int, str]]:
    """Each point's parameters, finished seeds, mean and deviation; the best first."""
    groups: dict[int, list[Row]] = {}
    for row in found:
        if row.state == "finished" and row.value is not None:
            groups.setdefault(row.point, []).append(row)
    sign = 1 if config.mode == "min" else -1
    told = []
    for group in sorted(groups.values(), key=lambda group: sign * status.mean(group)):
        values = [float(row.value or 0) for row in group]
        spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
        params = ", ".join(f"{status.short(k)} {status.shown(v)}" for k, v in group[0].params.items())
        told.append((params, len(values), f"{status.mean(group):.4g}{spread}"))
    return told


def _facts(sweep: Sweep) -> dict[str, str]:
    config = sweep.config
    rule = config.pruning
    base = recipes.load_resolved(sweep.folder / "recipe.yaml")
    facts = {
        "recipe": f"{base.name}, sha256 {base.hash[:16]}",
        "set": " ".join(load.override(key, value) for key, value in config.set.items()) or "nothing",
        "method": f"{config.method}, seed {config.seed}",
        "judged by": f"{config.value} {config.metric}, {config.mode}",
        "pruning": rule.rule,
        "folder": str(sweep.folder),
        "written": f"{datetime.now():%Y-%m-%d %H:%M}",
    }
    if rule.rule != "none":
        facts["pruning"] += f" after {rule.warmup_steps} steps and {rule.warmup_trials} trials"
    return facts


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
