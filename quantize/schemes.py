"""Named ways of storing and computing a student, from float32 to int8 state."""

from __future__ import annotations

from typing import Literal

from edge_audio.bundle.manifest import Tolerance
from edge_audio.bundle.spec import DType, Spec
from edge_audio.errors import UsageError


class Scheme(Spec, frozen=True, kw_only=True):
    """weights: of fully connected layers (static also rounds those of convolutions).
    activations: float32; "dynamic": int8, their range measured in every step, where a runtime
        has kernels for that (LiteRT, ExecuTorch); "static": int8 with ranges that were
        measured before.
    state: what is carried between steps. Recurrences are always computed in float32.
    tolerance: what a runtime's scores may differ from PyTorch with the same rounding.
    """

    description: str
    weights: Literal["float32", "int8"] = "int8"
    activations: Literal["float32", "dynamic", "static"] = "float32"
    state: DType = "float32"
    tolerance: Tolerance

    @property
    def needs_ranges(self) -> bool:
        """Whether ranges must be measured on audio first."""
        return self.activations == "static" or self.state != "float32"


_EXACT = Tolerance(frames=2e-3, scores=1e-4)
_SAME_WEIGHTS = Tolerance(frames=2e-3, scores=1e-3)
"""A quarter of 1/256, the least that an int8 score could differ. What is left are exponentials
and sums in another order."""
_ROUNDED = Tolerance(frames=2e-3, scores=0.05)
_ROUNDED_STATIC = Tolerance(frames=2e-3, scores=0.35)
"""Where a runtime rounds activations, some of them go the other way, and a stream remembers that.
Static schemes round the input and output of every layer but the head, at its onset a score may
then differ by a quarter: they are for measuring, not for shipping."""

SCHEMES = {
    "float": Scheme(description="float32 weights and state", weights="float32", tolerance=_EXACT),
    "weight-only": Scheme(description="int8 weights, float32 state", tolerance=_SAME_WEIGHTS),
    "dynamic": Scheme(
        description="int8 weights, activations quantized on the fly, float32 state",
        activations="dynamic",
        tolerance=_ROUNDED,
    ),
    "static": Scheme(
        description="int8 weights and activations, float32 state",
        activations="static",
        tolerance=_ROUNDED_STATIC,
    ),
    "int16-state": Scheme(
        description="int8 weights and activations, int16 state",
        activations="static",
        state="int16",
        tolerance=_ROUNDED_STATIC,
    ),
    "int8-state": Scheme(
        description="int8 weights and activations, int8 state",
        activations="static",
        state="int8",
        tolerance=_ROUNDED_STATIC,
    ),
}

DEFAULT_SCHEME = "weight-only"


def find_scheme(name: str) -> Scheme:
    """Raises UsageError, listing the names, for an unknown one."""
    if name not in SCHEMES:
        raise UsageError(f"unknown scheme {name!r}: choose {', '.join(SCHEMES)}")
    return SCHEMES[name]
