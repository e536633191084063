"""A meter inside the build: what it tells captioners, and the lies that it finds whoever tells them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from corpus.corpus_double import Liar
from corpus.test_describe import captioned  # noqa: F401
from mien.cli_corpus import emocap
from mien.corpus.build import Corpus
from mien.corpus.caption_gates import make_judge
from mien.corpus.caption_sheet import choose_faces
from mien.corpus.caption_summary import Face
from mien.corpus.units import FEATURES, NEVER, Trust, UnitMeter, save_meter
from mien.errors import DataError

NUMBERS = (1, 4, 12)


def meter_that_sees(
    units: dict[int, tuple[float, float]], trust: dict[int, Trust] | None = None
) -> UnitMeter:
    """A meter that reads the same of every face."""
    sides = np.array([side for number in NUMBERS for side in units.get(number, (0.0, 0.0))], np.float32)
    weights = np.zeros((FEATURES + 1, 2 * len(NUMBERS)), np.float32)
    weights[-1] = sides
    limits = [trust.get(n, NEVER) if trust else Trust(0.1, 0.3, 0.1) for n in NUMBERS]
    return UnitMeter(
        NUMBERS,
        weights,
        np.full(2 * len(NUMBERS), 0.2, np.float32),
        np.ones(len(NUMBERS), np.float32),
        np.array([(t.low, t.high, t.lead) for t in limits], np.float32),
        {"faces": 1, "people": 1, "sides": {str(n): [0.5, 0.4] for n in NUMBERS}},
    )


SMIRK = meter_that_sees({12: (0.6, 0.2)})


def _caption(corpus: Corpus, captioner: Liar, meter: UnitMeter | None) -> Counter[str]:
    return replace(corpus, captioner=captioner, judge=make_judge(meter), meter=meter).caption()


def _lies(captioner: Liar) -> Counter[str]:
    told = [captioner(picture, None).record()["locals"][0]["text"] for picture in list(captioner.calls)]
    return Counter("right" if "right" in t else "left" if "left" in t else "brows" for t in told)


def test_lies_pass_without_a_meter_and_are_caught_with_one(captioned: Corpus) -> None:  # noqa: F811
    liar = Liar()
    total = len(captioned.staying(captioned.movies[0]))
    assert _caption(captioned, liar, None) == {"kept": total}
    assert liar.units == [None] * total
    lies = _lies(_again(liar))
    assert min(lies["right"], lies["left"], lies["brows"]) >= 1
    caught = _caption(captioned, liar, SMIRK)
    assert caught == {
        "kept": lies["left"], "gate:asymmetry_unseen": lies["right"], "gate:unit_unseen": lies["brows"]
    }  # fmt: skip
    assert len(liar.calls) == total, "an answer that does not depend on the meter is not asked for again"


def _again(liar: Liar) -> Liar:
    """Another liar that has seen the same pictures, so that asking it leaves the counts of the first."""
    other = Liar()
    other.calls = list(liar.calls)
    return other


def test_another_meter_judges_anew_and_the_first_one_s_verdicts_stay(captioned: Corpus) -> None:  # noqa: F811
    liar, frown = Liar(), meter_that_sees({4: (0.5, 0.5)})
    first = _caption(captioned, liar, SMIRK)
    asked = len(liar.calls)
    other = _caption(captioned, liar, frown)
    assert other["kept"] == first["gate:unit_unseen"]
    assert other["gate:unit_unseen"] == asked - other["kept"]
    assert _caption(captioned, liar, SMIRK) == first
    assert len(liar.calls) == asked


def test_a_captioner_that_uses_units_gets_them_and_is_asked_again_for_other_ones(
    captioned: Corpus,  # noqa: F811
) -> None:
    liar = Liar()
    liar.uses_units = True
    _caption(captioned, liar, SMIRK)
    total = len(liar.calls)
    assert all(units is not None and units[12] == pytest.approx((0.6, 0.2)) for units in liar.units)
    _caption(captioned, liar, SMIRK)
    assert len(liar.calls) == total
    _caption(captioned, liar, meter_that_sees({4: (0.5, 0.5)}))
    assert len(liar.calls) == 2 * total


def test_a_meter_refutes_only_what_it_can_tell(captioned: Corpus) -> None:  # noqa: F811
    blind = meter_that_sees({12: (0.6, 0.2)}, {12: Trust(0.1, 0.3, -2.0)})
    assert set(_caption(captioned, Liar(), blind)) == {"kept"}


def _run(*words: object) -> str:
    done = CliRunner().invoke(emocap, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_commands_with_a_meter(captioned: Corpus, tmp_path: Path) -> None:  # noqa: F811
    folder, out = tmp_path / "meter", captioned.out
    save_meter(SMIRK, folder)
    liar = ("--captioner", "corpus.corpus_double:lie")
    told = _run("caption", out, *liar, "--meter", folder)
    assert "gate:asymmetry_unseen" in told
    kept = int(told.splitlines()[-1].split("|")[2])
    with pytest.raises(DataError, match="no captions by this captioner and meter"):
        _run("split", out, *liar)
    _run("split", out, *liar, "--meter", folder)
    _run("shards", out, *liar, "--meter", folder)
    assert f"| split | {kept} |" in _run("report", out, *liar, "--meter", folder)
    report = _run("caption-report", out, *liar, "--meter", folder, "--faces", "4")
    total = len(captioned.staying(captioned.movies[0]))
    assert f"| kept | {kept} |" in report
    assert "| asymmetry_unseen |" in report
    assert f"0 requests for {total} answers" in report
    assert json.loads((out / "captions.json").read_text())["judged"] == total
    assert np.asarray(Image.open(out / "captions.jpg")).std() > 20
    with pytest.raises(DataError, match="without captions to judge"):
        _run("split", out, "--meter", folder)
    with pytest.raises(DataError, match="no captions"):
        _run("caption-report", out, "--captioner", "corpus.corpus_double:lie")


def test_the_sheet_shows_every_reason() -> None:
    reasons = ["gate:few_locals"] * 50 + ["timeout"] + [None] * 50
    faces = [Face("m", {"key": n}, {"reason": reason}) for n, reason in enumerate(reasons)]
    shown = choose_faces(faces, 8)
    assert Counter(face.reason for face in shown) == {"gate:few_locals": 3, "timeout": 1, "kept": 4}
    assert len({face.row["key"] for face in shown}) == 8
    assert [face.reason for face in choose_faces(faces[51:], 6)] == ["kept"] * 6
    assert len(choose_faces(faces[:51], 6)) == 6
