"""Words for affect: nouns, adjectives and qualities by emotion and graded intensity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.faces.captions_actions import ADJECTIVES
from mien.faces.emotions import parts


@dataclass(frozen=True)
class Affect:
    """Words for one emotion.

    Attributes:
        noun: the class noun.
        adjective: the class adjective.
        nouns: synonyms by grade ("low", "moderate", "high"); they carry their intensity themselves.
        adjectives: synonyms by grade.
        qualities: affective quality without a name of the emotion.
        implied: what a single action may hint at, at any grade.
    """

    noun: str
    adjective: str
    nouns: dict[str, tuple[str, ...]]
    adjectives: dict[str, tuple[str, ...]]
    qualities: tuple[str, ...]
    implied: tuple[str, ...]


def _grades(low: str, moderate: str, high: str) -> dict[str, tuple[str, ...]]:
    return {
        grade: tuple(words.split(", "))
        for grade, words in (("low", low), ("moderate", moderate), ("high", high))
    }


AFFECTS: dict[str, Affect] = {
    "happiness": Affect(
        "happiness",
        "happy",
        _grades("contentment, quiet amusement", "joy, cheer, gladness", "delight, elation, great joy"),
        _grades("content, pleased", "cheerful, glad, joyful", "delighted, elated, overjoyed"),
        ("a pleasant and bright mood", "a warm and open feeling"),
        ("happiness", "joy", "pleasure", "cheer"),
    ),
    "sadness": Affect(
        "sadness",
        "sad",
        _grades("melancholy, low spirits", "sorrow, unhappiness, gloom", "grief, despair, misery"),
        _grades("downcast, wistful", "sorrowful, unhappy, gloomy", "grieving, despairing, miserable"),
        ("a heavy and subdued mood", "a feeling of loss"),
        ("sadness", "sorrow", "unhappiness", "grief"),
    ),
    "surprise": Affect(
        "surprise",
        "surprised",
        _grades("mild wonder, slight surprise", "astonishment, wonder", "amazement, utter astonishment"),
        _grades("a little surprised, mildly puzzled", "astonished, taken aback", "amazed, stunned"),
        ("a sudden and open alertness", "a reaction to something unexpected"),
        ("surprise", "astonishment", "amazement", "wonder"),
    ),
    "fear": Affect(
        "fear",
        "fearful",
        _grades("unease, worry", "fright, anxiety, alarm", "terror, panic, great fear"),
        _grades("uneasy, worried", "afraid, scared, anxious", "terrified, panicked"),
        ("a tense and threatened state", "a feeling of danger"),
        ("fear", "fright", "anxiety", "alarm"),
    ),
    "disgust": Affect(
        "disgust",
        "disgusted",
        _grades("distaste, dislike", "aversion, repulsion", "revulsion, strong disgust"),
        _grades("put off, averse", "repelled, disgusted", "revolted, sickened"),
        ("an unpleasant and rejecting mood", "a wish to turn away from something foul"),
        ("disgust", "aversion", "distaste", "revulsion"),
    ),
    "anger": Affect(
        "anger",
        "angry",
        _grades("annoyance, irritation", "hostility, resentment", "fury, rage, great anger"),
        _grades("annoyed, irritated", "hostile, mad, angry", "furious, enraged"),
        ("a hostile and tense mood", "a readiness to attack"),
        ("anger", "hostility", "irritation", "rage"),
    ),
    "contempt": Affect(
        "contempt",
        "contemptuous",
        _grades("mild scorn, smugness", "scorn, disdain", "open disdain, deep scorn"),
        _grades("smug, slightly scornful", "scornful, disdainful", "openly scornful, deeply disdainful"),
        ("a cool and superior attitude", "a feeling of standing above others"),
        ("contempt", "scorn", "disdain"),
    ),
}
"""Words for every emotion but neutral."""

CALM = Affect(
    "neutrality",
    "neutral",
    dict.fromkeys(("low", "moderate", "high"), ("calm", "composure", "a state of rest")),
    dict.fromkeys(
        ("low", "moderate", "high"), ("calm", "composed", "expressionless", "impassive", "unemotional")
    ),
    ("an even and quiet mood", "no particular feeling"),
    ("calm", "rest", "composure"),
)
"""Words for neutral; the same at every grade."""

DEGREES: dict[str, tuple[str, ...]] = {
    "low": ("slightly", "mildly", "a little"),
    "moderate": ("clearly", "fairly", "quite"),
    "high": ("very", "deeply", "intensely"),
}
"""Adverbs by grade before an adjective of emotion."""

HEDGES = ("seems", "appears", "looks")
"""Verbs between subject and adjective in a global sentence."""

SUBJECTS = ("the face", "this person", "the expression", "this face")
"""Who a global sentence is about; never a pronoun that tells the sex."""

READS = ("suggesting", "hinting at", "conveying", "pointing to", "in line with", "typical of")
"""Between an observation and the emotion it hints at."""

STILL = (
    "so this area adds nothing",
    "leaving this area at rest",
    "so the feeling shows elsewhere",
    "with nothing to add here",
    "so this part stays out of it",
)
"""Reading of an absent action in a face that feels something."""

IDLE = (
    "which says little about the feeling",
    "likely a passing movement",
    "with no clear meaning by itself",
)
"""Reading of an action that does not belong to the emotion."""


def pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    """One of the choices, all equally likely."""
    return choices[int(rng.integers(len(choices)))]


def affect(emotion: str) -> Affect:
    """The words of a basic emotion, contempt or neutral."""
    return CALM if emotion == "neutral" else AFFECTS[emotion]


def noun(emotion: str, grade: str, rng: np.random.Generator) -> str:
    """A noun phrase of the emotion at a grade: the class noun with an adjective, or a synonym."""
    if emotion == "neutral":
        return pick((CALM.noun, *CALM.nouns[grade]), rng)
    pair = parts(emotion)
    if len(pair) == 2:
        first, second = (pick((AFFECTS[p].noun, *AFFECTS[p].nouns[grade]), rng) for p in pair)
        return f"{first} {pick(('mixed with', 'together with', 'and'), rng)} {second}"
    if rng.random() < 0.4:
        return f"{pick(ADJECTIVES[grade], rng)} {AFFECTS[emotion].noun}"
    return pick(AFFECTS[emotion].nouns[grade], rng)


def adjective(emotion: str, grade: str, rng: np.random.Generator) -> str:
    """An adjective phrase of the emotion at a grade: the class adjective with an adverb, or a synonym."""
    if emotion == "neutral":
        return pick((CALM.adjective, CALM.adjective, *CALM.adjectives[grade]), rng)
    pair = parts(emotion)
    if len(pair) == 2:
        if rng.random() < 0.4:
            return emotion
        first, second = (pick((AFFECTS[p].adjective, *AFFECTS[p].adjectives[grade]), rng) for p in pair)
        return f"both {first} and {second}"
    if rng.random() < 0.4:
        return f"{pick(DEGREES[grade], rng)} {AFFECTS[emotion].adjective}"
    return pick(AFFECTS[emotion].adjectives[grade], rng)
