"""Makers of synthetic sets by the name that `mien data synth --kind` takes; imported when first used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mien.errors import DataError

KINDS = {
    "emocap": "captioned faces, for EmoCapCLIP and classifiers",
    "pairs": "two pictures of one person with their action units, for face editors",
    "rig_pairs": "such pairs with the 3D face of both and a rendering, for RigFace",
}
"""What there is, in words."""


def maker(kind: str) -> Callable[..., Path]:
    """The function that makes a set of that kind.

    Raises:
        DataError: for an unknown kind.
    """
    if kind not in KINDS:
        raise DataError(f"unknown kind {kind!r}", where="--kind", fix=f"one of: {', '.join(KINDS)}")
    if kind == "pairs":
        from mien.systems.editing.face_pairs import make_pairs

        return make_pairs
    if kind == "rig_pairs":
        from mien.systems.rigface.pairs import make_rig_pairs

        return make_rig_pairs
    from mien.faces.synth import make_emocap

    return make_emocap
