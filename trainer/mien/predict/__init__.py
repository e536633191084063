"""A run on pictures and videos: emotions, units, nearest captions, where it looks, and a picture of it."""

from mien.predict.media import Box
from mien.predict.run import Outcome, predict

__all__ = ["Box", "Outcome", "predict"]
