"""The words that sets use for one class."""

from __future__ import annotations

_SAME = {
    "happy": "happiness", "happiness": "happiness", "joy": "happiness", "sad": "sadness",
    "sadness": "sadness", "angry": "anger", "anger": "anger", "surprise": "surprise",
    "surprised": "surprise", "fear": "fear", "fearful": "fear", "disgust": "disgust",
    "disgusted": "disgust", "neutral": "neutral", "contempt": "contempt",
}  # fmt: skip


def emotion(word: str) -> str:
    """The class that a word of a set stands for; another word as it is, in lower case."""
    plain = " ".join(word.lower().split())
    return _SAME.get(plain, plain)
