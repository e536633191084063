"""From movie files to shards: every stage in order, several movies at a time, going on after any death."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mien.corpus.caption_stage import LEAST, Captioner, Judge, Stage
from mien.corpus.describe import describe
from mien.corpus.ledger import Row, locked
from mien.corpus.options import Options, write_whole
from mien.corpus.parts import describe_split, split_movies
from mien.corpus.publish import SHARDS, Source, write_shards
from mien.corpus.scan import Movie, read_scan, usable
from mien.corpus.stages import STAGES, Workplace, begin_worker, run_stage
from mien.corpus.units import UnitMeter
from mien.errors import DataError

SPLIT = "split.json"
"""Part of each movie, counts of the parts, and near copies between them."""


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk.

    Attributes:
        out: its folder.
        options: what decides its content.
        movies: the usable ones, or those of this job, by hash.
        captioner: None while there are no captions.
        judge: caption gates.
        meter: measures action units for captioner and gates, None does not.
        jobs: processes (captions: threads) at a time.
        progress: whether to show bars on stderr.
    """

    out: Path
    options: Options
    movies: Sequence[Movie]
    captioner: Captioner | None = None
    judge: Judge = LEAST
    meter: UnitMeter | None = None
    jobs: int = 1
    progress: bool = False

    def place(self, movie: Movie) -> Workplace:
        """The ledgers of a movie."""
        return Workplace(self.out, movie, self.options)

    def run(self, stages: Sequence[str] = STAGES) -> dict[str, str]:
        """Run stages of every movie; returns the movies that cannot be read any more, with the reason.

        Raises:
            DataError: if another process works on a movie, or what a stage reads is missing or damaged.
        """
        # Workers mark a movie failed and go on with the others: one bad file costs only itself.
        with self._bar("corpus", len(self.movies) * len(stages)) as step:
            if self.jobs == 1 or len(self.movies) < 2:
                return self._run_here(stages, step)
            return self._run_pool(stages, step)

    def _run_here(self, stages: Sequence[str], step: Callable[[int], None]) -> dict[str, str]:
        failed = {}
        for movie in self.movies:
            for place, stage in enumerate(stages):
                if reason := run_stage(self.out, movie, self.options, stage):
                    failed[movie.name] = reason
                    step(len(stages) - place)
                    break
                step(1)
        return failed

    def _run_pool(self, stages: Sequence[str], step: Callable[[int], None]) -> dict[str, str]:
        failed = {}
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.jobs, context, initializer=begin_worker) as pool:
            under_way: dict[Future[str | None], tuple[Movie, int]] = {}

            def submit(movie: Movie, place: int) -> None:
                work = pool.submit(run_stage, self.out, movie, self.options, stages[place])
                under_way[work] = (movie, place)

            for movie in self.movies:
                submit(movie, 0)
            try:
                while under_way:
                    for work in wait(under_way, return_when=FIRST_COMPLETED).done:
                        movie, place = under_way.pop(work)
                        if reason := work.result():
                            failed[movie.name] = reason
                        elif place + 1 < len(stages):
                            submit(movie, place + 1)
                        step(len(stages) - place if reason else 1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return failed

    @property
    def stage(self) -> Stage | None:
        """Who captions and judges, None without a captioner."""
        return Stage(self.captioner, self.judge, self.meter) if self.captioner is not None else None

    def caption(self) -> Counter[str]:
        """Caption and judge every face that stays; returns faces by reason.

        Raises:
            DataError: without a captioner, or if an earlier stage is not done.
        """
        stage = self.stage
        if stage is None:
            raise DataError("no captioner", where=self.out, fix="give --captioner")
        counts = Counter[str]()
        faces = {movie.name: self.staying(movie) for movie in self.movies}
        with self._bar("captions", sum(map(len, faces.values()))) as step:
            for movie in self.movies:
                place = self.place(movie)
                if faces[movie.name]:
                    with locked(place.folder):
                        rows, path = faces[movie.name], place.path("gates")
                        seen = lambda: step(1)  # noqa: E731
                        counts += describe(path, rows, stage, self.jobs, seen)
        return counts

    def staying(self, movie: Movie) -> list[Row]:
        """Chosen faces of a movie that are no copies: rows of stage 3 with `dup` and `phash` of stage 4."""
        place = self.place(movie)
        if place.failure() is not None:
            return []
        chosen = {row["key"]: row for row in place.need("gates").rows if row["reason"] is None}
        kept = [row for row in place.need("dedup").rows if row["reason"] is None]
        return [chosen[row["key"]] | {"dup": row["dup"], "phash": row["phash"]} for row in kept]

    def captioned(self, movie: Movie) -> list[Row]:
        """Of these the ones with a caption that passes, or all without a captioner."""
        rows = self.staying(movie)
        if self.captioner is None or not rows:
            return rows
        known = self.outcomes(movie)
        return [row for row in rows if row["sha"] in known and known[row["sha"]]["reason"] is None]

    def outcomes(self, movie: Movie) -> dict[str, Row]:
        """What has become of a movie's faces in the caption stage, as `Stage.outcomes`; {} without one."""
        return self.stage.outcomes(self.place(movie).path("gates")) if self.stage is not None else {}

    def split(self) -> dict[str, str]:
        """Write `split.json`; returns the part of each movie that has samples."""
        faces = {movie.name: self.captioned(movie) for movie in self.movies}
        if self.captioner is not None and not any(map(self.outcomes, self.movies)):
            fix = "run `mien data emocap caption` with the same --captioner and --meter first"
            raise DataError("no captions by this captioner and meter", where=self.out, fix=fix)
        parts = split_movies(faces, self.options)
        told = {"movies": parts, **describe_split(faces, parts, self.options)}
        write_whole(self.out / SPLIT, json.dumps(told, indent=1) + "\n")
        return parts

    def shards(self) -> Path:
        """Write the sets; `split.json` must be there.

        Raises:
            DataError: if the split is missing, or there is no sample at all.
        """
        path = self.out / SPLIT
        if not path.is_file():
            raise DataError("no split", where=path, fix="run `mien data emocap split` first")
        parts = json.loads(path.read_text(encoding="utf-8"))["movies"]
        movies = [movie for movie in self.movies if movie.name in parts]
        faces = {movie.name: self.captioned(movie) for movie in movies}
        if not any(faces.values()):
            fix = "see `mien data emocap report` for the reasons"
            raise DataError("no face is left for shards", where=self.out, fix=fix)
        made = None if self.captioner is None else (self.captioner.name, self.captioner.prompt_sha)
        sources = {
            movie.name: Source(
                movie, self.place(movie).path("gates"), self.outcomes(movie) if self.captioner else None
            )
            for movie in movies
        }
        with locked(self.out):
            key = self._shards_key(faces, parts, made, sources)
            return write_shards(self.out, key, sources, faces, parts, made, self.options)

    def _shards_key(
        self,
        faces: dict[str, list[Row]],
        parts: dict[str, str],
        made: tuple[str, str] | None,
        sources: dict[str, Source],
    ) -> str:
        captions = [
            source.captions[row["sha"]]["record"]
            for name, source in sources.items()
            for row in faces[name]
            if source.captions is not None
        ]
        text = json.dumps([faces, parts, made, captions, self.options.samples_per_shard], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _bar(self, title: str, total: int) -> _Bar:
        return _Bar(title, total, self.progress)


class _Bar:
    """A progress bar on stderr that is gone when the work is done."""

    def __init__(self, title: str, total: int, show: bool) -> None:
        self._bar = Progress(console=Console(stderr=True), transient=True, disable=not show)
        self._task = self._bar.add_task(title, total=total)

    def __enter__(self) -> Callable[[int], None]:
        self._bar.start()
        return lambda count: self._bar.advance(self._task, count)

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


def open_corpus(out: Path, options: Options, part: str | None = None) -> Corpus:
    """A corpus whose movies have been scanned, or the share of them that falls to one job.

    Args:
        out: its folder.
        options: of it.
        part: `i/n`, i from 0: the i-th of n jobs.

    Raises:
        DataError: if it has not been scanned, or the part is none.
    """
    rows = read_scan(out)
    if not rows:
        raise DataError("no list of movies", where=out, fix="run `mien data emocap scan MOVIES OUT` first")
    index, count = parse_part(part)
    return Corpus(out, options, usable(rows)[index::count])


def parse_part(part: str | None) -> tuple[int, int]:
    """`i/n` with 0 <= i < n; (0, 1) for None.

    Raises:
        DataError: for anything else.
    """
    if part is None:
        return 0, 1
    index, _, count = part.partition("/")
    if index.isdecimal() and count.isdecimal() and int(index) < int(count):
        return int(index), int(count)
    raise DataError(f"part {part!r}", where="--part", fix="write i/n with i from 0, such as 0/8")


def has_shards(out: Path) -> bool:
    """Whether the sets have been written."""
    return (out / SHARDS).is_dir()
