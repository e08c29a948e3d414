"""Which runtimes can express what."""

from __future__ import annotations

from edge_audio.backends.registry import BACKEND_NAMES, NATIVE
from quantize.schemes import Scheme


def runtimes_for(scheme: Scheme, model_input: str = "frames") -> tuple[str, ...]:
    """Those that can express it: the C engine has int8 weights, rounds activations and state in a
    way of its own, and has a front end already."""
    is_native = scheme.weights == "int8" and not scheme.needs_ranges
    is_native = is_native and model_input == "frames"
    return tuple(name for name in BACKEND_NAMES if is_native or name != NATIVE.name)
