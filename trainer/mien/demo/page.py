"""The page: a face, sliders, a strip that follows them, before and after, a file to keep.

What a handler returns is a dict of what changes; a fault of the input becomes one line on the page.
"""

from __future__ import annotations

import html
from itertools import count, groupby
from pathlib import Path
from typing import Any

import gradio as gr

from mien.demo.studio import KEPT, MAX_UPLOAD, Asked, Studio
from mien.editing.claim import CONSENT
from mien.editing.controls import Control
from mien.editing.request import Ask, describe_ask
from mien.editing.session import Opened
from mien.editing.upload import Photo
from mien.errors import DataError, MienError
from mien.systems.editing.noise import Guidance
from mien.systems.editing.sampler import SAMPLERS, SampleConfig

Changes = dict[Any, Any]
"""New values by component."""

_WORKER: dict[str, Any] = {"concurrency_id": "editor", "concurrency_limit": 1, "api_visibility": "private"}
_LARGEST_SEED = 2**32 - 1


class Page:
    """Everything on the page and what it does; `blocks` is Gradio's.

    Args:
        studio: does the work.
        samples: faces to choose from; crops.
    """

    def __init__(self, studio: Studio, samples: list[Photo]) -> None:
        self.studio, self.samples, self._turns = studio, samples, count(1)
        with gr.Blocks(
            title="mien demo", analytics_enabled=False, fill_width=True, delete_cache=(600, KEPT)
        ) as self.blocks:
            self.opened = gr.State(None, time_to_live=KEPT)
            self.turn = gr.State(0)
            self._head()
            with gr.Row(equal_height=False):
                with gr.Column(scale=3, min_width=280):
                    self._face()
                with gr.Column(scale=4, min_width=340):
                    self._controls()
                with gr.Column(scale=6, min_width=400):
                    self._result()
            self._wire()

    def _head(self) -> None:
        model = self.studio.session.model
        run = html.escape(f"{model.run}, step {model.step}")
        gr.HTML(f"<h1>Edit a face</h1><p>run {run}</p>", elem_id="head")
        gr.HTML(f"<p>{html.escape(CONSENT)}</p>", elem_id="consent")
        self.status = gr.HTML(_said("Choose a face, or upload a photo."), elem_id="status")

    def _face(self) -> None:
        gr.HTML("<h2>1. A face</h2>")
        _caption("Drawn faces, of nobody")
        self.gallery = gr.Gallery(
            [photo.pixels for photo in self.samples], show_label=False, columns=3,
            allow_preview=False, object_fit="cover", height="auto", buttons=[], interactive=False,
            elem_id="samples",
        )  # fmt: skip
        limit = f"JPEG, PNG, WebP, BMP or TIFF, up to {MAX_UPLOAD >> 20} MiB"
        _caption(f"Or a photo: {limit}")
        self.whole = gr.Checkbox(False, label="My photo is a face crop already", elem_id="whole")
        self.upload = gr.File(show_label=False, height=120, elem_id="upload")
        _caption("The face that is edited")
        self.photo = gr.Image(show_label=False, interactive=False, buttons=[], height=240, elem_id="photo")

    def _controls(self) -> None:
        gr.HTML("<h2>2. What changes</h2>")
        self.sliders: dict[str, gr.Slider] = {}
        for title, controls in groupby(self.studio.session.controls, key=lambda control: control.group):
            shown = list(controls)
            units = dict.fromkeys(control.unit for control in shown)
            _caption(f"{title.capitalize()}, {' or '.join(units)}")
            with gr.Row(elem_classes="sliders"):
                for control in shown:
                    self.sliders[control.name] = _slider(control)
        self.reset = gr.Button("All to rest", size="sm", elem_id="reset")
        self._advanced()

    def _advanced(self) -> None:
        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
            with gr.Row():
                self.seed = gr.Number(424, label="Seed", precision=0, minimum=0, elem_id="seed")
                self.sampler = gr.Dropdown([*SAMPLERS], value=next(iter(SAMPLERS)), label="Sampler")
            self.steps = gr.Slider(1, 200, 50, step=1, label="Steps of an edit", buttons=[], elem_id="steps")
            self.live_steps = gr.Slider(
                1, 50, 10, step=1, label="Steps of the live strip", buttons=[], elem_id="live-steps"
            )
            self.guidance = gr.Slider(
                0,
                10,
                self.studio.session.guidance,
                step=0.1,
                label="Guidance; 1 is none",
                buttons=[],
                elem_id="guidance",
                visible=self.studio.session.system == "magicface",  # rigface leaves nothing out in training
            )

    def _result(self) -> None:
        gr.HTML("<h2>3. The edit</h2>")
        self.live = gr.Checkbox(
            True, label="Live: the face at several strengths, as sliders move", elem_id="live"
        )
        self.strip = gr.Image(
            show_label=False, interactive=False, type="filepath", buttons=["fullscreen"], elem_id="strip"
        )
        with gr.Row(equal_height=True):
            self.strength = gr.Slider(
                0, 2, 1, step=0.05, label="Strength of the edit, times the sliders", buttons=[],
                elem_id="strength",
            )  # fmt: skip
            self.mark = gr.Checkbox(False, label='Draw "AI edit" in a corner', elem_id="mark")
        self.edit = gr.Button("Edit", variant="primary", elem_id="edit")
        _caption("Before at the left, after at the right")
        self.compared = gr.ImageSlider(
            show_label=False, interactive=False, type="filepath", max_height=480,
            buttons=["fullscreen"], elem_id="compared",
        )  # fmt: skip
        self.download = gr.DownloadButton(
            "Download the PNG, with its metadata", interactive=False, elem_id="download"
        )

    def _wire(self) -> None:
        taken = [
            self.opened, self.turn, self.photo, self.upload, self.status, self.strip, self.compared,
            self.download,
        ]  # fmt: skip
        asked: set[Any] = {
            self.opened, self.strength, self.seed, self.sampler, self.steps, self.live_steps, self.guidance,
            self.mark, self.live, *self.sliders.values(),
        }  # fmt: skip
        self.gallery.select(self.on_sample, None, taken, **_WORKER)
        self.upload.upload(self.on_upload, [self.upload, self.whole], taken, **_WORKER)
        # One event for all that the strip follows: of two, the older could come last and undo the newer.
        moves = [self.turn.change, self.live.change, *(slider.change for slider in self.sliders.values())]
        gr.on(
            moves, self.on_change, asked, [self.strip, self.status], trigger_mode="always_last",
            show_progress="minimal", **_WORKER,
        )  # fmt: skip
        self.edit.click(self.on_edit, asked, [self.compared, self.download, self.status], **_WORKER)
        sliders = [*self.sliders.values()]
        rest = [control.rest for control in self.studio.session.controls]
        self.reset.click(lambda: rest, None, sliders, api_visibility="private")

    def on_sample(self, event: gr.SelectData) -> Changes:
        """A drawn face is chosen."""
        place = event.index if isinstance(event.index, int) else 0
        photo = self.samples[place % len(self.samples)]
        return self._taken(self.studio.take(photo, whole=True))

    def on_upload(self, upload: str | None, whole: bool) -> Changes:
        """A photo arrives."""
        try:
            if upload is None:
                raise DataError("no file came", where="upload", fix="send it again")
            opened = self.studio.receive(Path(upload), whole)
        except MienError as error:
            return {self.upload: None, self.status: _said(str(error), bad=True)}
        return self._taken(opened)

    def on_change(self, data: Changes) -> Changes:
        """A slider has moved, or there is another face: a new strip, or none."""
        opened = data[self.opened]
        if opened is None or not data[self.live] or not self._ask(data).moves:
            return {self.strip: None}
        try:
            return {self.strip: str(self.studio.strip(opened, self._asked(data, data[self.live_steps])))}
        except MienError as error:
            return {self.status: _said(str(error), bad=True)}

    def on_edit(self, data: Changes) -> Changes:
        """The edit itself."""
        try:
            opened = data[self.opened]
            if opened is None:
                raise MienError("no face yet", where="page", fix="choose one, or upload a photo")
            asked = self._asked(data, data[self.steps])
            made = self.studio.edit(opened, asked)
        except MienError as error:
            return {self.status: _said(str(error), bad=True)}
        words = f"{describe_ask(asked.ask)}, times {asked.strength:g}"
        return {
            self.compared: (str(made.before), str(made.after)),
            self.download: gr.DownloadButton(value=str(made.whole), interactive=True),
            self.status: _said(f"{opened.photo.name}: {words}. The PNG says in its metadata what was done."),
        }

    def _taken(self, opened: Opened) -> Changes:
        photo = opened.photo
        height, width = photo.pixels.shape[:2]
        notes = [f"{photo.name}: {width} x {height} pixels", *photo.notes, *opened.crop.notes]
        return {
            self.opened: opened, self.turn: next(self._turns), self.photo: self.studio.shown(opened),
            self.upload: None,
            self.status: _said("; ".join(notes)), self.strip: None, self.compared: None,
            self.download: gr.DownloadButton(value=None, interactive=False),
        }  # fmt: skip

    def _asked(self, data: Changes, steps: float) -> Asked:
        """What the controls say.

        Raises:
            MienError: for a seed that is none.
        """
        seed = data[self.seed]
        if seed is None or not 0 <= seed <= _LARGEST_SEED:
            raise MienError("no such seed", where="Seed", fix=f"give a whole number, 0 to {_LARGEST_SEED}")
        sample = SampleConfig(
            sampler=data[self.sampler], steps=int(steps), seed=int(seed),
            guidance=Guidance(scale=data[self.guidance]),
        )  # fmt: skip
        return Asked(self._ask(data), float(data[self.strength]), sample, bool(data[self.mark]))

    def _ask(self, data: Changes) -> Ask:
        """Those sliders that do not rest."""
        rest = {control.name: control.rest for control in self.studio.session.controls}
        moves = {name: float(data[slider]) for name, slider in self.sliders.items()}
        return Ask({name: value for name, value in moves.items() if value != rest[name]})


def _slider(control: Control) -> gr.Slider:
    label = f"{control.name} {control.title}" if control.name.startswith("AU") else control.title
    return gr.Slider(
        control.least, control.most, control.rest, step=control.step, label=label, min_width=150, buttons=[],
        elem_id=f"slider-{control.name}",
    )  # fmt: skip


def _caption(text: str) -> None:
    gr.HTML(f"<p>{html.escape(text)}</p>", elem_classes="caption")


def _said(text: str, bad: bool = False) -> str:
    """A line for the page, as HTML."""
    kind = "bad" if bad else "good"
    return f"<p class='{kind}' role='status'>{html.escape(text)}</p>"
