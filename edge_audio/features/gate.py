"""A level gate: which steps of a stream the model need not hear, because nothing sounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from edge_audio.bundle.spec import ModelSpec
from edge_audio.errors import UsageError
from edge_audio.support.arrays import FloatArray, in_range, is_number

# As long as the shipped models remember anything that matters: with these two, their scores and
# events after a silence are those of a run without a gate (benchmarks/level_gate.py).
HOLD_S = 20.0  # of silence before the gate closes
REPLAY_S = 10.0  # of silence that the model hears after all when the gate opens
MIN_DBFS, MAX_DBFS = -120.0, 0.0


def is_level(gate_dbfs: float | None) -> bool:
    """Whether a gate can have this level."""
    return gate_dbfs is None or MIN_DBFS <= gate_dbfs <= MAX_DBFS


class Stretch(NamedTuple):
    """Consecutive steps with one fate.

    samples: f32[n] of whole steps. Where n_late > 0, the overlap of the front end is before them.
    is_heard: they are for the model; otherwise nothing is to be computed.
    n_late: how many of the first of them were skipped before, and are heard now.
    """

    samples: FloatArray
    is_heard: bool
    n_late: int = 0


class LevelGate:
    """Follows one stream. It closes once every step for HOLD_S was quieter than the level and no
    event is open or about to be, and opens with the first step that is as loud.

    When it opens, the last steps that were skipped are heard first. So the front end computes
    the frames that it would have computed anyway, and the state of the model, which stood still
    meanwhile, comes close to what it would have been.
    """

    def __init__(self, model: ModelSpec, gate_dbfs: float | None) -> None:
        """gate_dbfs: see `dbfs`."""
        self._step_samples = model.step_samples
        self._overlap_samples = model.overlap_samples
        self._hold_steps = math.ceil(HOLD_S / model.step_s)
        self._replay_steps = math.ceil(REPLAY_S / model.step_s)
        self.dbfs = gate_dbfs
        self.reset()

    @property
    def dbfs(self) -> float | None:
        """RMS level of a step in dB relative to full scale, from MIN_DBFS to MAX_DBFS; None = the
        gate is always open. A change holds from the next step on. Raises UsageError."""
        return self._dbfs

    @dbfs.setter
    def dbfs(self, gate_dbfs: float | None) -> None:
        if gate_dbfs is not None and not is_number(gate_dbfs):
            raise UsageError(f"gate_dbfs is {gate_dbfs!r}: give a level in dBFS, say -60")
        if not is_level(gate_dbfs):
            limits = f"{MIN_DBFS:g} to {MAX_DBFS:g} dBFS"
            raise UsageError(f"gate at {gate_dbfs:g} dBFS: give a level from {limits}, say -60")
        self._dbfs = gate_dbfs
        power = 0.0 if gate_dbfs is None else 10.0 ** (gate_dbfs / 10.0)
        self._min_energy = np.float32(power * self._step_samples)

    def reset(self) -> None:
        """Opens, and forgets all samples: the next ones start a new stream."""
        self._has_begun = False
        self._is_open = True
        self._n_quiet_steps = 0  # in a row
        self._n_skipped_steps = 0  # since it closed
        self._past = _Past(self._overlap_samples + self._replay_steps * self._step_samples)

    @property
    def is_off(self) -> bool:
        """Whether it lets all steps pass, and skipped none that are to be heard after all."""
        return self._dbfs is None and self._n_skipped_steps == 0

    def pass_by(self) -> None:
        """Samples were heard that it was not shown, since it was off."""
        self._has_begun, self._is_open, self._n_quiet_steps = True, True, 0

    def stretches(self, samples: FloatArray, is_idle: Callable[[], bool]) -> Iterator[Stretch]:
        """f32[n] of whole steps, the first of a stream with the overlap before them -> the same
        in stretches. is_idle: tells whether no event is open or about to be; asked between two
        stretches, when the first has been dealt with."""
        n_lead = 0 if self._has_begun else self._overlap_samples
        self._has_begun = True
        if self._dbfs is None:
            self._n_quiet_steps = 0
            yield self._heard(samples)
            return
        is_loud = self._is_loud(samples[n_lead:])
        while is_loud:
            is_heard = self._is_open or is_loud[0]
            n_steps = self._count_heard(is_loud) if is_heard else _count_quiet(is_loud)
            end = n_lead + n_steps * self._step_samples
            stretch = self._heard(samples[:end]) if is_heard else self._skipped(samples[:end])
            self._past.push(samples[:end])
            yield stretch
            if is_heard and self._n_quiet_steps >= self._hold_steps:
                self._is_open = not is_idle()
            samples, is_loud, n_lead = samples[end:], is_loud[n_steps:], 0

    def _is_loud(self, samples: FloatArray) -> list[bool]:
        """Whether each step is as loud as the level: bool[n_steps]."""
        steps = in_range(samples).reshape(-1, self._step_samples)
        energy = np.einsum("ij,ij->i", steps, steps)
        is_loud: list[bool] = (energy >= self._min_energy).tolist()
        return is_loud

    def _count_heard(self, is_loud: list[bool]) -> int:
        """How many steps there are up to the first after which the gate may close."""
        for n_steps, loud in enumerate(is_loud, start=1):
            self._n_quiet_steps = 0 if loud else self._n_quiet_steps + 1
            if self._n_quiet_steps >= self._hold_steps:
                return n_steps
        return len(is_loud)

    def _heard(self, samples: FloatArray) -> Stretch:
        n_late = min(self._n_skipped_steps, self._replay_steps)
        self._is_open, self._n_skipped_steps = True, 0
        if n_late:
            n_before = self._overlap_samples + n_late * self._step_samples
            samples = np.concatenate([self._past.last(n_before), samples])
        return Stretch(samples, is_heard=True, n_late=n_late)

    def _skipped(self, samples: FloatArray) -> Stretch:
        self._n_skipped_steps += len(samples) // self._step_samples
        return Stretch(samples, is_heard=False)


class _Past:
    """The last samples of a stream; to push some costs little however many it holds."""

    def __init__(self, n_samples: int) -> None:
        self._n_samples = n_samples
        self._blocks: list[FloatArray] = []
        self._n_held = 0

    def push(self, samples: FloatArray) -> None:
        self._blocks.append(samples)
        self._n_held += len(samples)
        if self._n_held >= 2 * self._n_samples:
            self._blocks = [self.last(self._n_samples)]
            self._n_held = self._n_samples

    def last(self, n_samples: int) -> FloatArray:
        """f32[n_samples], or fewer if there were not so many."""
        whole = np.concatenate(self._blocks)
        return whole[max(0, len(whole) - n_samples) :]


def _count_quiet(is_loud: list[bool]) -> int:
    return is_loud.index(True) if True in is_loud else len(is_loud)
