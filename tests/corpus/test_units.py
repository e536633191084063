from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from corpus.caption_server import GOOD, chat, serving
from mien import cli_corpus_captions
from mien.corpus.caption import CaptionError
from mien.corpus.caption_gates import judge
from mien.corpus.captioner import make_captioner
from mien.corpus.captioner_offline import OfflineCaptioner, expression_of
from mien.corpus.units import (
    FACTS,
    NEVER,
    WEIGHTS,
    UnitMeter,
    even,
    features_of,
    find_points,
    load_meter,
    save_meter,
    told,
)  # fmt: skip
from mien.corpus.units_captions import score_captions
from mien.corpus.units_fit import Measured, fit_meter, score_meter
from mien.corpus.units_trust import find_trust, read_sides
from mien.data.reader import ShardSet
from mien.errors import DataError
from mien.faces.actions import ACTION_UNITS
from mien.faces.captions_check import claims
from mien.faces.emotions import BASIC, sample_expression
from mien.faces.synth import make_emocap

FEATURES = 1764
NUMBERS = list(ACTION_UNITS)


def _faces(count: int, first: int, seed: int) -> Measured:
    """Faces whose features are a fixed linear image of their units, and noise."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(2 * len(NUMBERS), FEATURES))
    truth = np.zeros((count, len(NUMBERS), 2), dtype=np.float32)
    for row in range(count):
        actions = sample_expression(BASIC[row % 7], rng, asymmetry=float(rng.normal(0, 0.2))).actions
        for i, number in enumerate(NUMBERS):
            truth[row, i] = actions.left.get(number, 0.0), actions.right.get(number, 0.0)
    noise = rng.normal(0, 0.5, (2, count, FEATURES))
    features = truth.reshape(count, -1) @ mixing + noise[0]
    mirrored = truth[:, :, ::-1].reshape(count, -1) @ mixing + noise[1]
    people = [f"p{first + row // 10}" for row in range(count)]
    return Measured(features.astype(np.float32), mirrored.astype(np.float32), truth, people)


@pytest.fixture(scope="module")
def fitted() -> tuple[UnitMeter, Measured]:
    train = _faces(600, 0, 1)
    return fit_meter(train, "made up"), train


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> ShardSet:
    out = tmp_path_factory.mktemp("faces") / "set"
    make_emocap(
        out, people=3, images=6, seed=1, rig="builtin", size=64, style="studio", emotions=BASIC,
        first_person=0, extras=False, workers=1, progress=False,
    )  # fmt: skip
    return ShardSet(out)


def test_a_fit_reads_unseen_faces_better_than_the_mean(fitted):
    meter, train = fitted
    scores = score_meter(meter, _faces(200, 500, 2), train)
    assert len(scores) >= 10
    assert np.mean([score.correlation for score in scores]) > 0.9
    assert np.mean([score.sides for score in scores if not np.isnan(score.sides)]) > 0.5
    assert all(score.mae < score.mae_mean for score in scores)
    assert np.mean([score.f1 for score in scores]) > np.mean([score.f1_mean for score in scores]) + 0.3
    shuffled = Measured(train.features[::-1].copy(), train.mirrored[::-1].copy(), train.truth, train.people)
    blind = score_meter(fit_meter(shuffled), _faces(200, 500, 2), train)
    assert abs(np.mean([score.correlation for score in blind])) < 0.3


def test_readings_are_stretched_to_the_visible():
    raw = np.array([[-0.1, 0.0, 0.05, 0.1, 0.55, 1.0, 2.0]], dtype=np.float32)
    found = told(raw, np.full(7, 0.1, dtype=np.float32))
    assert found[0] == pytest.approx([0, 0, 0.1, 0.2, 0.6, 1, 1])


def test_a_meter_survives_saving(fitted, tmp_path):
    meter, train = fitted
    save_meter(meter, tmp_path / "meter")
    again = load_meter(tmp_path / "meter")
    assert again.sha == meter.sha
    assert again.numbers == meter.numbers
    assert np.array_equal(again.measure(train.features), meter.measure(train.features))
    with pytest.raises(DataError, match="not empty"):
        save_meter(meter, tmp_path / "meter")


@pytest.mark.parametrize("fault", ["absent", "cut", "json", "version", "weights", "facts", "units"])
def test_damaged_meters_are_one_line(fitted, tmp_path, fault):
    folder = tmp_path / "meter"
    save_meter(fitted[0], folder)
    weights, facts = folder / WEIGHTS, folder / FACTS
    table = json.loads(facts.read_text())
    if fault == "absent":
        weights.unlink()
    elif fault == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif fault == "json":
        facts.write_text("{")
    elif fault == "weights":
        data = bytearray(weights.read_bytes())
        data[-2000] ^= 1
        weights.write_bytes(data)
    else:
        change = {"version": {"format": "mien.units/9"}, "facts": {"fit": 3}, "units": {"units": [1, 99]}}
        facts.write_text(json.dumps(table | change[fault]))
    with pytest.raises(DataError) as caught:
        load_meter(folder)
    assert "units fit" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_little_to_fit_on():
    few = _faces(30, 0, 1)
    with pytest.raises(DataError, match="too few faces"):
        fit_meter(few, "few")


def test_offline_captions_are_true_of_the_units(pictures):
    captioner, rng, named = OfflineCaptioner(), np.random.default_rng(4), 0
    for row in range(140):
        emotion = BASIC[row % 7]
        actions = sample_expression(emotion, rng).actions
        units = {n: (actions.left.get(n, 0.0), actions.right.get(n, 0.0)) for n in NUMBERS}
        record = captioner(str(row).encode(), units).record()
        assert judge(record, units) == []
        for text in (record["summary"], *(local["text"] for local in record["locals"])):
            for unit in claims(text).asserted:
                assert max(units[unit]) >= 0.2, text
        named += expression_of(units).emotion == emotion
    assert named >= 90, "one in seven would be 20"


def test_offline_captions_repeat_and_need_units():
    captioner = OfflineCaptioner()
    units = {12: (0.7, 0.7), 6: (0.5, 0.5), 200: (1.0, 1.0)}
    first, again, other = (captioner(data, units).record() for data in (b"a", b"a", b"b"))
    assert first == again != other
    assert expression_of(units).emotion == "happiness"
    assert expression_of({}).emotion == "neutral"
    with pytest.raises(CaptionError) as caught:
        captioner(b"a", None)
    assert caught.value.reason == "units"


def test_a_meter_stands_in_for_units(fitted, pictures):
    meter, _ = fitted
    captioner = OfflineCaptioner(meter)
    picture = pictures.read(0).image
    assert captioner(picture).record() == captioner(picture, meter(picture)).record()
    assert captioner.prompt_sha != OfflineCaptioner().prompt_sha
    with pytest.raises(CaptionError) as caught:
        captioner(b"no picture")
    assert caught.value.reason == "picture"


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    cli_corpus_captions.add_to(made)
    return made


def test_commands(app, fitted, pictures, tmp_path):
    meter, file = tmp_path / "meter", tmp_path / "face.jpg"
    save_meter(fitted[0], meter)
    file.write_bytes(pictures.read(0).image)
    run = CliRunner()
    shown = run.invoke(app, ["units", "show", str(file), "--meter", str(meter)])
    assert shown.exit_code == 0
    assert "| AU | name |" in shown.stdout
    about = run.invoke(app, ["units", "show", "--meter", str(meter)])
    assert about.exit_code == 0
    assert "| 25 | lips part | even |" in about.stdout
    assert " of it |" in about.stdout
    tried = run.invoke(app, ["caption-try", str(file), "--captioner", f"offline:{meter}"])
    assert tried.exit_code == 0
    assert "gates    passes" in tried.stdout
    with serving(chat(GOOD)) as (_, url):
        options = ["base_url=" + url, "model=m", "usd_per_million_in=1", "usd_per_million_out=1"]
        changes = [word for option in options for word in ("--set", option)]
        tried = run.invoke(app, ["caption-try", str(file), "--captioner", "http", *changes])
    assert GOOD["summary"] in tried.stdout
    assert "0.001200 USD, 1000 tokens in, 200 out, 1 requests" in tried.stdout


def test_fit_refuses_shared_people_and_small_sets(app, pictures, tmp_path):
    run = CliRunner()
    out, folder = tmp_path / "meter", str(pictures.folder)
    shared = run.invoke(app, ["units", "fit", folder, str(out), "--test", folder])
    assert isinstance(shared.exception, DataError)
    assert "split by person" in str(shared.exception)
    small = run.invoke(app, ["units", "fit", folder, str(out)])
    assert isinstance(small.exception, DataError)
    assert not out.exists()


@pytest.mark.parametrize("source", ["gpt", "offline", "offline:absent", "http:absent.yaml", "http"])
def test_unknown_captioners(source):
    with pytest.raises(DataError):
        make_captioner(source)


def test_offline_takes_no_options():
    with pytest.raises(DataError, match="no options"):
        make_captioner(f"offline:{Path('m')}", ["a=b"])


def _crop(picture: np.ndarray, points: np.ndarray, margin: int) -> tuple[bytes, np.ndarray]:
    """A larger crop of the same face, as another detector would make it."""
    wide = np.pad(picture, ((margin, margin), (margin // 2, margin), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    Image.fromarray(wide).resize((256, 256), Image.Resampling.BICUBIC).save(buffer, "PNG")
    scale = 256 / np.array(wide.shape[1::-1])
    return buffer.getvalue(), (points + [margin // 2, margin] + 0.5) * scale - 0.5


def test_features_do_not_depend_on_the_crop(pictures):
    for row in range(3):
        sample, other = pictures.read(row), pictures.read(row + 3)
        image = np.asarray(Image.open(io.BytesIO(sample.image)))
        whole = features_of(sample.image, sample.record["lm5"])
        wide = features_of(*_crop(image, np.array(sample.record["lm5"]), 20))
        stranger = features_of(other.image, other.record["lm5"])
        assert _cosine(whole, wide) > max(0.9, _cosine(whole, stranger) + 0.02)
        found = find_points(image)
        assert np.abs(found - np.array(sample.record["lm5"])).max() < 6


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_picture_without_a_face_is_told(fitted):
    buffer = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(buffer, "PNG")
    with pytest.raises(DataError, match="no face in the picture"):
        fitted[0](buffer.getvalue())


def test_sides_are_told_where_they_are_read_and_even_where_not():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(60), 10)
    true = rng.normal(0, 0.1, 600).astype(np.float32)
    noise = rng.normal(0, 0.1, (2, 600)).astype(np.float32)
    read = read_sides(true + noise[0], true, people)
    assert 0.6 < read.r < 0.8
    assert 0 < read.low < read.r
    assert read.share == pytest.approx(0.5, abs=0.1), "the rest of the difference is noise"
    assert read_sides(noise[1], true, people).share == 0
    assert read_sides(true, true, people, lateral=False).share == 0
    # One person who is read well does not make a unit that is.
    one = np.where(people == 0, 20 * true, noise[1])
    assert read_sides(one, np.where(people == 0, 20 * true, true), people).share == 0


def test_even_sides_keep_the_stronger_one():
    sides = np.array([[[0.6, 0.2], [0.1, 0.5]]], dtype=np.float32)
    found = even(sides, np.array([0.0, 0.5], dtype=np.float32))
    assert found[0] == pytest.approx(np.array([[0.6, 0.6], [0.3, 0.5]]))


@pytest.mark.parametrize("risk", [0.01, 0.1])
def test_true_sentences_are_refuted_as_seldom_as_chosen(risk):
    rng = np.random.default_rng(1)
    true = np.clip(rng.normal(0.2, 0.25, (4000, 2)), 0, 1).astype(np.float32)
    read = np.clip(true + rng.normal(0, 0.1, true.shape), 0, 1).astype(np.float32)
    trust = find_trust(read, true, 1.0, risk, risk)
    strong, shown = read.max(1), true.max(1)
    assert (strong[shown >= 0.2] < trust.low).mean() == pytest.approx(risk, abs=0.005)
    assert (strong[shown < 0.1] >= trust.high).mean() == pytest.approx(risk, abs=0.005)
    ahead = true[:, 0] - true[:, 1] >= 0.1
    lead = read[:, 0] - read[:, 1]
    assert (lead[ahead] < trust.lead).mean() == pytest.approx(risk, abs=0.02)
    # And false ones are refuted much more often.
    assert (lead[true[:, 1] - true[:, 0] >= 0.1] < trust.lead).mean() > 0.7
    assert find_trust(read, true, 0.0).lead == NEVER.lead
    assert find_trust(read[:30], true[:30], 1.0) == NEVER


def test_a_meter_refuses_captions_of_other_faces(fitted):
    meter, _ = fitted
    held = _faces(140, 700, 3)
    captioner = OfflineCaptioner()
    records = [
        captioner(str(row).encode(), {n: tuple(face[i]) for i, n in enumerate(NUMBERS)}).record()
        for row, face in enumerate(held.truth.tolist())
    ]
    told = score_captions(meter, held.features, [*records[:-1], {"locals": []}])
    assert told is not None
    assert told.captions == 139
    assert told.true_refused < 0.2 < 0.5 < told.other_refused
    assert told.sided >= 4
    assert told.sided_refused < 0.5 * told.sided <= told.exchanged_refused
    assert score_captions(meter, held.features[:2], [{}, {"locals": None}]) is None
