"""What a person asks for: `AU12=+3`, `yaw` by 15, modes of a target; as one `Ask` that every editor reads."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.editing.controls import CONTROLS, STRONGEST
from mien.errors import MienError
from mien.faces.actions import ACTION_UNITS
from mien.systems.editing.pair_rules import FULL, UNITS
from mien.systems.rigface.codes import UNITS as RIG_UNITS
from mien.systems.rigface.modes import STRONGEST as OVERDONE
from mien.systems.rigface.modes import parse_modes

_FORM = re.compile(r"\s*(?:AU)?\s*0*(\d{1,3})([LR]?)\s*=\s*([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Ask:
    """One edit.

    Attributes:
        moves: change by the name of a `controls.Control`, in its unit; what is not named rests. Editors of
            3D faces take action units of one side, too, such as `AU12L`, the person's left.
        modes: what of a target is taken, such as `exp+light`, before the moves; None without a target.
    """

    moves: Mapping[str, float] = field(default_factory=dict)
    modes: str | None = None


def make_ask(
    system: str,
    units: Sequence[str] = (),
    sliders: Mapping[str, float | None] | None = None,
    modes: str | None = None,
    target: bool = False,
) -> Ask:
    """What the options of the command ask of an editor.

    Args:
        system: key of `controls.CONTROLS`.
        units: as `parse_units` takes them.
        sliders: by name; None is not asked for.
        modes: as `rigface.modes.parse_modes` takes them.
        target: whether a target is given.

    Raises:
        MienError: for what this system cannot do, is out of range or misspelt, or for nothing at all.
    """
    known = {control.name: control for control in CONTROLS[system]}
    moves: dict[str, float] = {}
    for name, value in (sliders or {}).items():
        if value is None:
            continue
        option = f"--{name.replace('_', '-')}"
        if name not in known:
            raise cannot(system, option)
        low, high = known[name].limits
        if not low <= value <= high:
            fix = f"give {low:g} to {high:g} {known[name].unit}"
            raise MienError(f"{value:g} is out of range", where=option, fix=fix)
        moves[name] = value
    rig = system == "rigface"
    moves |= parse_changes(units, units=RIG_UNITS if rig else UNITS, sided=rig)
    if target and not rig:
        raise cannot(system, "--from")
    if target != (modes is not None):
        where, fix = ("--modes", "--from TARGET") if modes else ("--from", "--modes, such as exp+light")
        raise MienError("is half of a request", where=where, fix=f"add {fix}")
    if not moves and modes is None:
        fix = "name a change, such as --au AU12=+3" + (", --yaw 15 or --from TARGET" if rig else "")
        raise MienError("nothing to edit", where="--au", fix=fix)
    return Ask(moves, str(parse_modes(modes)) if modes is not None else None)


def cannot(system: str, option: str) -> MienError:
    """The error of an option that belongs to another system."""
    other = "magicface" if system == "rigface" else "rigface"
    return MienError(f"a run of {system} does not take it", where=option, fix=f"give a run of {other}")


def parse_changes(
    texts: Sequence[str], where: str = "--au", units: Sequence[int] = UNITS, sided: bool = False
) -> dict[str, float]:
    """Changes in FACS levels by name, such as `AU12`.

    Args:
        texts: such as `AU12=+3` or `4=-1.5`; one may hold several with commas between.
        where: for messages.
        units: that can be moved.
        sided: whether `AU12L=+3` moves the person's left side alone.

    Raises:
        MienError: for text of another form, a unit that is not one of them or that is named twice, or a
            change beyond `STRONGEST`.
    """
    found: dict[str, float] = {}
    for text in [part for whole in texts for part in whole.split(",")]:
        match = _FORM.fullmatch(text)
        if match is None or (match[2] and not sided):
            raise MienError(f"{text!r} is no change", where=where, fix="write a unit and a change: AU12=+3")
        unit, side, change = int(match[1]), match[2].upper(), float(match[3])
        name = f"AU{unit}{side}"
        if unit not in units:
            raise MienError(f"no editor moves AU{unit}", where=where, fix=_nearest(unit, units))
        if side and not ACTION_UNITS[unit].lateral:
            raise MienError(f"AU{unit} has no sides", where=where, fix=f"write AU{unit}={match[3]}")
        if name in found:
            raise MienError(f"{name} is named twice", where=where, fix="name each unit once")
        if abs(change) > STRONGEST:
            fix = f"stay within {STRONGEST:g}; a face shows 0 to {FULL:g}"
            raise MienError(f"{name} by {change:g}", where=where, fix=fix)
        found[name] = change
    return found


def parse_units(texts: Sequence[str], where: str = "--au") -> NDArray[np.float32]:
    """Differences float32 [12] in FACS levels, as `UNITS`; arguments and errors as of `parse_changes`."""
    return vector_of(parse_changes(texts, where))


def vector_of(moves: Mapping[str, float]) -> NDArray[np.float32]:
    """Differences float32 [12] in FACS levels, as `UNITS`; units that are not named stay."""
    return np.array([moves.get(f"AU{unit}", 0.0) for unit in UNITS], np.float32)


def parse_strengths(text: str, where: str = "--strengths", modes: str | None = None) -> tuple[float, ...]:
    """Multiples with commas between, such as `0,0.5,1`.

    Args:
        text: what was given.
        where: for messages.
        modes: of the request; towards a target there is no way back.

    Raises:
        MienError: for text that is none, too large ones, or more than 24 of them.
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise MienError(f"{text!r} are no numbers", where=where, fix="write 0,0.5,1") from error
    if not all(abs(number) <= STRONGEST for number in found) or len(found) > 24:
        raise MienError("too many or too large", where=where, fix=f"give up to 24 within {STRONGEST:g}")
    if modes is not None and not all(0 <= number <= OVERDONE for number in found):
        fix = f"give 0 (the photo) to {OVERDONE:g}; 1 is the target"
        raise MienError(f"{text!r} leaves the way to the target", where=where, fix=fix)
    return found


def describe(vector: NDArray[np.float32]) -> str:
    """Differences in words, such as `AU12 +3, AU4 -1`; `no change` for zero."""
    moved = {f"AU{unit}": value for unit, value in zip(UNITS, vector.tolist(), strict=True) if value}
    return describe_ask(Ask(moved))


def describe_ask(ask: Ask) -> str:
    """The same of any request, such as `exp+light of the target, yaw +15`."""
    said = [f"{ask.modes} of the target"] if ask.modes else []
    for name, value in ask.moves.items():
        said.append(f"light x {value:g}" if name == "light_gain" else f"{name} {value:+g}")
    return ", ".join(said) or "no change"


def _nearest(unit: int, units: Sequence[int]) -> str:
    known = [f"AU{number}" for number in units]
    close = difflib.get_close_matches(f"AU{unit}", known, n=1)
    names = ", ".join(f"{number} {ACTION_UNITS[number].name}" for number in units)
    return (f"did you mean {close[0]}? " if close else "") + f"there are {names}"
