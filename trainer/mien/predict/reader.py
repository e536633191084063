"""What a trained run says of an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mien.errors import MienError
from mien.evaluation.encoding import embed_texts, unit
from mien.evaluation.promptset import PromptSet
from mien.evaluation.unit_prompts import UnitPrompts, unit_probabilities
from mien.predict.media import Media
from mien.systems.encoder import Encoder

Floats = npt.NDArray[np.floating]
PRESENT = 0.5
"""Probability from which a unit counts as present."""


@dataclass(frozen=True)
class Reading:
    """Scores of one input.

    Attributes:
        media: the input.
        classes: labels, in the order of the prompts.
        probabilities: softmax over the classes, [C], sums to 1.
        timeline: the same of each frame, [T, C].
        units: FACS number -> probability that it is present, each on its own.
        unit_names: FACS number -> name.
        captions: nearest captions and their cosines, the nearest first.
        heat: where the predicted class is seen on frame `frame`, [h, w].
        frame: number of the frame whose probability of the predicted class is largest.
        look: how: `patches` or `gradient`.
    """

    media: Media
    classes: list[str]
    probabilities: Floats
    timeline: Floats
    units: dict[int, float]
    unit_names: dict[int, str]
    captions: list[tuple[str, float]]
    heat: Floats
    frame: int
    look: str

    @property
    def found(self) -> str:
        """The class with the largest probability."""
        return self.classes[int(self.probabilities.argmax())]

    def record(self) -> dict[str, Any]:
        """The JSON form: plain numbers; times in seconds."""
        times = self.media.times
        content: dict[str, Any] = {
            "input": str(self.media.path),
            "kind": "image" if times is None else "video",
            "prediction": self.found,
            "probabilities": _rounded(dict(zip(self.classes, self.probabilities))),
            "units": _rounded({str(number): value for number, value in self.units.items()}),
            "captions": [{"text": text, "cosine": round(float(cosine), 6)} for text, cosine in self.captions],
        }
        if times is not None:
            content["frames"] = [
                {"t_s": round(time, 3), "probabilities": _rounded(dict(zip(self.classes, row)))}
                for time, row in zip(times, self.timeline)
            ]
        return content


def _rounded(values: dict[str, Any]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in values.items()}


class Reader:
    """A run that reads inputs: the texts are encoded once.

    Args:
        encoder: the run.
        prompts: classes; scored by the default family, as in the zero-shot protocol.
        units: pairs of prompts.
        captions: texts to find the nearest of; may be empty.
        look: of `encoder.looks`; None takes the first.
        nearest: how many captions are told.

    Raises:
        MienError: for a look that the run has not.
    """

    def __init__(
        self,
        encoder: Encoder,
        prompts: PromptSet,
        units: dict[int, UnitPrompts],
        captions: list[str],
        look: str | None = None,
        nearest: int = 3,
    ) -> None:
        if look is not None and look not in encoder.looks:
            raise MienError(
                f"this run cannot look by {look!r}", where="--look", fix=f"one of: {', '.join(encoder.looks)}"
            )
        self.look = look or encoder.looks[0]
        self.encoder = encoder
        self.classes = list(prompts.classes)
        texts = [prompts.prompts(prompts.default, label) for label in self.classes]
        self._centres = np.stack([unit(embed_texts(encoder, some).mean(0)) for some in texts])
        self._units = units
        self._captions = captions
        self._caption_rows = embed_texts(encoder, captions) if captions else None
        self._nearest = nearest

    def read(self, media: Media) -> Reading:
        """Score an input; a video by the unit mean of its frames' unit rows (spec, section 6.3)."""
        rows = self.encoder.encode_images(media.frames).numpy()
        mean = unit(rows.mean(0, keepdims=True))
        timeline = self._softmax(rows)
        probabilities = self._softmax(mean)[0]
        best = int(probabilities.argmax())
        frame = int(timeline[:, best].argmax())
        target = torch.from_numpy(self._centres[best : best + 1]).float()
        heat = self.encoder.heat_maps(media.frames[frame : frame + 1], target, self.look)[0].numpy()
        present = unit_probabilities(self.encoder, mean, self._units)[0]
        return Reading(
            media,
            self.classes,
            probabilities,
            timeline,
            dict(zip(self._units, map(float, present))),
            {number: pair.name for number, pair in self._units.items()},
            self._near(mean[0]),
            heat,
            frame,
            self.look,
        )

    def _softmax(self, rows: Floats) -> Floats:
        scores = self.encoder.logit_scale * (rows.astype(np.float64) @ self._centres.T)
        scores = np.exp(scores - scores.max(1, keepdims=True))
        return scores / scores.sum(1, keepdims=True)

    def _near(self, row: Floats) -> list[tuple[str, float]]:
        if self._caption_rows is None:
            return []
        cosines = self._caption_rows @ row
        order = np.argsort(-cosines, kind="stable")[: self._nearest]
        return [(self._captions[place], float(cosines[place])) for place in order]
