"""From pydantic's errors to lines a person can act on: key, origin, nearest valid key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mien.errors import MienError


def problems_of(
    error: ValidationError, model: type[BaseModel], origins: dict[str, str], path: Path
) -> list[MienError]:
    """What pydantic found, one problem a key.

    Args:
        error: of validating a recipe.
        model: the recipe's model.
        origins: for each dotted leaf key the file that set it.
        path: the recipe file, for keys that none set.
    """
    found: dict[str, MienError] = {}
    for item in error.errors():
        loc = [str(part) for part in item["loc"]]
        while len(loc) > 1 and item["type"] not in ("extra_forbidden", "missing") and not _is_key(model, loc):
            loc.pop()
        problem = _problem(".".join(loc), loc, item, model, origins, path)
        known = found.setdefault(".".join(loc), problem)
        if known is not problem and problem.what != known.what:
            first, _, given = known.what.rpartition(", not ")
            what = f"{first or given}, or {problem.what}"
            found[".".join(loc)] = MienError(what, where=known.where, fix=known.fix)
    return list(found.values())


def _is_key(model: type[BaseModel], loc: list[str]) -> bool:
    return loc[-1].isdecimal() or loc[-1] in _fields(model, loc[:-1])


def _problem(
    key: str, loc: list[str], item: Any, model: type[BaseModel], origins: dict[str, str], path: Path
) -> MienError:
    where = f"{_origin(key, origins, path)}: {key}"
    if item["type"] == "extra_forbidden":
        known = [".".join([*loc[:-1], field]) for field in _fields(model, loc[:-1]) if field != "name"]
        return _unknown(key, known, origins, path)
    if item["type"] == "missing":
        return MienError("a required key is missing", where=where, fix=f"add `{key}: ...`")
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].lower() + message[1:]
    given = "" if isinstance(item["input"], dict | BaseModel) else f", not {item['input']!r}"
    return MienError(f"{message}{given}", where=where)


def _unknown(key: str, known: list[str], origins: dict[str, str], path: Path) -> MienError:
    names = ", ".join(k.rpartition(".")[2] for k in known)
    fix = nearest(key, known) or f"known here: {names}"
    return MienError("unknown key", where=f"{_origin(key, origins, path)}: {key}", fix=fix)


def _fields(model: type[BaseModel], loc: list[str]) -> list[str]:
    """Field names of the (nested) model at `loc`."""
    for part in (part for part in loc if not part.isdecimal()):  # places in lists have no fields
        info = model.model_fields.get(part)
        types = _types(info.annotation) if info else []
        nested = [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not nested:
            return []
        model = nested[0]
    return list(model.model_fields)


def _types(annotation: Any) -> list[Any]:
    arguments = getattr(annotation, "__args__", ())
    return [annotation, *(t for argument in arguments for t in _types(argument))]


def _origin(key: str, origins: dict[str, str], path: Path) -> str:
    """File that set the key, or set something below or above it."""
    for known, origin in origins.items():
        if known == key or known.startswith(f"{key}.") or key.startswith(f"{known}."):
            return origin
    return str(path)


def nearest(word: str, known: Iterable[str]) -> str:
    """A question that names the closest of the known words; empty if none is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""
