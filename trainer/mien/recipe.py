"""The recipe: one YAML file that describes a run; loaded, inherited, overridden, checked and frozen here.

    defaults < `base:` files < the file < `key=value` overrides

OmegaConf loads and merges; frozen pydantic models check. Every problem is reported at once, one line each,
with the key, the file that set it and the nearest valid key. Nothing is written before
a recipe is valid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, SerializeAsAny, ValidationError, create_model

from mien.config import Config
from mien.data.config import DataConfig
from mien.engine.config import EngineConfig, TrackingConfig
from mien.errors import MienError, RecipeError
from mien.recipe_problems import nearest, problems_of

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
"""The recipes of a source checkout; looked up by name when no file of that path exists."""

_OVERRIDE = "the command line"
_SECTIONS = ("run", "data", "engine", "tracking", "model", "objective")


class RunConfig(Config):
    """Where a run lands."""

    root: str = "checkpoints"
    """Folder that receives `<recipe name>/<run id>/`."""


class Recipe(Config):
    """A run, completely described: immutable and hashable by content."""

    name: str
    """Place of the file below `recipes/`, such as `emocapclip/tiny`; elsewhere `<folder>/<file stem>`."""
    system: str
    """Which published system to train; a key of `mien.systems.SYSTEMS`."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of weights, sample order, augmentation and dropout."""
    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    engine: EngineConfig
    tracking: TrackingConfig = TrackingConfig()
    model: SerializeAsAny[Config]
    objective: SerializeAsAny[Config]

    def dump(self) -> dict[str, Any]:
        """The resolved recipe as plain YAML/JSON types."""
        return self.model_dump(mode="json")

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of everything that shapes the result: all but `run` and `tracking`."""
        content = {key: value for key, value in self.dump().items() if key not in ("run", "tracking")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load(source: str | Path, overrides: Iterable[str] = (), origin: str = _OVERRIDE) -> Recipe:
    """Load a recipe from a file, or by name from the checkout's `recipes/`, and check it.

    Args:
        source: path of a YAML file, or a name such as `emocapclip/tiny`.
        overrides: `key=value` pairs with dotted keys; values are YAML.
        origin: where the overrides come from, for messages.

    Raises:
        RecipeError: with every problem found, one line each.
    """
    path = _find(source)
    merged, origins = read_tree(path)
    for key, value in parse_overrides(overrides):
        _update(merged, key, value)
        origins[key] = origin
    return _build(merged, origins, path)


def save(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe as YAML that `load_resolved` reads back equal."""
    path.write_text(to_yaml(recipe), encoding="utf-8")


def to_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML."""
    return yaml.safe_dump(recipe.dump(), sort_keys=False)


def load_resolved(path: Path) -> Recipe:
    """Read a recipe that `save` wrote.

    Raises:
        RecipeError: if the file is absent or no longer fits this version of mien.
    """
    tree = _read(path)
    name = tree.pop("name", None)
    return _build(tree, dict.fromkeys(_leaves(tree), str(path)), path, name=name)


def change(recipe: Recipe, overrides: Iterable[str], origin: str = _OVERRIDE) -> Recipe:
    """The same recipe with other values; arguments and errors as of `load`."""
    tree = recipe.dump()
    name = tree.pop("name")
    pairs = parse_overrides(overrides)
    origins = {key: origin for key, _ in pairs}  # first: what does not fit together was brought by them
    origins |= {key: name for key in _leaves(tree) if key not in origins}
    for key, value in pairs:
        _update(tree, key, value)
    return _build(tree, origins, Path(name), name=name)


def read_tree(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A YAML file over its `base:` files, unchecked, and for each leaf key the file that set it.

    Raises:
        RecipeError: if a file is absent or no mapping.
    """
    return _inherit(path, seen=())


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    named = RECIPES / f"{str(source).removesuffix('.yaml').removeprefix('recipes/')}.yaml"
    if named.is_file():
        return named
    known = shipped()
    fix = nearest(str(source), known) or f"give a YAML file or one of: {', '.join(known) or 'none found'}"
    raise RecipeError([MienError("no such recipe", where=source, fix=fix)])


def shipped() -> list[str]:
    """Names of the recipes of the checkout; those in `sweeps` are not among them."""
    names = (path.relative_to(RECIPES).with_suffix("") for path in RECIPES.rglob("*.yaml"))
    return sorted(str(name) for name in names if name.parts[0] != "sweeps")


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = OmegaConf.load(path)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        raise RecipeError(
            [MienError(f"not valid YAML: {what}", where=where, fix="mend the syntax")]
        ) from error
    except UnicodeDecodeError as error:
        raise RecipeError([MienError("not UTF-8 text", where=path, fix="save it as UTF-8")]) from error
    except (OSError, OmegaConfBaseException) as error:
        raise RecipeError([MienError(_one_line(error), where=path, fix="check the file")]) from error
    if not isinstance(tree, DictConfig):
        raise RecipeError([MienError("a recipe is a mapping of sections", where=path, fix="see recipes/")])
    container = OmegaConf.to_container(tree)
    assert isinstance(container, dict)
    if bad := [key for key in container if not isinstance(key, str)]:
        raise RecipeError([MienError(f"key {bad[0]!r} is not text", where=path, fix="quote it")])
    return container  # type: ignore[return-value]


def _inherit(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """Tree of the file over its bases, and for each leaf key the file that set it."""
    resolved = path.resolve()
    if resolved in seen:
        chain = " -> ".join(p.name for p in (*seen, resolved))
        raise RecipeError([MienError(f"`base:` goes in a circle: {chain}", where=path, fix="remove one")])
    tree = _read(path)
    base = tree.pop("base", None)
    if base is None:
        return tree, dict.fromkeys(_leaves(tree), str(path))
    if not isinstance(base, str):
        raise RecipeError([MienError("`base` names one file", where=path, fix="write `base: other.yaml`")])
    parent = path.parent / base
    if not parent.is_file():
        what = f"base file {base} does not exist"
        raise RecipeError([MienError(what, where=path, fix=f"looked for {parent}")])
    below, origins = _inherit(parent, (*seen, resolved))
    for key, value in _leaves(tree).items():
        _update(below, key, value)
        origins[key] = str(path)
    return below, origins


def parse_overrides(overrides: Iterable[str]) -> list[tuple[str, Any]]:
    """Keys and values of `key=value` texts; values are YAML.

    Raises:
        RecipeError: with every text that is none.
    """
    pairs: list[tuple[str, Any]] = []
    problems = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            problems.append(MienError(f"{text!r} is not an override", where=_OVERRIDE, fix="write key=value"))
            continue
        try:
            # OmegaConf's YAML reads 1e-3 as a number, PyYAML's does not.
            parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]))
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            what = f"value of {key!r} is not YAML: {_one_line(error)}"
            problems.append(MienError(what, where=_OVERRIDE, fix="quote it"))
            continue
        assert isinstance(parsed, dict)
        pairs.append((key, parsed["value"]))
    if problems:
        raise RecipeError(problems)
    return pairs


def _update(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in place; a mapping on the way that is absent or not a mapping is replaced."""
    *parents, last = key.split(".")
    node = tree
    for part in parents:
        child = node.get(part)
        if not isinstance(child, dict):
            child = node[part] = {}
        node = child
    node[last] = value


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key of every leaf; an empty mapping counts as a leaf."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _leaves(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _build(tree: dict[str, Any], origins: dict[str, str], path: Path, name: str | None = None) -> Recipe:
    from mien.systems import SYSTEMS

    try:
        resolved = OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    except OmegaConfBaseException as error:
        raise RecipeError([MienError(_one_line(error), where=path, fix="mend the interpolation")]) from error
    assert isinstance(resolved, dict)
    if resolved.get("system") not in SYSTEMS:
        given = resolved.get("system")
        fix = nearest(str(given), SYSTEMS) or f"write `system:` and one of: {', '.join(SYSTEMS)}"
        what = f"no system called {given!r}" if given is not None else "the recipe names no system"
        raise RecipeError([MienError(what, where=f"{origins.get('system', path)}: system", fix=fix)])
    system = SYSTEMS[resolved["system"]]
    model = _model_of(system.model_config, system.objective_config)
    # A section that is written but empty is None in YAML and means its defaults.
    given = {key: {} if value is None and key in _SECTIONS else value for key, value in resolved.items()}
    try:
        checked = model.model_validate({**given, "name": name or _name(path)})
    except ValidationError as error:
        raise RecipeError(problems_of(error, model, origins, path)) from error
    return Recipe(**{key: getattr(checked, key) for key in Recipe.model_fields})


class _Described(Recipe):
    """The base of the models below: all descriptions are read by now.

    Pydantic would read the source once more for each of them, and Python 3.11's parser fails at times where
    several threads parse at once.
    """

    model_config = ConfigDict(use_attribute_docstrings=False)


def _model_of(model: type[Config], objective: type[Config]) -> type[Recipe]:
    """The recipe of a system whose sections are these two classes."""
    return create_model(
        "Recipe",
        __base__=_Described,
        model=(model, Field(default_factory=model)),
        objective=(objective, Field(default_factory=objective)),
    )


def _name(path: Path) -> str:
    """Name of a recipe file: its place below `recipes/`, elsewhere its folder and stem."""
    path = path.resolve()
    if path.is_relative_to(RECIPES):
        return path.relative_to(RECIPES).with_suffix("").as_posix()
    return f"{path.parent.name}/{path.stem}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
