"""A corpus's captions in numbers: what became of them, gate by gate, how long they are, what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from mien.corpus.build import Corpus
from mien.corpus.caption_report import CaptionReport, report_captions
from mien.corpus.caption_stage import read_lines
from mien.corpus.ledger import Row
from mien.errors import DataError

TO_DO = "to_do"
"""A face that has no caption or no verdict yet."""

PARTS = ("global", "local", "summary")
"""Kinds of sentence."""


@dataclass(frozen=True)
class Face:
    """A face of the caption stage: its chosen row, and its outcome (None: to do)."""

    movie: str
    row: Row
    outcome: Row | None

    @property
    def reason(self) -> str:
        """`kept`, `to_do`, the captioner's reason, or `gate:<code>`."""
        return TO_DO if self.outcome is None else self.outcome["reason"] or "kept"


@dataclass(frozen=True)
class Cost:
    """What the answers took, over all runs, failed ones too; `unknown` of them did not tell.

    `answers` counts the lines of the captioner, `cached` those that came from its own cache.
    """

    answers: int
    cached: int
    requests: int
    tokens_in: int
    tokens_out: int
    usd: float
    unknown: int


@dataclass(frozen=True)
class Summary:
    """Of the caption stage.

    Attributes:
        outcomes: faces by reason.
        gates: captions by code, each that a caption fails.
        judged: captions with a verdict.
        words: by kind of sentence of captions that pass: count; 5th, 50th, 95th percentile and most words.
        locals_: captions that pass by their number of local sentences.
        variety: of captions that pass, None without any.
        cost: over all runs.
    """

    outcomes: Counter[str]
    gates: Counter[str]
    judged: int
    words: dict[str, tuple[int, float, float, float, int]]
    locals_: Counter[int]
    variety: CaptionReport | None
    cost: Cost


def faces_of(corpus: Corpus) -> list[Face]:
    """Every face of the caption stage, movie by movie.

    Raises:
        DataError: without a captioner, or if an earlier stage is not done.
    """
    if corpus.stage is None:
        raise DataError("no captioner", where=corpus.out, fix="give --captioner")
    found = []
    for movie in corpus.movies:
        outcomes = corpus.outcomes(movie)
        found += [Face(movie.name, row, outcomes.get(row["sha"])) for row in corpus.staying(movie)]
    return found


def summarise(corpus: Corpus, faces: list[Face]) -> Summary:
    """Numbers of `faces_of`; raises as it does."""
    outcomes = [face.outcome for face in faces if face.outcome is not None]
    kept = [outcome["record"] for outcome in outcomes if outcome["reason"] is None]
    return Summary(
        Counter(face.reason for face in faces),
        Counter(code for outcome in outcomes for code in outcome["codes"]),
        sum(outcome["record"] is not None for outcome in outcomes),
        {part: _spread(_sentences(kept, part)) for part in PARTS} if kept else {},
        Counter(len(record["locals"]) for record in kept),
        report_captions(kept) if kept else None,
        _cost(corpus),
    )


def _sentences(records: list[Row], part: str) -> Iterator[str]:
    for record in records:
        if part == "local":
            yield from (local["text"] for local in record["locals"])
        else:
            yield record[part]


def _spread(texts: Iterable[str]) -> tuple[int, float, float, float, int]:
    counts = [len(text.split()) for text in texts]
    low, middle, high = (float(x) for x in np.percentile(counts, [5, 50, 95]))
    return len(counts), low, middle, high, max(counts)


def _cost(corpus: Corpus) -> Cost:
    stage = corpus.stage
    assert stage is not None
    lines = [
        line
        for movie in corpus.movies
        for line in read_lines(stage.answers(corpus.place(movie).path("gates")))
    ]
    told: list[dict[str, Any]] = [line["usage"] for line in lines if "usage" in line]
    return Cost(
        len(lines),
        sum(usage["cached"] for usage in told),
        sum(usage["requests"] for usage in told),
        sum(usage["tokens_in"] for usage in told),
        sum(usage["tokens_out"] for usage in told),
        sum(usage["usd"] for usage in told),
        len(lines) - len(told),
    )


def tables(summary: Summary, openings: int = 10) -> str:
    """The numbers as Markdown tables."""
    faces = sum(summary.outcomes.values())
    blocks = [_counts("outcome", "faces", summary.outcomes, faces)]
    if summary.gates:
        blocks.append(_counts("gate", "captions that fail it", summary.gates, summary.judged))
    if summary.words:
        lines = [
            "| sentences | count | words, 5 % | median | 95 % | most |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for part, (count, low, middle, high, most) in summary.words.items():
            lines.append(f"| {part} | {count:,} | {low:.0f} | {middle:.0f} | {high:.0f} | {most} |")
        blocks.append("\n".join(lines))
        told = ", ".join(f"{number}: {count:,}" for number, count in sorted(summary.locals_.items()))
        blocks.append(f"local sentences of a caption: {told}")
    if summary.variety is not None:
        blocks.append(_variety(summary.variety, openings))
    blocks.append(_cost_line(summary.cost))
    return "\n\n".join(blocks)


def _counts(name: str, of: str, counts: Counter[str], total: int) -> str:
    rows = [f"| {key} | {n:,} | {n / max(total, 1):.3f} |" for key, n in counts.most_common()]
    return "\n".join([f"| {name} | {of} | share |", "|---|---:|---:|", *rows])


def _variety(variety: CaptionReport, openings: int) -> str:
    lines = ["| sentences open with | share |", "|---|---:|"]
    lines += [f"| {text} | {share:.3f} |" for text, share in variety.templates[:openings]]
    shared = len(variety.flagged())
    lines += ["", f"captions with a sentence that another one has, too: {shared:,} of {variety.captions:,}"]
    return "\n".join(lines)


def _cost_line(cost: Cost) -> str:
    unknown = f"; {cost.unknown:,} did not tell" if cost.unknown else ""
    return (
        f"cost: {cost.usd:.4f} USD, {cost.requests:,} requests for {cost.answers:,} answers "
        f"({cost.cached:,} from the cache), {cost.tokens_in:,} tokens in, {cost.tokens_out:,} out{unknown}"
    )


def as_json(summary: Summary) -> dict[str, Any]:
    """The numbers for a file; the texts that come again are left out."""
    told = {field.name: getattr(summary, field.name) for field in fields(summary)}
    told |= {name: dict(told[name]) for name in ("outcomes", "gates", "locals_")}
    told |= {"cost": asdict(summary.cost), "variety": None}
    if summary.variety is not None:
        told["variety"] = asdict(replace(summary.variety, repeats=()))
        told["variety"]["captions_that_share_a_sentence"] = len(summary.variety.flagged())
    return told
