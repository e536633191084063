"""Captions through the seam, with captioners that fail in every way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import pytest

from mien.corpus.build import Corpus
from mien.corpus.caption_stage import LEAST, Stage, read_captions
from mien.corpus.captioning import open_captioner
from mien.corpus.ledger import Row
from mien.data.check import check
from mien.data.reader import ShardSet
from mien.errors import DataError


class CaptionError(DataError):
    """A caption that cannot be had."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"no caption: {reason}")


def sentences(count: int = 3) -> Row:
    local = {"region": "mouth", "au": [12], "intensity": "low"}
    parts = [{"text": f"The mouth, part {n}, is drawn up.", **local} for n in range(count)]
    return {"global": "A mild joy.", "locals": parts, "summary": "The mouth tells of joy."}


@dataclass
class Double:
    """Fails for the first pictures in the ways given, then captions; counts its calls by picture."""

    ways: list[str] = field(default_factory=list)
    name: str = "double"
    prompt_sha: str = "0"
    calls: Counter[bytes] = field(default_factory=Counter)
    lock: Lock = field(default_factory=Lock)

    def __call__(self, picture: bytes, units: Mapping[int, tuple[float, float]] | None) -> Double.Told:
        with self.lock:
            self.calls[picture] += 1
            way = self.ways.pop(0) if self.ways else ""
        if way == "few":
            return Double.Told(sentences(2))
        if way == "schema":
            return Double.Told({"global": "A mild joy.", "summary": None})
        if way == "bug":
            raise ZeroDivisionError
        if way:
            raise CaptionError(way)
        assert picture[:2] == b"\xff\xd8"
        return Double.Told(sentences())

    @dataclass
    class Told:
        """A caption."""

        tree: Row

        def record(self) -> Row:
            return self.tree


@pytest.fixture
def captioned(corpus: Corpus, tmp_path: Path) -> Corpus:
    """A copy of the finished corpus, so that captions do not meet those of other tests."""
    import shutil

    out = tmp_path / "c"
    shutil.copytree(corpus.out, out)
    shutil.rmtree(out / "shards")
    return replace(corpus, out=out)


def test_passing_failures_are_tried_again_and_final_ones_not(captioned: Corpus) -> None:
    double = Double(["timeout", "few", "refused", "schema"])
    corpus = replace(captioned, captioner=double, judge=LEAST, jobs=2)
    total = len(corpus.staying(corpus.movies[0]))
    first = corpus.caption()
    assert first == {"timeout": 1, "refused": 1, "gate:few_locals": 1, "gate:schema": 1, "kept": total - 4}
    second = corpus.caption()
    assert second == {"gate:few_locals": 1, "gate:schema": 1, "kept": total - 2}
    assert sorted(double.calls.values()) == [1] * (total - 2) + [2] * 2
    assert corpus.caption() == second
    assert sum(double.calls.values()) == total + 2


def test_captioned_shards_fit_the_schema(captioned: Corpus) -> None:
    corpus = replace(captioned, captioner=Double(["few"]), judge=LEAST, jobs=1)
    total = len(corpus.staying(corpus.movies[0]))
    corpus.caption()
    corpus.split()
    folder = corpus.shards() / "train"
    check(folder).raise_if_bad()
    samples = list(ShardSet(folder))
    assert len(samples) == total - 1
    assert samples[0].record["captioner"] == {"name": "double", "prompt_sha": "0"}
    assert samples[0].record["locals"] == sentences()["locals"]


def test_another_prompt_is_another_caption(captioned: Corpus) -> None:
    double = Double()
    replace(captioned, captioner=double).caption()
    other = Double(prompt_sha="1")
    replace(captioned, captioner=other).caption()
    assert sum(other.calls.values()) == sum(double.calls.values()) > 0


def test_a_bug_is_no_reason_and_loses_no_caption_made_before(captioned: Corpus) -> None:
    double = Double(["", "", "", "bug"])
    corpus = replace(captioned, captioner=double, jobs=1)
    with pytest.raises(ZeroDivisionError):
        corpus.caption()
    assert corpus.caption()["kept"] == len(corpus.staying(corpus.movies[0]))
    assert max(double.calls.values()) <= 2


@pytest.mark.parametrize("reason", ["auth", "budget"])
def test_what_concerns_every_picture_stops_the_stage_and_keeps_what_was_paid_for(
    captioned: Corpus, reason: str
) -> None:
    double = Double(["", "", reason])
    corpus = replace(captioned, captioner=double, jobs=2)
    with pytest.raises(CaptionError, match=reason):
        corpus.caption()
    path = Stage(double).answers(corpus.place(corpus.movies[0]).path("gates"))
    asked = sum(double.calls.values())
    assert len(read_captions(path)) == asked - 1
    assert asked <= 3 + 4, "nothing is begun after it"
    assert corpus.caption()["kept"] == len(corpus.staying(corpus.movies[0]))
    assert sum(double.calls.values()) == len(corpus.staying(corpus.movies[0])) + 1


def test_a_torn_line_is_made_again(captioned: Corpus) -> None:
    double = Double()
    corpus = replace(captioned, captioner=double)
    whole = corpus.caption()
    path = Stage(double).answers(corpus.place(corpus.movies[0]).path("gates"))
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    assert len(read_captions(path)) == whole["kept"] - 1
    assert corpus.caption() == whole
    assert len({json.loads(line)["crop"] for line in path.read_bytes().splitlines()}) == whole["kept"]
    assert sum(double.calls.values()) == whole["kept"] + 1


@pytest.mark.parametrize("source", ["gemini", "os:getcwd", "no.such.module:make", "a b:c", "json:"])
def test_what_is_no_captioner_is_refused(source: str) -> None:
    with pytest.raises(DataError, match="--captioner"):
        open_captioner(source)
