"""Tests that need an inference runtime are skipped, by its name, where it is not installed."""

from __future__ import annotations

import pytest

from edge_audio.backends import Backend, backends_for, installed_backends, open_backend
from edge_audio.bundle.store import Bundle


def require_runtimes(*names: str) -> None:
    """Skips unless all of these backends can run here."""
    missing = sorted({*names} - {*installed_backends()})
    if missing:
        why = "no C compiler: apt install gcc" if missing == ["native"] else "not installed"
        pytest.skip(f"needs {', '.join(missing)} ({why})")


def require_any_runtime(bundle: Bundle) -> None:
    """Skips unless a backend that can run here has a model file in the bundle."""
    if not backends_for(bundle):
        pytest.skip(f"no runtime of {bundle.manifest.name} is installed")


def open_or_skip(bundle: Bundle, name: str) -> Backend:
    require_runtimes(name)
    return open_backend(bundle, name)
