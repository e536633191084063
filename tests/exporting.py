"""A small open_clip run and a tiny one, each trained for a moment in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from engine.runs import LOOP, TOWERS
from mien import engine
from mien import recipe as recipes
from mien.faults.sets import write_set

CLIP: dict[str, Any] = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
SHORT = (
    "engine.max_steps=4",
    "engine.checkpoint_every=4",
    "data.val=null",
    "data.workers=0",
    "engine.ema=0.5",
)


@contextmanager
def small_open_clip(**changes: Any) -> Iterator[None]:
    """Every open_clip config is a narrow ViT; only its size is unreal."""
    from open_clip import factory

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factory, "get_model_config", lambda name: deepcopy(CLIP | changes))
        yield


def train(root: Path, *overrides: str) -> Path:
    """Run folder of four steps."""
    sets = write_set(root / "set", 32)
    own = (f"data.train.shards={sets}", f"run.root={root / 'runs'}")
    loop = [key for key in LOOP if not key.startswith("engine.val_every")]
    recipe = recipes.load("emocapclip/tiny", [*TOWERS, *loop, *own, *SHORT, *overrides])
    return Path(engine.run(recipe))
