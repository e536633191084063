"""Stage 0: the movie files of a folder, known by a hash of their content."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mien.corpus.ledger import locked
from mien.corpus.options import write_whole
from mien.corpus.video import VideoError, probe
from mien.errors import DataError

MOVIES = "movies.jsonl"
"""One line a file: path, size, hash, facts or the reason why it is left out."""

EXCLUDE = "exclude.txt"
"""The exclusion list of a corpus; it holds until another one is given."""

SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("mp4", "m4v", "mkv", "mov", "avi", "webm", "mpg", "mpeg", "ts", "m2ts", "wmv", "flv"),
        *("ogv", "3gp", "vob", "mp3", "m4a", "wav"),
    )
)
"""Endings of the files that are looked at."""

_LARGEST_LIST = 16 << 20
_PATIENCE_S = 24 * 3600.0


@dataclass(frozen=True)
class Movie:
    """A usable movie: its number (48 bits of the SHA-256 of the file), path, title and facts."""

    sha: str
    path: Path
    width: int
    height: int
    fps: float
    seconds: float

    @property
    def number(self) -> int:
        """The `movie` of records."""
        return int(self.sha[:12], 16)

    @property
    def name(self) -> str:
        """The first part of sample names."""
        return self.sha[:12]


def scan(source: Path, out: Path, exclude: Path | None = None, jobs: int = 4) -> list[Movie]:
    """Look at every file below `source` (or at that one file) and write `out/movies.jsonl`.

    A file that was looked at before and has the same size and time is not read again. Reasons to leave one
    out: `corrupt`, `no_video`, `empty`, `too_large`, `duplicate_file`, `excluded`.

    Args:
        source: a movie file or a folder.
        out: folder of the corpus.
        exclude: text file of titles, one a line, as of the movies of a benchmark; `#` begins a remark.
        jobs: files that are hashed at a time.

    Returns:
        The usable movies, by hash.

    Raises:
        DataError: if there is no movie file, or the list of titles cannot be read.
    """
    titles = _titles(out, exclude)
    files = sorted(_files(source))
    if not files:
        fix = f"endings that are known: {' '.join(sorted(SUFFIXES))}"
        raise DataError("no movie files", where=source, fix=fix)
    # Jobs of an array scan one after another; all but the first find everything known.
    with locked(out, _PATIENCE_S):
        if exclude:
            write_whole(out / EXCLUDE, "".join(f"{title}\n" for title in titles))
        known = {row["path"]: row for row in read_scan(out)}
        with ThreadPoolExecutor(jobs) as pool:
            rows = list(pool.map(lambda path: _look(path, known.get(str(path))), files))
        _mark(rows, titles)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_whole(out / MOVIES, text)
        write_whole(out / "overlap.json", json.dumps(_overlap(rows, titles), indent=1, ensure_ascii=False))
    return usable(rows)


def _titles(out: Path, exclude: Path | None) -> list[str]:
    kept = out / EXCLUDE
    return read_titles(exclude or kept) if exclude or kept.is_file() else []


def read_scan(out: Path) -> list[dict[str, Any]]:
    """Rows of `out/movies.jsonl`, [] if there is none.

    Raises:
        DataError: if it is damaged.
    """
    path = out / MOVIES
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise DataError("damaged list of movies", where=path, fix="delete it and scan again") from error


def usable(rows: Iterable[dict[str, Any]]) -> list[Movie]:
    """The movies that are not left out, by hash."""
    fields = ("width", "height", "fps", "seconds")
    return sorted(
        (
            Movie(row["sha"], Path(row["path"]), *(row["facts"][field] for field in fields))
            for row in rows
            if row["reason"] is None
        ),
        key=lambda movie: movie.sha,
    )


def scan_counts(rows: Iterable[dict[str, Any]]) -> Counter[str]:
    """Files by reason; `kept` are usable."""
    return Counter(row["reason"] or "kept" for row in rows)


def read_titles(path: Path) -> list[str]:
    """Titles of a list, one a line.

    Raises:
        DataError: if it is absent, too large or not UTF-8.
    """
    if not path.is_file() or path.stat().st_size > _LARGEST_LIST:
        raise DataError("no such list of titles, or too large", where=path, fix="give a text file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError("list of titles is not UTF-8", where=path, fix="save it as UTF-8") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def same_title(file: str, title: str) -> bool:
    """Whether a file's name means a title: same words but for articles, and no other year."""
    words, year = _words(file)
    wanted, wanted_year = _words(title)
    return bool(wanted) and words == wanted and (year is None or wanted_year is None or year == wanted_year)


def _words(name: str) -> tuple[tuple[str, ...], int | None]:
    """Words of a title without articles, up to the year; and the year."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or name
    words = re.findall(r"\w+", plain.casefold().replace("_", " ").replace("'", ""))
    # The first word may be a year itself, as in "1917"; release tags follow the year.
    year = next((place for place in range(1, len(words)) if re.fullmatch(r"(19|20)\d\d", words[place])), None)
    kept = words if year is None else words[:year]
    return tuple(w for w in kept if w not in ("the", "a", "an")), None if year is None else int(words[year])


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source.absolute()
    elif not source.is_dir():
        raise DataError("no such file or folder", where=source, fix="give the folder of the movies")
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in names:
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path.absolute()


def _look(path: Path, known: dict[str, Any] | None) -> dict[str, Any]:
    about = path.stat()
    stamp = [about.st_size, about.st_mtime_ns]
    if known and known["stamp"] == stamp:
        return {**known, "reason": known["fault"]}
    row: dict[str, Any] = {"path": str(path), "stamp": stamp, "facts": None, "fault": None}
    with path.open("rb") as file:
        row["sha"] = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        row["facts"] = asdict(probe(path))
    except VideoError as error:
        row["fault"] = error.reason
    return {**row, "reason": row["fault"]}


def _mark(rows: list[dict[str, Any]], titles: list[str]) -> None:
    seen = set[str]()
    for row in rows:
        if row["reason"] is not None:
            continue
        if any(same_title(Path(row["path"]).stem, title) for title in titles):
            row["reason"] = "excluded"
        elif row["sha"] in seen:
            row["reason"] = "duplicate_file"
        seen.add(row["sha"])


def _overlap(rows: list[dict[str, Any]], titles: list[str]) -> dict[str, Any]:
    """Which titles of the exclusion list were met, and by which files."""
    found = {
        title: [row["path"] for row in rows if same_title(Path(row["path"]).stem, title)] for title in titles
    }
    return {
        "titles": len(titles),
        "met": {title: paths for title, paths in found.items() if paths},
        "not_met": [title for title, paths in found.items() if not paths],
    }
