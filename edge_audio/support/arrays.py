"""Arrays of samples, frames and scores, and of what is fitted to them."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]


def is_number(value: Any) -> bool:
    """Whether a program gave a number, be it one of numpy; True and "0.4" are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    """Whether a program gave a whole number from 1 on; 2.0 is none."""
    return isinstance(value, Integral) and is_number(value) and int(value) >= 1


def in_range(samples: FloatArray) -> FloatArray:
    """Samples within [-1, 1], NaN as 0, so that no input can poison later frames."""
    samples = np.asarray(samples, np.float32)
    if np.maximum.reduce(np.abs(samples), initial=0.0) <= 1.0:
        return samples  # the usual case, at a fraction of the cost; false where there is a NaN
    return np.clip(np.nan_to_num(samples, nan=0.0), -1.0, 1.0)


def evenly_spread(rows: FloatArray, n_most: int) -> FloatArray:
    """At most so many of the rows [n, ...], the first and the last among them."""
    if len(rows) <= n_most:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, n_most).round().astype(int)])
