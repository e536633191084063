"""What a page can move, as data: a page draws the controls of any editor without knowing which it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from mien.editing.request import describe
from mien.editing.session import EditSession, Opened, Picture
from mien.errors import MienError
from mien.faces.actions import ACTION_UNITS
from mien.systems.editing.pair_rules import FULL, UNITS
from mien.systems.editing.sampler import SampleConfig
from mien.systems.magicface.load import MagicFace

Values = Mapping[str, float]
"""Where the controls stand, by key."""


@dataclass(frozen=True)
class Control:
    """A slider that rests at 0, which changes nothing.

    Attributes:
        key: name in `Values` and in the claim of an edit.
        label: for people.
        lowest, highest, step: of its scale.
        unit: what the scale counts.
    """

    key: str
    label: str
    lowest: float
    highest: float
    step: float
    unit: str


@dataclass(frozen=True)
class Group:
    """Controls that stand together under a title."""

    title: str
    controls: tuple[Control, ...]


class Handle(Protocol):
    """An editor in the hands of a page; one for each system that edits.

    Attributes:
        groups: what the page shows.
        guidance: scale that the run states.
    """

    groups: tuple[Group, ...]
    guidance: float

    def edit(
        self, opened: Opened, values: Values, strengths: Sequence[float], sample: SampleConfig
    ) -> list[Picture]:
        """Canvases uint8 [S, S, 3], one for each multiple of `values`."""
        ...

    def asked(self, values: Values) -> dict[str, JsonValue]:
        """What the claim of an edit says beyond how it was sampled; text in it holds no slash."""
        ...

    def words(self, values: Values) -> str:
        """The same for people, in a few words."""
        ...


class UnitHandle:
    """MagicFace: twelve differences of action units; see `Handle`."""

    groups: tuple[Group, ...] = (
        Group(
            "Action units",
            tuple(
                Control(f"AU{unit}", f"AU{unit} {ACTION_UNITS[unit].name}", -FULL, FULL, 0.5, "FACS levels")
                for unit in UNITS
            ),
        ),
    )

    def __init__(self, session: EditSession) -> None:
        self.session = session
        assert isinstance(session.editor, MagicFace)
        self.guidance, self.mask_mode = session.editor.config.guidance, session.editor.config.mask_mode

    def edit(
        self, opened: Opened, values: Values, strengths: Sequence[float], sample: SampleConfig
    ) -> list[Picture]:
        """See `Handle.edit`."""
        vectors = np.outer(np.asarray(strengths), self._vector(values)).astype(np.float32)
        return self.session.edit(opened, vectors, sample)

    def asked(self, values: Values) -> dict[str, JsonValue]:
        """See `Handle.asked`."""
        units: dict[str, JsonValue] = {key: round(value, 4) for key, value in values.items() if value}
        return {"action_units": units, "mask_mode": self.mask_mode}

    def words(self, values: Values) -> str:
        """See `Handle.words`."""
        return describe(self._vector(values))

    def _vector(self, values: Values) -> NDArray[np.float32]:
        return np.array([values.get(f"AU{unit}", 0.0) for unit in UNITS], np.float32)


def handle_of(session: EditSession) -> Handle:
    """The handle of what a session has opened.

    Raises:
        MienError: for an editor that no page knows.
    """
    if isinstance(session.editor, MagicFace):
        return UnitHandle(session)
    what = f"no page for {type(session.editor).__name__}"
    raise MienError(what, where=session.model.run, fix="give a run of magicface")


def moved(values: Values) -> bool:
    """Whether anything is asked for."""
    return any(values.values())
