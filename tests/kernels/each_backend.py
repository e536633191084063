from __future__ import annotations

import os

BACKENDS = os.environ.get("MIEN_KERNELS_BACKENDS", "dense,chunked").split(",")
"""Back ends under test; `test_triton.py` runs this folder again with the third one."""
