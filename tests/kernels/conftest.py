from __future__ import annotations

import pytest
from each_backend import BACKENDS

from mien_kernels import backends


@pytest.fixture(autouse=True, params=BACKENDS)
def backend(request, monkeypatch):
    """What `auto` means in a test of this folder, so that each test runs on each back end."""
    monkeypatch.setattr(backends, "DENSE_PAIRS", 1 << 62 if request.param == "dense" else -1)
    monkeypatch.setattr(backends, "_tiled", lambda device, dtype: request.param)
    return request.param
