"""`mien predict`: scores equal the protocol's, videos are sampled evenly, bad inputs get a line each."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.toys import CLASSES, SIDE, FakeEncoder, quadrant, write_set
from exporting import train
from mien import cli, systems
from mien.errors import MienError
from mien.evaluation.faceset import open_faces
from mien.evaluation.promptset import load_prompts, packaged
from mien.evaluation.protocols import zero_shot
from mien.evaluation.unit_prompts import load_units, unit_probabilities
from mien.predict import Box
from mien.predict.captions import read_captions
from mien.predict.media import find, read
from mien.predict.picture import draw
from mien.predict.reader import Reader


class LookingEncoder(FakeEncoder):
    """The heat map of a target is the picture where the target's quadrant is."""

    looks = ("patches",)

    def heat_maps(self, images, targets, by):
        assert by == "patches"
        return torch.nn.functional.avg_pool2d(images.float().mean(1), SIDE // 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("predict"))


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(LookingEncoder(), load_prompts("emotion7"), load_units(), ["anger", "a smile", "happiness"])


@pytest.fixture
def face(tmp_path) -> Path:
    path = tmp_path / "face.png"
    Image.fromarray(quadrant(1, 60, np.random.default_rng(0))).save(path)
    return path


def write_video(path: Path, pictures: list[np.ndarray], rate: int = 10, gop: int = 12) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"g": str(gop), "crf": "1"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def grey(value: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), value, np.uint8)


def test_probabilities_are_those_of_the_zero_shot_protocol(tmp_path):
    faces = open_faces(write_set(tmp_path / "set", people=3, images=8, seed=1))
    encoder, prompts = LookingEncoder(), load_prompts("emotion7")
    reduced = prompts.model_copy(
        update={"classes": {name: prompts.classes[name] for name in sorted(CLASSES)}}
    )
    expected = zero_shot(encoder, faces, reduced)[0].predictions.scores
    reader = Reader(encoder, reduced, load_units(), [])
    for number in range(len(faces)):
        path = tmp_path / f"{number}.png"
        Image.fromarray(faces.image(number).permute(1, 2, 0).numpy()).save(path)
        reading = reader.read(read(path, encoder.image_size, None, 16))
        np.testing.assert_allclose(reading.probabilities, expected[number], atol=1e-6)


@pytest.mark.parametrize(("total", "count"), [(40, 8), (40, 40), (5, 16), (97, 3)])
def test_frames_of_a_video_are_the_middles_of_equal_parts(tmp_path, total, count):
    path = write_video(tmp_path / "ramp.mp4", [grey(20 + 2 * number) for number in range(total)])
    media = read(path, SIDE, None, count)
    kept = min(total, count)
    expected = [int((number + 0.5) * total / kept) for number in range(kept)]
    found = [(float(picture.mean()) - 20) / 2 for picture in media.shown]
    np.testing.assert_allclose(found, expected, atol=0.9)
    np.testing.assert_allclose(media.times, np.array(expected) / 10, atol=1e-6)
    assert media.frames.shape == (kept, 3, SIDE, SIDE)


def test_a_video_is_read_by_its_mean_and_shows_the_frame_of_the_class(tmp_path, reader):
    rng = np.random.default_rng(0)
    pictures = [quadrant(0 if number < 6 else 1, 60, rng) for number in range(24)]
    reading = reader.read(read(write_video(tmp_path / "clip.mp4", pictures), SIDE, None, 8))
    assert reading.found == "happiness"
    assert [reading.classes[i] for i in reading.timeline.argmax(1)] == ["anger"] * 2 + ["happiness"] * 6
    assert reading.frame >= 2
    assert reading.captions[0][0] == "happiness"
    assert len(reading.record()["frames"]) == 8


def test_units_prefer_the_side_that_resembles():
    class Sided(FakeEncoder):
        def encode_texts(self, texts):
            return torch.tensor([[0.0, 1.0] if "not" in text else [1.0, 0.0] for text in texts])

    pairs = {4: load_units()[4].model_copy(update={"present": ["furrowed"], "absent": ["not furrowed"]})}
    found = unit_probabilities(Sided(), np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.6]]), pairs)[:, 0]
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-20)), 1 / (1 + np.exp(20)), 0.5])


def test_the_pairs_of_units_are_no_prompt_set_and_differ_on_both_sides():
    units = load_units()
    assert "units" not in packaged()
    assert {1, 2, 4, 6, 12, 15, 17, 25} <= units.keys()
    assert all(not set(pair.present) & set(pair.absent) for pair in units.values())


def test_a_box_cuts_the_face_out(tmp_path, face):
    whole = np.asarray(Image.open(face))
    media = read(face, SIDE, Box.parse("4,8,16,20"), 1)
    assert np.array_equal(media.shown[0], whole[8:28, 4:20])
    with pytest.raises(MienError, match="reaches beyond 32 x 32"):
        read(face, SIDE, Box.parse("20,0,16,16"), 1)
    for text in ("1,2,3", "a,b,c,d", "0,0,2,2", "-1,0,9,9"):
        with pytest.raises(MienError, match="is not a box"):
            Box.parse(text)


def test_heat_maps_of_a_run(run):
    encoder = systems.load(run)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.manual_seed(1))
    texts = ["happiness", "the brows are raised"]
    targets = encoder.encode_texts(texts)
    assert encoder.looks == ("patches", "gradient")
    torch.testing.assert_close(
        encoder.heat_maps(images, targets, "patches"), encoder.patch_maps(images, texts)
    )
    gradient = encoder.heat_maps(images, targets, "gradient")
    assert gradient.shape == (2, 4, 4)
    one = encoder.heat_maps(images[1:], targets[1:], "gradient")
    torch.testing.assert_close(gradient[1:], one, rtol=1e-3, atol=1e-8)
    # |d score / d log scale| = |sum of gradient x input| is at most the sum of the magnitudes.
    pixels = encoder.model.normalise(images[:1])

    def score(scale: float) -> float:
        rows = encoder.model.image(pixels * scale).embedding.double()
        return float((torch.nn.functional.normalize(rows) * targets[:1]).sum())

    with torch.inference_mode():
        change = (score(1.01) - score(0.99)) / 0.02
    assert 0 < abs(change) <= 64 * float(gradient[0].sum())  # a cell is the mean of 64 pixels


def test_pictures_are_drawn_for_images_and_videos(tmp_path, face, reader):
    from io import BytesIO

    clip = write_video(tmp_path / "clip.mp4", [quadrant(2, 60, np.random.default_rng(0))] * 3)
    still, moving = (Image.open(BytesIO(draw(reader.read(read(p, SIDE, None, 4))))) for p in (face, clip))
    assert still.size[0] == moving.size[0]
    assert moving.size[1] > 1.5 * still.size[1]
    assert np.asarray(still.convert("L")).std() > 20


@pytest.fixture
def mien(monkeypatch, capsys):
    """Run `mien ARGS` in this process: (exit code, stdout, stderr)."""

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, args)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return call


def test_bad_inputs_get_a_line_each_and_the_others_go_on(mien, run, face, tmp_path):
    folder, empty, out = tmp_path / "inputs", tmp_path / "empty", tmp_path / "out"
    folder.mkdir()
    empty.mkdir()
    (folder / "text.jpg").write_text("no picture")
    (folder / "broken.mp4").write_bytes(b"\0" * 4096)
    clip = write_video(tmp_path / "whole.mp4", [grey(number) for number in range(40)]).read_bytes()
    (folder / "cut.mp4").write_bytes(clip[: len(clip) // 2])
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (20_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    (folder / "huge.png").write_bytes(header + b"\0\0\0\0")
    Image.fromarray(grey(9)[:4]).save(folder / "thin.png")
    Image.fromarray(grey(90)).save(folder / "face.png")
    code, text, err = mien("predict", run, folder, face, empty, tmp_path / "nowhere.png", "--out", out)
    assert code == 2
    lines = [line for line in err.splitlines() if str(tmp_path) in line]
    assert len(lines) == 7, err
    for line, words in zip(
        lines, ("broken", "cut.mp4", "huge.png", "text.jpg", "thin.png", "empty", "nowhere")
    ):
        assert words in line
    assert sorted(p.name for p in out.iterdir()) == [
        "face-2.png",
        "face.png",
        "predictions.csv",
        "predictions.jsonl",
    ]
    assert text.count("face.png") == 2


def test_tables_hold_what_was_read(mien, run, face, tmp_path):
    captions = tmp_path / "captions.txt"
    captions.write_text("a happy face\n\nthe brows are lowered\na happy face\n", encoding="utf-8")
    args = (
        "predict",
        run,
        face,
        "--out",
        tmp_path / "out",
        "--captions",
        captions,
        "--look",
        "gradient",
        "--json",
    )
    code, text, _ = mien(*args)
    assert code == 0
    record = json.loads(text)
    assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert len(record["captions"]) == 2
    (row,) = csv.DictReader((tmp_path / "out/predictions.csv").open(encoding="utf-8"))
    assert row["prediction"] == record["prediction"]
    assert float(row["p_anger"]) == record["probabilities"]["anger"]
    assert float(row["au12"]) == record["units"]["12"]
    assert json.loads((tmp_path / "out/predictions.jsonl").read_text())["box"] is None


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--box", "1,2"), "is not a box"),
        (("--prompts", "emotion9"), "no such prompt set"),
        (("--captions", "nowhere.txt"), "captions cannot be read"),
        (("--look", "heads"), "cannot look by 'heads'"),
    ],
)
def test_bad_choices_give_one_line_and_leave_nothing(mien, run, face, tmp_path, args, words):
    code, out, err = mien("predict", run, face, "--out", tmp_path / "out", *args)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert words in err
    assert not (tmp_path / "out").exists()


def test_captions_of_a_set_are_its_sentences(tmp_path):
    folder = write_set(tmp_path / "set", people=2, images=4, seed=0)
    found = read_captions(folder)
    assert "This face shows anger." in found
    assert len(found) == len(set(found)) == 8
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(MienError, match="no captions"):
        read_captions(tmp_path / "empty.txt")


def test_folders_stand_for_their_pictures_and_videos_in_order(tmp_path, face):
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "b.MP4").write_bytes(b"")
    assert find([tmp_path, face]) == [tmp_path / "b.MP4", face, face]
