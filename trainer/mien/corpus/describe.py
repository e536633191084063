"""Stage 5: captions of the faces that stay, by any captioner, with the gates behind it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from mien.corpus.caption import Usage
from mien.corpus.caption_stage import Stage, Units, fits, name_of, read_captions
from mien.corpus.gates import read_crop
from mien.corpus.ledger import Row
from mien.data.schema import SCHEMAS
from mien.errors import MienError

HOPELESS = frozenset(("auth", "budget"))
"""Reasons that concern every picture: the stage stops, and goes on when it is run again."""


def describe(
    path: Path, rows: list[Row], stage: Stage, jobs: int = 4, seen: Callable[[], None] = lambda: None
) -> Counter[str]:
    """Caption and judge the faces of one movie that have no caption or no verdict yet, `jobs` at a time.

    A line goes to the disk as soon as a caption is there, so a kill loses only what is under way. Captions
    that failed for a passing reason (a server, a time limit) are asked for again in the next run; those that
    fail a gate are not.

    Args:
        path: any ledger of the movie; the captions lie beside it.
        rows: chosen faces that stay.
        stage: captioner, gates, meter.
        jobs: threads.
        seen: called after each face, for a progress bar.

    Returns:
        Faces by reason; `kept` have a caption that passes.

    Raises:
        DataError: if crops or captions are damaged.
        MienError: from the captioner, if it has no `reason` or one of `HOPELESS`.
    """
    answers, verdicts = stage.answers(path), stage.verdicts(path)
    known, judged = read_captions(answers), read_captions(verdicts)
    missing = [row for row in rows if not _settled(known.get(row["sha"]), judged.get(row["sha"]))]
    with answers.open("ab") as book, verdicts.open("ab") as said, ThreadPoolExecutor(jobs) as pool:
        _drop_torn_line(answers)
        _drop_torn_line(verdicts)
        work = _Work(path, stage, known)
        for answer, verdict in _made(pool, missing, work, 2 * jobs):
            # The answer first: what was paid for is never lost to a verdict.
            if answer is not None:
                _append(book, answer)
            if verdict is not None:
                _append(said, verdict)
            seen()
    found = stage.outcomes(path)
    return Counter(found[row["sha"]]["reason"] or "kept" for row in rows)


@dataclass(frozen=True)
class _Work:
    """What is done to one face: an answer if there is none yet, and a verdict on it."""

    path: Path
    stage: Stage
    known: dict[str, Row]

    def __call__(self, row: Row) -> tuple[Row | None, Row | None]:
        picture, old = read_crop(self.path, row), self.known.get(row["sha"])
        meter = self.stage.meter
        units = meter(picture, row["crop_lm5"]) if meter is not None else None
        answer = old if old is not None and old["record"] is not None else self._ask(row, picture, units)
        verdict = None if answer["record"] is None else self._judge(answer, units)
        return (None if answer is old else answer), verdict

    def _ask(self, row: Row, picture: bytes, units: Units | None) -> Row:
        about: dict[str, Any] = {"crop": row["sha"], "uid": row["uid"], "record": None, "reason": None}
        try:
            captioned = self.stage.captioner(picture, units)
        except MienError as error:
            reason = getattr(error, "reason", None)
            if not isinstance(reason, str) or reason in HOPELESS:
                raise
            return {**about, "reason": reason, **_usage(error)}
        return {**about, "record": captioned.record(), **_usage(captioned)}

    def _judge(self, answer: Row, units: Units | None) -> Row:
        record = answer["record"]
        fault = SCHEMAS["emocap/1"]({"uid": 0, "label": "-", "group": "-", **record})
        codes = self.stage.judge.find(record, units) if fault is None else ["schema"]
        told = {
            str(n): [round(side, 3) for side in sides] for n, sides in (units or {}).items() if max(sides)
        }
        return {"crop": answer["crop"], "caption": name_of(record), "codes": codes, "units": told}


def _usage(source: object) -> Row:
    usage = getattr(source, "usage", None)
    return {"usage": asdict(usage)} if isinstance(usage, Usage) else {}


def _settled(answer: Row | None, verdict: Row | None) -> bool:
    return answer is not None and answer["record"] is not None and fits(verdict, answer)


def _append(file: IO[bytes], line: Row) -> None:
    file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _drop_torn_line(path: Path) -> None:
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


Lines = tuple[Row | None, Row | None]


def _made(
    pool: ThreadPoolExecutor, rows: list[Row], work: Callable[[Row], Lines], most: int
) -> Iterator[Lines]:
    """Results as they come, with `most` under way.

    After an error nothing more is begun, and it is raised when what was under way has come back: an answer
    that was paid for is not thrown away.
    """
    under_way, waiting = set[Future[Lines]](), iter(rows)
    fault: BaseException | None = None
    while True:
        if fault is None:
            under_way |= {pool.submit(work, row) for row in islice(waiting, most - len(under_way))}
        if not under_way:
            break
        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            if (error := future.exception()) is not None:
                fault = fault or error
            else:
                yield future.result()
    if fault is not None:
        raise fault
