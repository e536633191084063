"""Where a captioner and its gates come from: names that the command line takes."""

from __future__ import annotations

from importlib import import_module

from mien.corpus.caption_stage import Captioner
from mien.errors import DataError


def open_captioner(source: str) -> Captioner | None:
    """Open a captioner.

    Args:
        source: "none", `offline:METER`, `http:OPTIONS.yaml` (see `mien.corpus.captioner`), or
            `MODULE:FUNCTION` of an importable function without arguments that returns one.

    Raises:
        DataError: if it cannot be found, or is none.
    """
    if source == "none":
        return None
    module, colon, function = source.partition(":")
    if module in ("offline", "http"):
        from mien.corpus.captioner import make_captioner

        return make_captioner(source)
    fix = "give none, offline:METER, http:OPTIONS.yaml, or MODULE:FUNCTION that returns a captioner"
    if not colon or not all(part.isidentifier() for part in [*module.split("."), function]):
        raise DataError(f"unknown captioner {source!r}", where="--captioner", fix=fix)
    try:
        make = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise DataError(f"cannot import {source!r}: {error}", where="--captioner", fix=fix) from error
    made = make()
    if not callable(made) or not all(isinstance(getattr(made, n, None), str) for n in ("name", "prompt_sha")):
        raise DataError(f"{source!r} returns no captioner", where="--captioner", fix=fix)
    return made
