"""What an edited picture says of itself, in the words of C2PA (c2pa.org) as far as they go.

It is no C2PA manifest: it is not signed, so it tells and does not prove. It holds file names, never paths,
and nothing of the photo's own metadata: no place, no camera, no owner.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, Field, JsonValue, field_validator

import mien
from mien.config import Config
from mien.editing.upload import Photo, safe_name

CONSENT = (
    "Edit only photos of people who have agreed to it, and never to deceive. "
    "Each edit says in its metadata that it was made with AI: leave that in."
)
"""Shown by the command and the page before an edit."""

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for a photo with parts that a trained model drew."""
GENERATOR = f"mien/{mien.__version__}"

_SHA256 = r"^[0-9a-f]{64}$"


class Model(Config):
    """The run that drew."""

    run: str
    """Name of the run folder."""
    recipe_hash: str
    """Of the resolved recipe."""
    step: int = Field(ge=0)
    """Of the checkpoint."""

    @field_validator("run")
    @classmethod
    def _a_name(cls, run: str) -> str:
        return safe_name(run)


class Ingredient(Config):
    """A file that went into the edit."""

    title: str
    """File name."""
    sha256: str = Field(pattern=_SHA256)
    relationship: Literal["parentOf", "inputTo"] = "parentOf"
    """`parentOf`: the photo that was edited; `inputTo`: another that the edit took something of."""

    @field_validator("title")
    @classmethod
    def _a_name(cls, title: str) -> str:
        return safe_name(title)

    @classmethod
    def of(cls, photo: Photo, relationship: Literal["parentOf", "inputTo"] = "parentOf") -> Ingredient:
        """A photo as it was given."""
        return cls(title=photo.name, sha256=photo.sha256, relationship=relationship)


class Origin(Config):
    """What an edit is made of."""

    created: AwareDatetime
    """When, with its time zone."""
    parameters: dict[str, JsonValue]
    """What was asked for: action units, seed, sampler, steps, guidance, modes. Text in it holds no slash."""
    ingredient: Ingredient
    inputs: tuple[Ingredient, ...] = ()
    """Other photos that went into it."""
    model: Model

    @field_validator("parameters")
    @classmethod
    def _no_paths(cls, parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for text in _texts(parameters):
            if "/" in text or "\\" in text:
                raise ValueError(f"{text!r} looks like a path; give its last part")
        return parameters

    def claim(self, pixels: NDArray[np.uint8], visible_mark: bool) -> Claim:
        """The claim about a finished picture, uint8 [H, W, 3]."""
        return Claim(
            created=self.created,
            actions=[Action(parameters=self.parameters)],
            ingredients=[self.ingredient, *self.inputs],
            model=self.model,
            pixels=Pixels.of(pixels),
            visible_mark=visible_mark,
        )


class Action(Config):
    """What was done."""

    action: Literal["c2pa.edited"] = "c2pa.edited"
    digitalSourceType: str = SOURCE_TYPE
    parameters: dict[str, JsonValue]


class Pixels(Config):
    """The picture itself."""

    width: int
    height: int
    sha256: str = Field(pattern=_SHA256)
    """Of the values, row by row, RGB, as they were before the file was written."""

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> Pixels:
        """Of uint8 [H, W, 3]."""
        digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
        return cls(width=pixels.shape[1], height=pixels.shape[0], sha256=digest)


class Claim(Config):
    """The whole of it, as it stands in a file."""

    form: Literal["mien.edit/1"] = "mien.edit/1"
    claim_generator: str = GENERATOR
    created: AwareDatetime
    actions: list[Action]
    ingredients: list[Ingredient]
    model: Model
    pixels: Pixels
    visible_mark: bool
    """Whether "AI edit" is drawn on it."""
    notice: str = CONSENT


def _texts(value: JsonValue) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(text for part in value.values() for text in _texts(part))]
    return [text for part in value for text in _texts(part)] if isinstance(value, list) else []
