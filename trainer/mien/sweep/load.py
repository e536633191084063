"""A sweep file: read, changed by `key=value`, checked whole, and tried against its recipe."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mien import recipe as recipes
from mien.errors import MienError, RecipeError
from mien.recipe import RECIPES, Recipe
from mien.recipe_problems import nearest
from mien.sweep import space
from mien.sweep.config import Dimension, SweepConfig

_MOST_TRIED = 256
"""Points that are built before a sweep begins; of a larger space the ends, the values and some draws."""


def find(source: str | Path) -> Path | None:
    """The sweep file of a path or of a name below `recipes/sweeps/`; None if there is none."""
    path = Path(source)
    if path.is_file():
        return path
    stem = str(source).removesuffix(".yaml").removeprefix("recipes/").removeprefix("sweeps/")
    named = RECIPES / "sweeps" / f"{stem}.yaml"
    return named if named.is_file() else None


def no_such_sweep(source: str) -> RecipeError:
    """The error of a name that is no sweep."""
    known = sorted(file.stem for file in (RECIPES / "sweeps").glob("*.yaml"))
    fix = nearest(source, known) or f"give a YAML file or one of: {', '.join(known) or 'none found'}"
    return RecipeError([MienError("no such sweep", where=source, fix=fix)])


def load(path: Path, overrides: Iterable[str] = ()) -> SweepConfig:
    """Read and check a sweep file.

    Args:
        path: the file.
        overrides: `key=value`; a key of the sweep itself (`trials`, `pruning.rule`) changes that, any other
            is a key of the recipe and goes to `set`.

    Raises:
        RecipeError: with every problem, one line each.
    """
    tree, _ = recipes.read_tree(path)
    tree.setdefault("name", path.stem)
    for section in ("set", "space"):
        if isinstance(tree.get(section), dict):
            tree[section] = _flat(tree[section])
    for key, value in recipes.parse_overrides(overrides):
        _change(tree, key, value)
    return _checked(tree, path)


def from_tree(tree: dict[str, Any], path: Path) -> SweepConfig:
    """The sweep that `SweepConfig.dump` gave.

    Raises:
        RecipeError: if it does not fit this version of mien.
    """
    return _checked(tree, path)


def base_recipe(config: SweepConfig, path: Path) -> Recipe:
    """The recipe of a sweep with what is the same in all trials.

    Args:
        config: the sweep.
        path: its file, beside which the recipe may lie.

    Raises:
        RecipeError: with every problem, one line each.
    """
    beside = path.parent / config.recipe
    source = beside if beside.is_file() else config.recipe
    fixed = [override(key, value) for key, value in config.set.items()]
    return recipes.load(source, fixed, origin=str(path))


def try_points(config: SweepConfig, base: Recipe, origin: Path) -> None:
    """Build the recipe of every point, or of enough of a large space that each key and value was there.

    Args:
        config: the sweep.
        base: its recipe.
        origin: the sweep's file, for the messages.

    Raises:
        RecipeError: with every problem, one line each.
    """
    problems: dict[str, MienError] = {}
    for point in _points_to_try(config):
        try:
            recipes.change(base, [override(key, value) for key, value in point.items()], origin=str(origin))
        except RecipeError as error:
            problems |= {str(problem): problem for problem in error.problems}
    if problems:
        raise RecipeError(problems.values())
    if config.metric.startswith("val/") and base.data.val is None:
        what = f"{config.metric} needs a validation set"
        raise RecipeError([MienError(what, where=f"{origin}: metric", fix="set data.val.shards")])
    if config.metric.startswith("val/") and config.pruning.rule != "none" and base.engine.val_every is None:
        what = "nothing to prune by: the recipe validates only at the end"
        raise RecipeError([MienError(what, where=f"{origin}: pruning", fix="set engine.val_every")])


def override(key: str, value: Any) -> str:
    """A `key=value` that `recipe.load` reads back as that value."""
    return f"{key}={json.dumps(value)}"


def _points_to_try(config: SweepConfig) -> Iterator[dict[str, Any]]:
    if config.method == "grid" and config.points <= _MOST_TRIED:
        yield from itertools.islice(config.grid(), config.points)
        return
    ends = {key: dimension.ends() for key, dimension in config.space.items()}
    first = {key: values[0] for key, values in ends.items()}
    for key, values in ends.items():
        yield from ({**first, key: value} for value in values)
    draws = min(config.points, _MOST_TRIED // 4)
    yield from (space.drawn(config, point) for point in range(draws))


def _change(tree: dict[str, Any], key: str, value: Any) -> None:
    head, _, rest = key.partition(".")
    if head not in SweepConfig.model_fields:
        head, rest = "set", key
    if not rest:
        tree[head] = _flat(value) if head in ("set", "space") and isinstance(value, dict) else value
        return
    section = tree.setdefault(head, {})
    if not isinstance(section, dict):
        section = tree[head] = {}
    section[rest] = value
    if head == "set" and isinstance(tree.get("space"), dict):
        tree["space"].pop(rest, None)  # a key that is fixed by hand no longer varies


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys, whether the file writes `engine.optimizer.lr:` or nests; a dimension is a leaf."""
    own = {*Dimension.model_fields, "int"} - {"whole"}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value and not own & set(value):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _checked(tree: dict[str, Any], path: Path) -> SweepConfig:
    try:
        return SweepConfig.model_validate(tree)
    except ValidationError as error:
        raise RecipeError([_problem(item, path) for item in error.errors()]) from error


def _problem(item: Any, path: Path) -> MienError:
    loc = [str(part) for part in item["loc"]]
    key = ".".join(loc)
    where = f"{path}: {key}" if key else str(path)
    if item["type"] == "extra_forbidden":
        known = [*SweepConfig.model_fields]
        if loc[0] == "space":
            known = ["values", "low", "high", "log", "step", "int"]
        elif loc[0] == "pruning":
            known = ["rule", "warmup_steps", "warmup_trials"]
        return MienError(
            "unknown key", where=where, fix=nearest(loc[-1], known) or f"known: {', '.join(known)}"
        )
    if item["type"] == "missing":
        return MienError("a required key is missing", where=where, fix=f"add `{key}: ...`")
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = "" if isinstance(item["input"], dict | SweepConfig) else f", not {item['input']!r}"
    return MienError(f"{message[:1].lower()}{message[1:]}{given}", where=where)
