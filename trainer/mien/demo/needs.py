"""What the page needs beyond mien itself."""

from __future__ import annotations

import importlib.util
import os

from mien.errors import MienError


def require_gradio() -> None:
    """Whether the page can be made at all; to be asked first, before anything slow and before its import.

    Raises:
        MienError: if Gradio is not installed.
    """
    # Read at its import: nothing is counted, and no other server is asked for anything.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if importlib.util.find_spec("gradio") is None:
        raise MienError("the page needs Gradio", where="mien demo", fix="pip install 'mien[demo]'")
