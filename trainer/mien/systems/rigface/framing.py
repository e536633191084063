"""Where an edited head lies in the picture: turned, but with the middle of the face where it was.

A detector would crop the turned head anew and the background would not fit any more. So the crop is that of
the source, and the head is moved back onto the source's face (rigface spec, 2: rendering, re-centring). The
move is one of the camera, not of the vertices, so that an ordinary scene can show the same edit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.faces.actions import Actions
from mien.faces.camera import PIVOT, Camera, rotation
from mien.faces.rig import Rig
from mien.faces.scene import Scene
from mien.systems.rigface.codes import Codes, actions_of


def anchor(landmarks: np.ndarray) -> np.ndarray:
    """The point that stays put: a tenth of the way from the middle of the eyes to that of the mouth.

    Args:
        landmarks: float [68, 3], iBUG order.

    Returns:
        float [3] in the frame of the landmarks.
    """
    eyes, mouth = landmarks[36:48].mean(axis=0), landmarks[48:68].mean(axis=0)
    return eyes + 0.1 * (mouth - eyes)


def settle(codes: Codes, resting: np.ndarray) -> Camera:
    """The camera that sees the head of `codes` in the crop of the source.

    Args:
        codes: pose, the pose of the crop, and the camera that took it.
        resting: float32 [68, 3], landmarks of the head at rest, head frame, cm.

    Returns:
        The camera of `codes` itself unless the pose was edited; else one whose crop, taken at the new pose,
        has the source's scale at the anchor and shows the anchor at the same pixel.
    """
    camera = codes.camera
    if codes.pose == codes.boxed:
        return camera
    was, now = ((resting - PIVOT) @ rotation(pose).T for pose in (codes.boxed, codes.pose))
    before, after = anchor(was), anchor(now)
    frame = camera.frame(was, 1)
    side, depth = 1 / frame.focal, camera.distance - float(before[2])
    left = frame.left + float(after[0] - before[0]) / depth
    top = frame.top + float(after[1] - before[1]) / depth
    moved = Camera(camera.distance + float(after[2] - before[2]))
    scale = side * moved.frame(now, 1).focal
    plain = replace(moved, scale=scale).frame(now, 1)
    return Camera(moved.distance, scale, ((left - plain.left) / side, (top - plain.top) / side))


def scene_of(codes: Codes, base: Scene, rig: Rig) -> Scene:
    """The scene whose picture is the true result of an edit of `base`: all of it, hair and background too.

    Args:
        codes: of space "world", edited from `codes_of(base)`; shape and albedo are not read.
        base: the source.
        rig: the head that both pictures are drawn with.
    """
    # The codes hold what the face shows, so nothing may be added to it again.
    person = replace(base.person, resting=Actions(), gain=(1.0, 1.0))
    resting = rig.surface(person, Actions(), codes.gaze).resting
    return replace(
        base,
        person=person,
        actions=actions_of(codes.expression),
        pose=codes.pose,
        gaze=codes.gaze,
        light=codes.light,
        camera=settle(codes, resting),
    )
