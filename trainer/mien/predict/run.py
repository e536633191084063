"""From a run and inputs to readings, pictures and tables; a bad input is told and passed over."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien import systems
from mien.engine.rundir import write_atomic
from mien.errors import MienError, RunError
from mien.evaluation.promptset import load_prompts
from mien.evaluation.unit_prompts import load_units
from mien.predict.captions import read_captions
from mien.predict.media import Box, find, read
from mien.predict.picture import draw
from mien.predict.reader import Reader, Reading

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of the inputs: readings of the good ones, one error a bad one."""

    readings: list[Reading]
    errors: list[MienError]
    out: Path


def predict(
    run: str | Path,
    inputs: Sequence[Path],
    out: Path | None = None,
    *,
    prompts: str | Path = "emotion7",
    captions: Path | None = None,
    box: Box | None = None,
    frames: int = 16,
    look: str | None = None,
    which: str = "last",
    bad: Callable[[MienError], None] = lambda _: None,
    progress: bool = False,
) -> Outcome:
    """Read pictures and videos; write a PNG each, predictions.csv and predictions.jsonl.

    Args:
        run: run folder.
        inputs: images, videos, folders of them. Each is one face crop unless there is a box.
        out: folder to write; `<run>/predictions` when None.
        prompts: packaged prompt set or yaml file: the classes.
        captions: text file or shard set to find the nearest captions in.
        box: the face in every input.
        frames: evenly spaced frames of a video, at most.
        look: how the heat map is made, `patches` or `gradient`; None takes patches where they were trained.
        which: checkpoint: `last`, `best` or a step.
        bad: told each error as it happens; the other inputs go on.
        progress: whether to show a bar on the terminal.

    Raises:
        MienError: for a run, prompts, captions or an output folder that cannot be used.
    """
    chosen, units = load_prompts(prompts), load_units()
    texts = read_captions(captions) if captions is not None else []
    target = out if out is not None else Path(run) / "predictions"
    encoder = systems.load(run, which)
    reader = Reader(encoder, chosen, units, texts, look)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot be made: {error.strerror}", where=target, fix="give another --out") from error
    outcome = Outcome([], [], target)
    names: set[str] = set()
    for found in _track(find(inputs), progress):
        try:
            if isinstance(found, MienError):
                raise found
            reading = reader.read(read(found, encoder.image_size, box, frames))
        except MienError as error:
            outcome.errors.append(error)
            bad(error)
            continue
        outcome.readings.append(reading)
        _write_bytes(target / f"{_name(found, names)}.png", draw(reading, box))
    if outcome.readings:
        _write_tables(outcome, box)
    return outcome


def _track(found: list[Path | MienError], progress: bool) -> Iterable[Path | MienError]:
    if not progress:
        return found
    from rich.console import Console
    from rich.progress import track

    return track(found, "reading", console=Console(stderr=True), transient=True)


def _name(path: Path, taken: set[str]) -> str:
    """The stem of the input, with a number where another input has it."""
    name, number = path.stem, 2
    while name in taken:
        name, number = f"{path.stem}-{number}", number + 1
    taken.add(name)
    return name


def _write_bytes(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_bytes(content)
    aside.replace(path)


def _write_tables(outcome: Outcome, box: Box | None) -> None:
    place = None if box is None else [box.x, box.y, box.width, box.height]
    records = [reading.record() | {"box": place} for reading in outcome.readings]
    write_atomic(outcome.out / "predictions.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    first = outcome.readings[0]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    heads = [*(f"p_{name}" for name in first.classes), *(f"au{number}" for number in first.units)]
    writer.writerow(["input", "kind", "prediction", *heads, "caption", "cosine"])
    for record in records:
        scores = [*record["probabilities"].values(), *record["units"].values()]
        near = record["captions"][0] if record["captions"] else {"text": "", "cosine": ""}
        head = [record["input"], record["kind"], record["prediction"]]
        writer.writerow([*head, *scores, near["text"], near["cosine"]])
    write_atomic(outcome.out / "predictions.csv", buffer.getvalue())
