"""Plug-ins by name: `MODULE:FUNCTION` of an importable function without arguments."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mien.errors import DataError


def make_named(source: str, option: str, fix: str) -> Any:
    """What the function returns: callable, with a text `name`.

    Args:
        source: as on the command line.
        option: where it was given, for messages.
        fix: what can be given.

    Raises:
        DataError: if it cannot be imported or returns something else.
    """
    module, colon, function = source.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), function]):
        raise DataError(f"unknown estimator {source!r}", where=option, fix=fix)
    try:
        make = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise DataError(f"cannot import {source!r}: {error}", where=option, fix=fix) from error
    made = make()
    name = getattr(made, "name", None)
    if not callable(made) or not isinstance(name, str) or not name:
        raise DataError(f"{source!r} returns no callable with a `name`", where=option, fix=fix)
    return made
