"""Captioners by the name that a command line gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import DataError

if TYPE_CHECKING:
    from mien.corpus.captioner_http import HttpCaptioner
    from mien.corpus.captioner_offline import OfflineCaptioner


def make_captioner(source: str, changes: Sequence[str] = ()) -> HttpCaptioner | OfflineCaptioner:
    """A captioner.

    Args:
        source: `offline:METER` (a folder), `http:OPTIONS` (a YAML file), or `http` with changes alone.
        changes: KEY=VALUE options of an HTTP captioner.

    Raises:
        DataError: for another name, or as the captioner itself.
    """
    kind, _, place = source.partition(":")
    if kind == "http":
        from mien.corpus.captioner_http import HttpCaptioner
        from mien.corpus.captioner_options import load_options

        return HttpCaptioner(load_options(Path(place) if place else None, changes))
    fix = "give offline:METER or http:OPTIONS.yaml"
    if kind != "offline" or not place:
        raise DataError(f"unknown captioner {source!r}", where="--captioner", fix=fix)
    if changes:
        raise DataError("offline takes no options", where="--set", fix="leave --set out")
    from mien.corpus.captioner_offline import open_offline

    return open_offline(Path(place))
