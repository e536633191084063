"""Stage 5: captions of the faces that stay, by any captioner, with the gates behind it.

Captions are kept by the content of the crop, the captioner and its prompt, so other gates or another choice
of frames never pay for a caption twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from mien.corpus.gates import read_crop
from mien.corpus.ledger import LARGEST, Row
from mien.data.schema import SCHEMAS
from mien.errors import DataError, MienError

FINAL = "gate:"
"""Beginning of the reason of a caption that was made but fails a gate: it is not asked for again."""

HOPELESS = frozenset(("auth", "budget"))
"""Reasons that concern every picture: the stage stops, and goes on when it is run again."""

Judge = Callable[[Row], list[str]]
"""Caption gates: reason codes of a record; empty passes."""


class Captioned(Protocol):
    """A caption as a captioner gives it."""

    def record(self) -> Row:
        """`{"global": str, "locals": [...], "summary": str}` as in schema emocap/1."""
        ...


class Captioner(Protocol):
    """Writes a caption for an encoded picture; units are measured action units (left, right) in [0, 1].

    A failure is a MienError with a `reason`, a short code.
    """

    name: str
    prompt_sha: str

    def __call__(self, picture: bytes, units: Mapping[int, tuple[float, float]] | None) -> Captioned:
        """Caption one picture."""
        ...


def few_locals(record: Row) -> list[str]:
    """The least of gates (spec, section 2, step 4): three local captions or more, and both other parts."""
    absent = [part for part in ("global", "summary") if not record[part]]
    few = ["few_locals"] if len(record["locals"]) < 3 else []
    return few + [f"no_{part}" for part in absent]


def describe(
    path: Path,
    rows: list[Row],
    captioner: Captioner,
    judge: Judge,
    jobs: int = 4,
    seen: Callable[[], None] = lambda: None,
) -> Counter[str]:
    """Caption the faces of one movie that have no caption yet, `jobs` at a time.

    A line goes to the disk as soon as a caption is there, so a kill loses only what is under way. Captions
    that failed for a passing reason (a server, a time limit) are asked for again in the next run; those that
    fail a gate are not.

    Args:
        path: any ledger of the movie; the captions lie beside it.
        rows: chosen faces that stay.
        captioner: from many threads at once.
        judge: gates.
        jobs: threads.
        seen: called after each caption, for a progress bar.

    Returns:
        Faces by reason; `kept` have a caption that passes.

    Raises:
        DataError: if crops or captions are damaged.
        MienError: from the captioner, if it has no `reason` or one of `HOPELESS`.
    """
    book = captions_path(path, captioner)
    known = read_captions(book)
    missing = [row for row in rows if not _settled(known.get(row["sha"]))]
    with book.open("ab") as file, ThreadPoolExecutor(jobs) as pool:
        _drop_torn_line(book)
        for line in _made(pool, missing, lambda row: _caption(path, row, captioner, judge), 2 * jobs):
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            known[line["crop"]] = line
            seen()
    return Counter(known[row["sha"]]["reason"] or "kept" for row in rows)


def captions_path(path: Path, captioner: Captioner) -> Path:
    """The captions of one captioner and prompt, beside a ledger of the movie."""
    told = hashlib.sha256(f"{captioner.name}\n{captioner.prompt_sha}".encode()).hexdigest()[:12]
    return path.with_name(f"captions-{told}.jsonl")


def read_captions(path: Path) -> dict[str, Row]:
    """Newest caption or reason by hash of the crop; a torn last line of a killed run is left out.

    Raises:
        DataError: if a line before the last is damaged.
    """
    if not path.is_file():
        return {}
    if path.stat().st_size > LARGEST:
        raise DataError(f"captions of more than {LARGEST} bytes", where=path, fix="move the file away")
    *lines, _ = path.read_bytes().split(b"\n")
    try:
        return {line["crop"]: line for line in map(json.loads, lines)}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("damaged captions", where=path, fix="delete the broken line") from error


def _settled(line: Row | None) -> bool:
    return line is not None and (line["reason"] is None or line["reason"].startswith(FINAL))


def _drop_torn_line(path: Path) -> None:
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


def _made(pool: ThreadPoolExecutor, rows: list[Row], work: Callable[[Row], Row], most: int) -> Iterator[Row]:
    """Results as they come, with `most` under way.

    After an error nothing more is begun, and it is raised when what was under way has come back: an answer
    that was paid for is not thrown away.
    """
    under_way, waiting = set[Future[Row]](), iter(rows)
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


def _caption(path: Path, row: Row, captioner: Captioner, judge: Judge) -> Row:
    about: dict[str, Any] = {"crop": row["sha"], "uid": row["uid"], "record": None, "reason": None}
    try:
        record = captioner(read_crop(path, row), None).record()
    except MienError as error:
        reason = getattr(error, "reason", None)
        if not isinstance(reason, str) or reason in HOPELESS:
            raise
        return {**about, "reason": reason}
    fits = SCHEMAS["emocap/1"]({"uid": 0, "label": "-", "group": "-", **record}) is None
    faults = judge(record) if fits else ["schema"]
    return {**about, "record": record, "reason": f"{FINAL}{faults[0]}" if faults else None}
