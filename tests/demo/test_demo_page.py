"""`mien demo` in a real browser: sliders, strip, edit, download; hostile uploads; what is served to whom."""

from __future__ import annotations

import io
import json
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from demo.hostile_uploads import UPLOADS
from mien.demo.samples import sample_faces
from mien.demo.studio import MAX_UPLOAD
from mien.editing.provenance import read_provenance
from served_page import CHROMIUM, Served, chromium, opened, put, said, send, serving

pytest.importorskip("gradio")
pytest.importorskip("playwright")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium; .ci/install-system installs one")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serving(tmp_path_factory, "magicface/tiny", "facereader/tiny")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def visitor(served: Served, browser: Any) -> Any:
    """One page for all that leaves it usable."""
    return opened(served, browser)


def claim_of(page: Any, picture: str, folder: Path) -> dict[str, Any]:
    """The claim of a picture that the page shows, as a browser would save it."""
    file = folder / "shown.png"
    file.write_bytes(page.request.get(page.locator(picture).last.get_attribute("src")).body())
    proof = read_provenance(file)
    assert proof.state == "intact"
    return proof.claim.actions[0].parameters


def test_sliders_give_a_strip_an_edit_and_a_file(served: Served, browser: Any, tmp_path: Path) -> None:
    asked: list[str] = []
    page = opened(served, browser, asked)
    assert "agreed" in page.inner_text("#consent")
    page.click("#advanced button")  # early: what is typed while it unfolds is lost
    assert page.locator("[id^=slider-AU]").count() == 12
    assert "lip corner puller" in page.inner_text("#slider-AU12")
    page.locator("#samples button").nth(1).click()
    said(page, "sample 2.png: 192 x 192 pixels")
    put(page, "slider-AU12", 3)
    page.locator("#slider-AU4 input[type=range]").press("ArrowLeft")
    page.wait_for_selector("#strip img")
    put(page, "steps", 3)
    page.locator("#seed input").fill("7")
    page.click("#edit")
    said(page, "AU4 -0.5, AU12 +3")
    page.wait_for_selector("#compared img")
    with page.expect_download() as coming:
        page.click("#download")
    assert coming.value.suggested_filename == "sample 2 edit.png"
    coming.value.save_as(tmp_path / "edit.png")
    proof = read_provenance(tmp_path / "edit.png")
    assert proof.state == "intact"
    parameters = proof.claim.actions[0].parameters
    assert parameters["action_units"] == {"AU4": -0.5, "AU12": 3.0}
    assert (parameters["steps"], parameters["seed"], parameters["strengths"]) == (3, 7, [1.0])
    assert (proof.claim.ingredients[0].title, proof.claim.visible_mark) == ("sample 2.png", False)
    assert Image.open(tmp_path / "edit.png").size == (192, 192)
    assert claim_of(page, "#compared img", tmp_path) == parameters
    assert claim_of(page, "#strip img", tmp_path)["strengths"] == [0.25, 0.5, 1.0, 1.5]
    own = (served.url, "data:", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []  # no other server is asked
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400  # nothing sticks out
    page.context.close()


def test_the_strip_follows_and_all_to_zero_clears_it(visitor: Any) -> None:
    visitor.locator("#samples button").nth(0).click()
    said(visitor, "sample 1.png")
    put(visitor, "slider-AU26", 2)
    visitor.wait_for_selector("#strip img")
    before = visitor.locator("#strip img").get_attribute("src")
    put(visitor, "slider-AU26", 4)
    visitor.wait_for_function(
        "old => { const now = document.querySelector('#strip img'); return now && now.src != old }",
        arg=before,
    )
    before = visitor.locator("#strip img").get_attribute("src")
    visitor.locator("#samples button").nth(5).click()
    visitor.wait_for_function(
        "old => { const now = document.querySelector('#strip img'); return now && now.src != old }",
        arg=before,
    )
    visitor.click("#reset")
    visitor.wait_for_function("!document.querySelector('#strip img')")
    assert visitor.locator("#slider-AU26 input[type=number]").input_value() == "0"
    visitor.click("#edit")
    assert said(visitor, "nothing to edit") == "controls: nothing to edit; move a slider"


def test_no_face_yet(served: Served, browser: Any) -> None:
    page = opened(served, browser)
    put(page, "slider-AU1", 1)
    page.click("#edit")
    assert said(page, "no face") == "page: no face yet; choose one, or upload a photo"
    page.context.close()


def test_a_turned_photo_of_ones_own_with_a_mark(served: Served, browser: Any, tmp_path: Path) -> None:
    """The detector finds the face in the upright picture; the edit is the whole photo."""
    pytest.importorskip("facenet_pytorch")
    upright = np.full((260, 340, 3), 120, np.uint8)
    upright[40:232, 90:282] = sample_faces(1)[0].pixels
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(buffer, "PNG", exif=exif)
    page = opened(served, browser)
    send(page, "me.png", buffer.getvalue())
    said(page, "me.png: 340 x 260 pixels")
    page.check("#mark input")
    put(page, "slider-AU6", -2)
    page.click("#edit")
    said(page, "AU6 -2")
    with page.expect_download() as coming:
        page.click("#download")
    coming.value.save_as(tmp_path / "edit.png")
    proof = read_provenance(tmp_path / "edit.png")
    assert (proof.state, proof.claim.visible_mark) == ("intact", True)
    made = np.asarray(Image.open(tmp_path / "edit.png").convert("RGB"))
    assert made.shape == upright.shape
    assert (made[:20] == upright[:20]).all()  # far from face and mark
    assert not (made == upright).all()
    page.context.close()


@pytest.mark.parametrize("case", UPLOADS)
def test_a_hostile_upload_is_answered_by_a_line(served: Served, visitor: Any, case: str) -> None:
    data, answer = UPLOADS[case]
    name, before = f"{case.replace(' ', '-')}.png", len(served.said())
    visitor.set_checked("#whole input", case != "no face in it")
    send(visitor, name, data)
    line = said(visitor, name)
    assert re.fullmatch(rf"{re.escape(name)}: ({answer})", line), line
    assert "Traceback" not in served.said()[before:]
    assert visitor.locator(".toast-body").count() == 0
    kept = [path for path in served.temporary.rglob("*") if path.name == name]
    assert kept == []  # an upload is deleted when it has been read


def test_an_upload_beyond_the_limit_that_no_page_has_stopped(served: Served) -> None:
    status, line = served.upload("big.png", bytes(MAX_UPLOAD + (2 << 20)))
    assert (status, line) == (413, "upload: file too large; keep it below 32 MiB")
    assert list(served.temporary.rglob("big.png*")) == []


def test_the_page_tells_a_file_that_is_too_large_and_takes_the_next(
    served: Served, browser: Any, tmp_path: Path
) -> None:
    page = opened(served, browser)
    page.check("#whole input")
    huge = tmp_path / "huge.png"
    huge.write_bytes(bytes(MAX_UPLOAD + 1))
    page.set_input_files("#upload input[type=file]", huge)
    page.wait_for_selector(".toast-body")
    assert "exceed the maximum allowed size of 32" in page.inner_text(".toast-body")
    page.locator("#upload").get_by_role("button", name="Clear").click()
    send(page, "small.png", UPLOADS["16 bit"][0])
    said(page, "small.png: 32 x 32 pixels")
    page.context.close()


def test_a_path_in_the_name_of_an_upload_leads_nowhere(served: Served) -> None:
    before = {path for path in served.cwd.parent.rglob("*") if served.temporary not in path.parents}
    for name in ("../../../escaped.png", "/escaped.png", "..\\\\escaped.png", "a\0b.png", "x" * 300 + ".png"):
        status, text = served.upload(name, b"x")
        if status == 200:
            (path,) = json.loads(text)
            assert Path(path).resolve().is_relative_to(served.temporary.resolve())
        assert "Traceback" not in text
    assert before == {path for path in served.cwd.parent.rglob("*") if served.temporary not in path.parents}


def test_no_file_of_the_machine_is_served_or_read(served: Served, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"do not tell")
    for path in (str(secret), "/etc/hostname", f"../{secret}", "pyproject.toml"):
        status, text = served.ask(f"gradio_api/file={urllib.parse.quote(path)}")
        assert status in (403, 404)
        assert "do not tell" not in text
    forged = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    answer = served.call("upload", "upload", [forged, True])
    assert '"success":false' in answer
    assert "Traceback" not in answer
    assert secret.read_bytes() == b"do not tell"
    assert list(served.temporary.rglob("secret*")) == []


def test_only_the_page_itself_is_there_for_this_machine_alone(served: Served) -> None:
    port = served.url.rstrip("/").rpartition(":")[2]
    for path in (
        "gradio_api/file=http://127.0.0.1:1/", "gradio_api/proxy=http://127.0.0.1:1/", "gradio_api/info",
        "gradio_api/vibe-code/", "gradio_api/runs", "docs", "openapi.json", "monitoring",
    ):  # fmt: skip
        assert served.ask(path) == (404, "not part of this page"), path
    assert served.ask("", headers={"Host": f"rebound.example:{port}"})[0] == 400
    assert served.ask("", headers={"Origin": "https://other.example"})[0] == 403
    assert served.ask("", headers={"Host": f"localhost:{port}"})[0] == 200
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [place for _, place, _, state, *_ in sockets if state == "0A"]
    assert [place for place in listening if place.endswith(f":{int(port):04X}")] == [
        f"0100007F:{int(port):04X}"
    ]


def test_it_ends_without_a_trace(served: Served, visitor: Any) -> None:
    """Last, with a page still open: nothing is left in its folders or on the terminal."""
    before = len(served.said())
    assert list(served.temporary.glob("mien-demo-*"))
    assert served.end() == 0
    assert list(served.temporary.glob("mien-demo-*")) == []
    assert list(served.cwd.iterdir()) == []
    assert served.said()[before:] == ""
