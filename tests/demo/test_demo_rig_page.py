"""`mien demo` with a run of rigface, in a real browser: the same page, other controls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.editing.provenance import read_provenance
from served_page import CHROMIUM, Served, chromium, opened, put, said, serving

pytest.importorskip("gradio")
pytest.importorskip("playwright")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium; .ci/install-system installs one")


@pytest.fixture(scope="module")
def rigged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serving(tmp_path_factory, "rigface/tiny", "facereader/rig_tiny")


def test_a_head_turns_and_the_light_with_a_run_of_rigface(rigged: Served, tmp_path: Path) -> None:
    with chromium() as browser:
        turn_and_download(opened(rigged, browser), tmp_path)


def turn_and_download(page: Any, tmp_path: Path) -> None:
    assert "turn of the head" in page.inner_text("#slider-yaw")
    assert page.locator("[id^=slider-]").count() == 5 + 25
    page.click("#advanced button")  # early: what is typed while it unfolds is lost
    page.wait_for_selector("#steps input[type=range]")
    assert not page.is_visible("#guidance")
    page.locator("#samples button").nth(2).click()
    said(page, "sample 3.png")
    put(page, "slider-yaw", 15)
    put(page, "slider-light", -40)
    put(page, "slider-light_gain", 0.5)
    put(page, "slider-AU12", 2)
    page.wait_for_selector("#strip img")
    put(page, "steps", 2)
    page.click("#edit")
    said(page, "sample 3.png: yaw +15, light -40, light x 0.5, AU12 +2, times 1")
    with page.expect_download() as coming:
        page.click("#download")
    coming.value.save_as(tmp_path / "edit.png")
    proof = read_provenance(tmp_path / "edit.png")
    assert proof.state == "intact"
    parameters = proof.claim.actions[0].parameters
    assert parameters["action_units"] == {"AU12": 2.0}
    assert parameters["sliders"] == {"yaw": 15.0, "light": -40.0, "light_gain": 0.5}
    page.click("#reset")
    page.wait_for_function("!document.querySelector('#strip img')")
    assert page.locator("#slider-light_gain input[type=number]").input_value() == "1"
