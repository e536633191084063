"""Stage 1: shots of a movie, by PySceneDetect on small frames."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.corpus.ledger import Writer
from mien.corpus.options import FaceOptions
from mien.corpus.scan import Movie
from mien.corpus.video import read_frames

if TYPE_CHECKING:
    from scenedetect.detector import SceneDetector

USES = ("shot_detector", "shot_threshold", "shot_seconds")
"""Options that decide the outcome."""

_HEIGHT = 144


def find_shots(movie: Movie, path: Path, key: str, options: FaceOptions) -> None:
    """Write the ledger of shots: `shot`, frames `first` to `last` (inclusive), `t0_ms`, `t1_ms` of both.

    Counts: `kept` shots, `frames`, and `damaged_packets`.

    Raises:
        VideoError: if the file cannot be opened any more.
    """
    from scenedetect import FrameTimecode

    detector = _detector(options, movie.fps)
    times, cuts, damage = list[int](), set[int](), list[str]()
    for frame in read_frames(movie.path, damage):
        times.append(frame.t_ms)
        small = np.ascontiguousarray(frame.picture(_HEIGHT)[..., ::-1])
        cuts |= {
            cut.frame_num for cut in detector.process_frame(FrameTimecode(frame.index, movie.fps), small)
        }
    if times:
        end = FrameTimecode(len(times) - 1, movie.fps)
        cuts |= {cut.frame_num for cut in detector.post_process(end)}
    starts = [0, *sorted(cut for cut in cuts if 0 < cut < len(times)), len(times)] if times else [0]
    with Writer(path, "shots", key) as ledger:
        for number, (first, after) in enumerate(pairwise(starts)):
            spans = {"t0_ms": times[first], "t1_ms": times[after - 1]}
            ledger.add({"shot": number, "first": first, "last": after - 1, **spans})
        counts = {"kept": len(starts) - 1, "frames": len(times)}
        ledger.finish(counts | ({"damaged_packets": len(damage)} if damage else {}))


def _detector(options: FaceOptions, fps: float) -> SceneDetector:
    from scenedetect import AdaptiveDetector, ContentDetector, HashDetector, HistogramDetector

    kind, name = {
        "adaptive": (AdaptiveDetector, "adaptive_threshold"),
        "content": (ContentDetector, "threshold"),
        "histogram": (HistogramDetector, "threshold"),
        "hash": (HashDetector, "threshold"),
    }[options.shot_detector]
    given = {} if options.shot_threshold is None else {name: options.shot_threshold}
    return kind(min_scene_len=max(1, round(options.shot_seconds * fps)), **given)
