"""What each stage of a corpus kept and left out, by reason; a table, a file and a contact sheet."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from mien.corpus.build import SPLIT, Corpus
from mien.corpus.caption_sheet import choose_faces, draw_sheet
from mien.corpus.caption_summary import Summary, as_json, faces_of, summarise
from mien.corpus.gates import read_crop
from mien.corpus.options import write_whole
from mien.corpus.scan import read_scan, scan_counts
from mien.corpus.stages import STAGES
from mien.errors import DataError
from mien.faces.sheet import contact_sheet

REPORT, SHEET = "report.json", "sheet.png"
"""Files of a report in the folder of the corpus."""

CAPTIONS, CAPTION_SHEET = "captions.json", "captions.jpg"
"""Files of a report on its captions."""

_SHOWN = 48
_SIDE = 128

Counts = dict[str, Counter[str]]
"""Counts of each stage by reason; `kept` goes on to the next stage."""


def count(corpus: Corpus) -> Counts:
    """Counts of every stage as far as the movies have come.

    Raises:
        DataError: if a ledger is damaged.
    """
    counts: Counts = {"scan": scan_counts(read_scan(corpus.out))}
    for stage in STAGES:
        counts[stage] = Counter()
    for movie in corpus.movies:
        place = corpus.place(movie)
        failure = place.failure()
        if failure is not None:
            counts[failure[0]][f"movie_{failure[1]}"] += 1
        for stage in STAGES:
            ledger = place.read(stage)
            counts[stage] += ledger.counts if ledger else Counter(movies_to_do=0 if failure else 1)
    if corpus.captioner is not None and not counts["dedup"]["movies_to_do"]:
        counts["caption"] = _count_captions(corpus)
    path = corpus.out / SPLIT
    if path.is_file():
        told = json.loads(path.read_text(encoding="utf-8"))["parts"]
        counts["split"] = Counter({part: about["samples"] for part, about in told.items()})
    return counts


def _count_captions(corpus: Corpus) -> Counter[str]:
    counts = Counter[str]()
    for movie in corpus.movies:
        known = corpus.outcomes(movie)
        for row in corpus.staying(movie):
            line = known.get(row["sha"])
            counts["to_do" if line is None else line["reason"] or "kept"] += 1
    return counts


def table(counts: Counts) -> str:
    """Counts as a Markdown table: stage, kept, and the rest by falling number."""
    lines = ["| stage | kept | left out, and other counts |", "|---|---:|---|"]
    for stage, by in counts.items():
        rest = sorted((-n, name) for name, n in by.items() if name != "kept" and n)
        kept = sum(by.values()) if stage == "split" else by["kept"]
        lines.append(f"| {stage} | {kept:,} | {', '.join(f'{name} {-n:,}' for n, name in rest)} |")
    return "\n".join(lines)


def write_report(corpus: Corpus) -> Counts:
    """Write `report.json` and `sheet.png`, the faces that go into the shards; returns the counts.

    Raises:
        DataError: if a ledger or a crop is damaged.
    """
    counts = count(corpus)
    write_whole(corpus.out / REPORT, json.dumps({stage: dict(by) for stage, by in counts.items()}, indent=1))
    faces = [
        (corpus.place(movie).path("gates"), row) for movie in corpus.movies for row in corpus.captioned(movie)
    ]
    if faces:
        places = np.unique(np.linspace(0, len(faces) - 1, _SHOWN).round().astype(int))
        shown = [faces[place] for place in places]
        images = [_small(read_crop(path, row)) for path, row in shown]
        titles = [f"{row['shot']}/{row['track']} yaw {row['yaw']:.0f}" for _, row in shown]
        Image.fromarray(contact_sheet(images, titles, 8)).save(corpus.out / SHEET)
    return counts


def write_caption_report(corpus: Corpus, count: int = 16, seed: int = 0) -> tuple[Summary, Path]:
    """Write `captions.json` and `captions.jpg` of the caption stage; returns the numbers and the sheet.

    Args:
        corpus: with a captioner.
        count: faces on the sheet.
        seed: which faces.

    Raises:
        DataError: without a captioner or a face to caption, or if a ledger, a caption or a crop is damaged.
    """
    faces = faces_of(corpus)
    done = [face for face in faces if face.outcome is not None]
    if not done:
        fix = "run `mien data emocap caption` with the same --captioner and --meter first"
        raise DataError("no captions", where=corpus.out, fix=fix)
    summary = summarise(corpus, faces)
    write_whole(corpus.out / CAPTIONS, json.dumps(as_json(summary), indent=1) + "\n")
    places = {movie.name: corpus.place(movie).path("gates") for movie in corpus.movies}
    shown = choose_faces(done, count, seed)
    page = draw_sheet(shown, [read_crop(places[face.movie], face.row) for face in shown])
    Image.fromarray(page).save(corpus.out / CAPTION_SHEET, quality=90)
    return summary, corpus.out / CAPTION_SHEET


def _small(jpeg: bytes) -> np.ndarray:
    return np.asarray(
        Image.open(io.BytesIO(jpeg)).convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    )
