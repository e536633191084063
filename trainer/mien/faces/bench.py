"""`python -m mien.faces.bench`: milliseconds a face; the time of its JPEG tells how fast the machine is."""

from __future__ import annotations

import argparse
import io
import time

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from mien.faces.emotions import BASIC, sample_expression
from mien.faces.person import sample_person
from mien.faces.render import render
from mien.faces.rig import open_rig
from mien.faces.scene import Scene, sample_scene


def main() -> None:
    """Print medians for the studio and wild style; one thread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rig", default="builtin", help="builtin or an ICT-FaceKit model")
    parser.add_argument("--size", type=int, default=96, help="side of a picture, pixels")
    parser.add_argument("--faces", type=int, default=60, help="pictures of each style")
    chosen = parser.parse_args()
    rig = open_rig(chosen.rig)
    print(f"{chosen.faces} faces of {chosen.size} x {chosen.size}, rig {rig.name}, one thread; medians")
    print("| style | ms a face | ms a JPEG | ratio |\n|---|---:|---:|---:|")
    with threadpool_limits(1):
        for style in ("studio", "wild"):
            rng = np.random.default_rng(0)
            drawn, packed = [], []
            for number in range(chosen.faces):
                scene = _scene(number, rng, style)
                start = time.perf_counter()
                image = render(scene, rig, chosen.size).image
                middle = time.perf_counter()
                Image.fromarray(image).save(io.BytesIO(), "JPEG", quality=95)
                drawn.append((middle - start) * 1e3)
                packed.append((time.perf_counter() - middle) * 1e3)
            face, jpeg = np.median(drawn), np.median(packed)
            print(f"| {style} | {face:.1f} | {jpeg:.2f} | {face / jpeg:.0f} |")


def _scene(number: int, rng: np.random.Generator, style: str) -> Scene:
    # Four pictures a person, as in a set: building a person is paid for once.
    person = sample_person(number // 4)
    expression = sample_expression(BASIC[number % len(BASIC)], rng)
    return sample_scene(person, expression.actions, rng, "wild" if style == "wild" else "studio")


if __name__ == "__main__":
    main()
