"""Captions of an expression: a global sentence, three to eight local ones, a summary (spec, section 2).

A small grammar over the word lists of `captions_actions` and `captions_affect`. Every sentence is true of the
actions: what is asserted has FACS intensity B or more, what is denied is below A. Nothing names the person's
identity. The emotion is named at random by its class word, a synonym of the right grade, or its quality only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.faces.actions import ACTION_UNITS, Actions
from mien.faces.captions_actions import ACTIONS, ADJECTIVES, ADVERBS, DENIALS, SIDES, Action, Denial
from mien.faces.captions_affect import (
    AFFECTS,
    CALM,
    HEDGES,
    IDLE,
    READS,
    STILL,
    SUBJECTS,
    adjective,
    affect,
    noun,
    pick,
)
from mien.faces.emotions import Expression, characteristic, parts, sample_expression

VISIBLE = 0.2
"""Least intensity that is asserted: FACS grade B."""

ABSENT = 0.1
"""Intensity below which a unit may be denied."""

MAX_LOCALS = 8

_FRONTAL, _TURNED = 8.0, 22.0
_UNEVEN = 0.25
_UNITS = {number for entry in ACTIONS for number in entry.units}


@dataclass(frozen=True)
class LocalSentence:
    """A sentence about one area: text, region of `REGIONS`, asserted units, grade (None: asserts none)."""

    text: str
    region: str
    au: list[int]
    intensity: str | None


@dataclass(frozen=True)
class Caption:
    """All sentences of one face."""

    global_: str
    locals: list[LocalSentence]
    summary: str

    def sentences(self) -> list[str]:
        """Every sentence: global, locals in order, summary."""
        return [self.global_, *(local.text for local in self.locals), self.summary]

    def record(self) -> dict[str, Any]:
        """The caption keys of a sample's json."""
        locals_ = [
            {"text": s.text, "region": s.region, "au": s.au, "intensity": s.intensity} for s in self.locals
        ]
        return {"global": self.global_, "locals": locals_, "summary": self.summary}


def level(intensity: float) -> str:
    """Grade word of an intensity: "low" below 0.4 (FACS A, B), "moderate" below 0.6 (C), "high" (D, E)."""
    return "low" if intensity < 0.4 else "moderate" if intensity < 0.6 else "high"


def describe(
    expression: Expression,
    rng: np.random.Generator,
    pose: tuple[float, float, float] | None = (0.0, 0.0, 0.0),
    gaze: tuple[float, float] | None = (0.0, 0.0),
) -> Caption:
    """Writes the caption of an expression.

    Args:
        expression: what the face expresses and does.
        rng: source of every random choice.
        pose: (yaw, pitch, roll) of the head in degrees, signs as in `faces.camera.rotation`; None: unknown.
        gaze: (yaw, pitch) of the eyes relative to the head, degrees, > 0 is own left and up; None: unknown.
    """
    seen = _entries(expression.actions, rng)
    locals_ = [_action_sentence(entry, expression, rng) for entry in seen[: int(rng.integers(4, 7))]]
    denials = [d for d in DENIALS if all(expression.actions.intensity(u) < ABSENT for u in d.units)]
    wanted = max(3 - len(locals_), int(rng.integers(0, 3)))
    locals_ += [
        _denial_sentence(d, expression, rng) for d in _distinct_regions(denials, wanted, locals_, rng)
    ]
    if pose is not None and gaze is not None and (rng.random() < 0.4 or len(locals_) < 3):
        locals_.append(_head_sentence(pose, gaze, rng))
    if rng.random() < 0.5:
        rng.shuffle(locals_)
    return Caption(_global(expression, rng), locals_[:MAX_LOCALS], _summary(expression, seen, denials, rng))


def describe_label(label: str, rng: np.random.Generator) -> Caption:
    """Caption of a prototype expression of a class, for photographs of which only the label is known.

    Raises:
        KeyError: for a label that is not an emotion of `mien.faces.emotions`.
    """
    intensity = 0.1 if label == "neutral" else float(rng.uniform(0.45, 0.85))
    expression = sample_expression(label, rng, intensity, incidental=False)
    return describe(_even(expression), rng, None, None)


def _even(expression: Expression) -> Expression:
    """The same expression with equal sides: nothing is known of a photograph's sides."""
    if expression.emotion == "contempt":
        return expression
    units = {n: expression.actions.intensity(n) for n in expression.actions.active(0.0)}
    return Expression(expression.emotion, expression.intensity, Actions.of(units))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _entries(actions: Actions, rng: np.random.Generator) -> list[Action]:
    """Entries that cover the visible units once, strongest first; units of one grade may share one."""
    left = {n: level(actions.intensity(n)) for n in actions.active(VISIBLE) if n in _UNITS}
    uneven = {n for n in left if _sides(actions, n)}
    chosen: list[Action] = []
    for entry in sorted(ACTIONS, key=lambda e: -len(e.units)):
        grades = {left.get(n) for n in entry.units}
        joint = len(entry.units) > 1
        if None in grades or len(grades) > 1 or (joint and (uneven & {*entry.units} or rng.random() < 0.3)):
            continue
        chosen.append(entry)
        for number in entry.units:
            del left[number]
    return sorted(chosen, key=lambda e: -max(actions.intensity(n) for n in e.units))


def _sides(actions: Actions, number: int) -> tuple[str, str] | None:
    """("more" or "only", "left" or "right") when the sides of a unit visibly differ, else None."""
    left, right = actions.left.get(number, 0.0), actions.right.get(number, 0.0)
    if abs(left - right) < _UNEVEN and min(left, right) >= ABSENT:
        return None
    if not ACTION_UNITS[number].lateral:
        return None
    return "only" if min(left, right) < ABSENT else "more", "left" if left > right else "right"


def _action_sentence(entry: Action, expression: Expression, rng: np.random.Generator) -> LocalSentence:
    grade = level(max(expression.actions.intensity(n) for n in entry.units))
    seen = pick(entry.seen, rng).format(much=pick(ADVERBS[grade], rng))
    sides = _sides(expression.actions, entry.units[0]) if len(entry.units) == 1 else None
    # A one-sided action must be said to be one-sided; a mere difference often goes unmentioned.
    if sides and (sides[0] == "only" or rng.random() < 0.6):
        seen = f"{seen}, {pick(SIDES[sides[0]], rng).format(side=sides[1])}"
    name = _article(f"{pick(ADJECTIVES[grade], rng)} {pick(entry.names, rng)}")
    reading = _reading(entry, expression, rng)
    form = rng.integers(4)
    if form == 0:
        text = f"{seen}, {name} {reading}"
    elif form == 1:
        text = f"{seen}: {name}, {reading}"
    elif form == 2:
        text = f"{seen}, {reading}"
    else:
        text = f"{seen}; this is {name}, {reading}"
    return LocalSentence(_sentence(text), entry.region, list(entry.units), grade)


def _reading(entry: Action, expression: Expression, rng: np.random.Generator) -> str:
    owners = [part for part in parts(expression.emotion) if characteristic(part) & {*entry.units}]
    if not owners:
        return pick(IDLE, rng)
    if entry.quality and rng.random() < 0.2:
        return f"adding {pick(entry.quality, rng)}"
    return f"{pick(READS, rng)} {pick(AFFECTS[pick(owners, rng)].implied, rng)}"


def _distinct_regions(
    denials: list[Denial], count: int, taken: list[LocalSentence], rng: np.random.Generator
) -> list[Denial]:
    """Up to `count` denials, of regions that no other sentence is about while there are any."""
    order = [denials[i] for i in rng.permutation(len(denials))]
    used = {local.region for local in taken}
    chosen: list[Denial] = []
    for denial in order:
        if len(chosen) < count and denial.region not in used:
            used.add(denial.region)
            chosen.append(denial)
    return chosen


def _denial_sentence(denial: Denial, expression: Expression, rng: np.random.Generator) -> LocalSentence:
    clause = pick(denial.clauses, rng)
    if expression.emotion == "neutral":
        reading = f"{pick(READS, rng)} {pick(CALM.implied, rng)}"
    else:
        reading = pick(STILL, rng)
    return LocalSentence(_sentence(f"{clause}, {reading}"), denial.region, [], None)


def _head_sentence(
    pose: tuple[float, float, float], gaze: tuple[float, float], rng: np.random.Generator
) -> LocalSentence:
    yaw, pitch, roll = pose
    how = "a little" if max(abs(yaw), abs(pitch)) < _TURNED else "far"
    if max(abs(yaw), abs(pitch), abs(roll)) < _FRONTAL:
        head = pick(("the head faces the camera", "the head is held straight"), rng)
    elif abs(yaw) >= max(abs(pitch), abs(roll)):
        side = f"to the {'left' if yaw > 0 else 'right'}" if rng.random() < 0.25 else "to one side"
        head = f"the head is turned {how} {side}"
    elif abs(pitch) >= abs(roll):
        head = f"the head is tipped {how} {'up' if pitch > 0 else 'down'}"
    else:
        head = "the head is tilted towards one shoulder"
    return LocalSentence(
        _sentence(f"{head}, {_gaze(yaw + gaze[0], pitch + gaze[1], rng)}"), "head_gaze", [], None
    )


def _gaze(yaw: float, pitch: float, rng: np.random.Generator) -> str:
    """Where the eyes look, angles from the camera in degrees."""
    if max(abs(yaw), abs(pitch)) < _FRONTAL:
        return pick(("and the gaze meets the camera", "with the eyes on the viewer"), rng)
    if abs(yaw) >= abs(pitch):
        return pick(("and the gaze goes aside", "with the eyes looking away"), rng)
    return f"with the gaze {'raised' if pitch > 0 else 'lowered'}"


def _global(expression: Expression, rng: np.random.Generator) -> str:
    grade = level(expression.intensity)
    emotion, subject = expression.emotion, pick(SUBJECTS, rng)
    form = rng.random()
    if form < 0.4:
        mood = adjective(emotion, grade, rng)
        if " " not in mood and rng.random() < 0.25:
            return _sentence(f"{_article(mood)} face")
        return _sentence(f"{subject} {pick(HEDGES, rng)} {mood}")
    if form < 0.75:
        verb = pick(("shows", "conveys", "expresses"), rng)
        return _sentence(f"{subject} {verb} {noun(emotion, grade, rng)}")
    if form < 0.9:
        lead = pick(
            ("an expression of", "a face full of" if grade == "high" else "a look of", "a picture of"), rng
        )
        return _sentence(f"{lead} {noun(emotion, grade, rng)}")
    quality = " and ".join(pick(affect(part).qualities, rng) for part in parts(emotion))
    if emotion != "neutral":
        quality = f"{quality}, {pick(ADJECTIVES[grade], rng)} in degree"
    return _sentence(f"the overall impression is {quality}")


def _summary(
    expression: Expression, seen: list[Action], denials: list[Denial], rng: np.random.Generator
) -> str:
    grade, emotion = level(expression.intensity), expression.emotion
    wanted = frozenset().union(*(characteristic(part) for part in parts(emotion)))
    cited = [pick(entry.evidence, rng) for entry in seen if wanted & {*entry.units}][
        : int(rng.integers(2, 4))
    ]
    lead = pick(("in sum", "overall", "taken together", "all in all"), rng)
    if not cited:
        clause = pick(denials[int(rng.integers(len(denials)))].clauses, rng) if denials else "little moves"
        tail = "the face reads as" if emotion == "neutral" else "the little that shows reads as"
        return _sentence(f"{lead}, {clause} and {tail} {adjective(emotion, grade, rng)}")
    evidence = " and ".join(filter(None, (", ".join(cited[:-1]), cited[-1])))
    form = rng.integers(3)
    if form == 0:
        return _sentence(f"{lead}, the {evidence} point to {noun(emotion, grade, rng)}")
    if form == 1:
        mood = f"{pick(HEDGES, rng)} {adjective(emotion, grade, rng)}"
        return _sentence(f"{lead}, this person {mood}, given the {evidence}")
    return _sentence(
        f"{lead}, the face reads as {adjective(emotion, grade, rng)}, mainly from the {evidence}"
    )
