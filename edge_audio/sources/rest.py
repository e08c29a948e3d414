"""While nothing sounds a microphone collects its audio, so that a listener wakes less often: waking
threads costs more than the network that they run."""

from __future__ import annotations

import numpy as np

from edge_audio.support.arrays import FloatArray

_RISE = 4.0  # of the energy, 6 dB
_MIN_ENERGY = 1e-8  # -80 dBFS: what rises below that is noise of the converter
_RISING_S, _FALLING_S = 1.0, 0.16  # time constants of what is usual
_AWAKE_S = 1.0  # after a rise, in which a label may come up


class Rest:
    """Says for each block of a microphone whether its listener has to be woken. One thread tells
    the blocks, another whether rest is allowed.

    is_allowed: no event is open or about to begin, and nobody looks at each step.
    """

    def __init__(self, latency_s: float) -> None:
        """latency_s: how much audio may wait at most."""
        self.latency_s = latency_s
        self.is_allowed = False
        self._usual_energy = np.inf
        self._awake_s = 0.0

    def ends(self, samples: FloatArray, block_s: float, waiting_s: float) -> bool:
        """Whether the listener is to be woken for a block f32[n > 0] that lasts block_s seconds.
        waiting_s: of the audio that waits, with this block."""
        energy = float(np.dot(samples, samples)) / len(samples)
        energy = min(1.0, max(_MIN_ENERGY, energy))  # a number, also of samples that are none
        is_rise = energy > _RISE * self._usual_energy
        self._follow(energy, block_s)
        self._awake_s = _AWAKE_S if is_rise else max(0.0, self._awake_s - block_s)
        is_full = waiting_s + block_s > self.latency_s + 1e-6  # with the next block
        return is_full or self._awake_s > 0.0 or not self.is_allowed

    def _follow(self, energy: float, block_s: float) -> None:
        if np.isinf(self._usual_energy):
            self._usual_energy = energy
        constant_s = _RISING_S if energy > self._usual_energy else _FALLING_S
        self._usual_energy += (energy - self._usual_energy) * min(1.0, block_s / constant_s)
