"""Who captions, who judges, and the files that keep what they said.

Answers are kept by the content of the crop, the captioner and its prompt; verdicts lie beside them, by the
gates and the meter too. So other gates, another meter or other frames never pay for a caption twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mien.corpus.ledger import LARGEST, Row
from mien.corpus.units import UnitMeter
from mien.errors import DataError

FINAL = "gate:"
"""Beginning of the reason of a caption that was made but fails a gate: it is not asked for again."""

Units = Mapping[int, tuple[float, float]]


class Captioned(Protocol):
    """A caption as a captioner gives it; a `usage` (`mien.corpus.caption.Usage`) is kept with it."""

    def record(self) -> Row:
        """`{"global": str, "locals": [...], "summary": str}` as in schema emocap/1."""
        ...


class Captioner(Protocol):
    """Writes a caption for an encoded picture; units are measured action units (left, right) in [0, 1].

    A failure is a MienError with a `reason`, a short code. One whose captions do not depend on the units says
    so by an attribute `uses_units` that is False: then another meter only judges them anew.
    """

    name: str
    prompt_sha: str

    def __call__(self, picture: bytes, units: Units | None) -> Captioned:
        """Caption one picture."""
        ...


@dataclass(frozen=True)
class Judge:
    """Caption gates.

    Attributes:
        key: stands for the gates in the name of the file of verdicts.
        find: reason codes of a record and measured units (None: nothing was measured); empty passes.
    """

    key: str
    find: Callable[[Row, Units | None], list[str]]


def few_locals(record: Row, units: Units | None = None) -> list[str]:
    """The least of gates (spec, section 2, step 4): three local captions or more, and both other parts."""
    absent = [part for part in ("global", "summary") if not record[part]]
    few = ["few_locals"] if len(record["locals"]) < 3 else []
    return few + [f"no_{part}" for part in absent]


LEAST = Judge("few_locals", few_locals)
"""The judge that asks for the least."""


@dataclass(frozen=True)
class Stage:
    """Who captions and who judges.

    Attributes:
        captioner: called from many threads at once.
        judge: gates.
        meter: its units go to both; None measures nothing.
    """

    captioner: Captioner
    judge: Judge = LEAST
    meter: UnitMeter | None = None

    def answers(self, path: Path) -> Path:
        """The captions of this captioner and prompt (and meter, if it uses the units), beside a ledger."""
        told = f"{self.captioner.name}\n{self.captioner.prompt_sha}"
        if self.meter is not None and getattr(self.captioner, "uses_units", True):
            told += f"\n{self.meter.sha}"
        return path.with_name(f"captions-{_digest(told)}.jsonl")

    def verdicts(self, path: Path) -> Path:
        """What the gates say of these captions, beside them."""
        told = "\n".join([self.answers(path).name, self.judge.key, self.meter.sha if self.meter else ""])
        return path.with_name(f"verdicts-{_digest(told)}.jsonl")

    def outcomes(self, path: Path) -> dict[str, Row]:
        """What has become of each face that has been settled or failed, by hash of its crop.

        Rows have `record` (null without a caption), `reason` (null: it passes), `codes` of every gate that it
        fails, and the measured `units` (empty without a meter).

        Raises:
            DataError: if captions or verdicts are damaged.
        """
        judged, found = read_captions(self.verdicts(path)), {}
        for crop, answer in read_captions(self.answers(path)).items():
            if answer["record"] is None:
                found[crop] = {"record": None, "reason": answer["reason"], "codes": [], "units": {}}
            elif fits(judged.get(crop), answer):
                codes = judged[crop]["codes"]
                reason = f"{FINAL}{codes[0]}" if codes else None
                told = {"codes": codes, "units": judged[crop]["units"]}
                found[crop] = {"record": answer["record"], "reason": reason, **told}
        return found


def read_captions(path: Path) -> dict[str, Row]:
    """Newest line by hash of the crop; a torn last line of a killed run is left out.

    Raises:
        DataError: if a line before the last is damaged.
    """
    return {line["crop"]: line for line in read_lines(path)}


def read_lines(path: Path) -> list[Row]:
    """Every line of captions or verdicts; raises as `read_captions`."""
    if not path.is_file():
        return []
    if path.stat().st_size > LARGEST:
        raise DataError(f"captions of more than {LARGEST} bytes", where=path, fix="move the file away")
    *lines, _ = path.read_bytes().split(b"\n")
    try:
        rows = [json.loads(line) for line in lines]
        whole = all(isinstance(row["crop"], str) and ("record" in row or "codes" in row) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("damaged captions", where=path, fix="delete the broken line") from error
    if not whole:
        raise DataError("damaged captions", where=path, fix="delete the broken line")
    return rows


def name_of(record: Row) -> str:
    """Stands for a caption in its verdict."""
    return _digest(json.dumps(record, sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fits(verdict: Row | None, answer: Row) -> bool:
    """Whether a verdict is on this very caption."""
    return verdict is not None and verdict["caption"] == name_of(answer["record"])
