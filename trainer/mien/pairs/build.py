"""From videos to sets of pairs: every stage of every video, going on after any death."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from mien.corpus.ledger import locked
from mien.corpus.options import write_whole
from mien.corpus.publish import SHARDS, is_built, renewed
from mien.corpus.report import REPORT, SHEET, Counts
from mien.corpus.scan import Movie, read_scan, scan_counts
from mien.corpus.stages import Place, one_thread
from mien.data.split import check_parts, deal
from mien.data.writer import ShardWriter
from mien.errors import DataError
from mien.faces.production import track
from mien.faces.sheet import contact_sheet
from mien.pairs import labels, pictures
from mien.pairs.choose import Pair, pairs_of
from mien.pairs.labels import Estimators
from mien.pairs.options import PairOptions
from mien.pairs.samples import key_of, members_of, picture_of
from mien.systems.editing.pair_rules import UNITS

_SHOWN = 16
_SIDE = 160


class PairPlace(Place):
    """The ledgers of one video.

    Args:
        out: folder of all.
        movie: the video.
        options: of the pairs.
        estimators: who reads the pictures; other ones label anew.
    """

    uses = Place.uses | {"pictures": pictures.USES, "labels": ()}
    options: PairOptions

    def __init__(self, out: Path, movie: Movie, options: PairOptions, estimators: Estimators) -> None:
        super().__init__(out, movie, options)
        self.keys["labels"] = options.key((), self.keys["pictures"], *estimators.names)
        self._estimators = estimators

    def work_further(self, stage: str) -> None:
        """Pictures, or what they show."""
        path, key = self.path(stage), self.keys[stage]
        if stage == "pictures":
            pictures.cut_pictures(self.movie, path, key, self.options, self.need("faces"))
        else:
            labels.label_pictures(path, key, self.need("pictures"), self._estimators)

    def mend(self, stage: str) -> str:
        """The one command."""
        return "run `mien data pairs VIDEOS OUT` with the same estimators, without --part"


@dataclass(frozen=True)
class PairSet:
    """Pairs in the making.

    Attributes:
        out: folder of all.
        options: what decides the content.
        movies: the videos, or those of this job.
        estimators: who reads the pictures.
        progress: whether to show a bar on stderr.
    """

    out: Path
    options: PairOptions
    movies: Sequence[Movie]
    estimators: Estimators
    progress: bool = False

    def place(self, movie: Movie) -> PairPlace:
        """The ledgers of a video."""
        return PairPlace(self.out, movie, self.options, self.estimators)

    def run(self) -> dict[str, str]:
        """Run every stage of every video; returns those that cannot be read any more, with the reason.

        Raises:
            DataError: if another process works on a video, or an estimator gives no usable numbers.
        """
        failed: dict[str, str] = {}
        steps = [(movie, stage) for movie in self.movies for stage in PairPlace.uses]
        with one_thread():
            for movie, stage in track(steps, len(steps), "pairs from videos", self.progress):
                if movie.name not in failed and (reason := self.place(movie).run(stage)):
                    failed[movie.name] = reason
        return failed

    @cached_property
    def pairs(self) -> dict[str, tuple[list[Pair], Counter[str]]]:
        """Pairs of each readable video, and its tracks by what came of them.

        Raises:
            DataError: if a stage is not done.
        """
        places = {movie: self.place(movie) for movie in self.movies}
        return {
            movie.name: pairs_of(movie, place.need("labels").rows, self.options)
            for movie, place in places.items()
            if place.failure() is None
        }

    def split(self) -> dict[str, str]:
        """Part of each video, or of each person as `<video>p<track>`; by `options.split`.

        Raises:
            DataError: for parts that are no shares.
        """
        check_parts(self.options.parts)
        sizes = Counter[str]()
        for name, (pairs, _) in self.pairs.items():
            sizes.update(self.dealt(name, pair) for pair in pairs)
        if not sizes:
            return {}
        names, parts = sorted(sizes), list(self.options.parts)
        counts = np.array([[sizes[name]] for name in names], dtype=np.int64)
        places = deal(counts, np.array(list(self.options.parts.values())), self.options.seed)
        return {name: parts[place] for name, place in zip(names, places.tolist(), strict=True)}

    def dealt(self, video: str, pair: Pair) -> str:
        """What of a pair is dealt to one part as a whole."""
        return video if self.options.split == "video" else f"{video}p{pair.person}"

    def write(self) -> Path:
        """Write `out/shards/<part>`, schema pair/1; nothing is done if they are there and the same.

        Raises:
            DataError: if there is no pair, or a picture is damaged.
        """
        parts = self.split()
        if not parts:
            fix = "see the reasons above; give other videos or loosen a gate with --set"
            raise DataError("no pair is left", where=self.out, fix=fix)
        told = {name: [key_of(name, pair) for pair in pairs] for name, (pairs, _) in self.pairs.items()}
        made = [self.options.model_dump(), self.estimators.names, parts, told]
        key = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
        with locked(self.out):
            if not is_built(self.out, key):
                with renewed(self.out, key) as partial:
                    for part in sorted(set(parts.values())):
                        self._write_part(partial / part, part, parts)
        return self.out / SHARDS

    def _write_part(self, folder: Path, part: str, parts: dict[str, str]) -> None:
        with ShardWriter(folder, "pair/1", self.options.samples_per_shard) as writer:
            for name, (pairs, _) in sorted(self.pairs.items()):
                for pair in pairs:
                    if parts[self.dealt(name, pair)] == part:
                        writer.write(key_of(name, pair), self._members(name, pair))

    def _members(self, name: str, pair: Pair) -> dict[str, bytes]:
        return members_of(self._folder(name), name, pair, self.estimators.names)

    def _folder(self, name: str) -> Path:
        return self.out / "work" / name

    def report(self, *, whole: bool = True) -> Counts:
        """Counts by reason; `whole` also writes them, `report.json`, and `sheet.png`: sources beside targets.

        Raises:
            DataError: if a stage is not done, or a picture is damaged.
        """
        counts: Counts = {"scan": scan_counts(read_scan(self.out))}
        for movie in self.movies:
            place = self.place(movie)
            if failure := place.failure():
                counts.setdefault(failure[0], Counter())[f"video_{failure[1]}"] += 1
                continue
            for stage in PairPlace.uses:
                counts.setdefault(stage, Counter()).update(place.need(stage).counts)
        every = [(name, pair) for name, (pairs, _) in self.pairs.items() for pair in pairs]
        counts["tracks"] = sum((about for _, about in self.pairs.values()), Counter[str]())
        same = sum(pair.source is pair.target for _, pair in every)
        counts["pairs"] = Counter(kept=len(every), of_a_picture_with_itself=same)
        if not whole:
            return counts
        parts = self.split()
        counts["split"] = Counter(parts[self.dealt(name, pair)] for name, pair in every)
        told = {stage: dict(by) for stage, by in counts.items()}
        write_whole(self.out / REPORT, json.dumps(told, indent=1) + "\n")
        if every:
            self._draw([every[place] for place in np.linspace(0, len(every) - 1, _SHOWN).astype(int)])
        return counts

    def _draw(self, shown: list[tuple[str, Pair]]) -> None:
        drawn: list[np.ndarray] = []
        titles: list[str] = []
        for name, pair in shown:
            drawn += [_small(picture_of(self._folder(name), row)) for row in (pair.source, pair.target)]
            titles += [f"{name[:6]} {pair.source['frame']}", _moved(pair)]
        Image.fromarray(contact_sheet(drawn, titles, 8)).save(self.out / SHEET)


def _moved(pair: Pair) -> str:
    """The unit that differs most, such as `AU12 +2.5`."""
    if pair.source is pair.target:
        return "the same"
    delta = np.array(pair.target["units"]) - np.array(pair.source["units"])
    place = int(np.abs(delta).argmax())
    return f"AU{UNITS[place]} {delta[place]:+.1f}"


def _small(jpeg: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
