"""What every inference runtime must offer, and the checks they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import ModelSpec, TensorSpec
from edge_audio.errors import BackendError, BundleError
from edge_audio.features.frontend import Transform, log_mel

State = tuple[np.ndarray, ...]
Step = Callable[[NDArray[np.float32], State], tuple[NDArray[np.float32], State]]
Signature = Mapping[str, TensorSpec]  # tensor name -> what the model file says about it


class Backend(Protocol):
    """One loaded model. It holds no stream: any number of streams may share it, each passing
    its own state, from any thread.

    name: as `open_backend` takes it.
    spec: the tensors that `step` takes and returns.
    """

    name: str
    spec: ModelSpec

    @property
    def log_mel(self) -> Transform | None:
        """Its own front end, where it has one: f32[n] in [-1, 1] -> f32[n_frames(n), n_mels]."""
        ...

    def initial_state(self) -> State:
        """The state at the start of a stream, in the order of `spec.state`: what `quiet_steps` of
        silence leave of zeros. It belongs to the caller."""
        ...

    def step(self, frames: NDArray[np.float32], state: State) -> tuple[NDArray[np.float32], State]:
        """frames, of the shape that `spec.frames` has: log-mel f32[1, frames_per_step, n_mels] or,
        for a model with its own front end, samples f32[1, step_samples] in [-1, 1]
        -> (scores f32[n_labels], next state).

        Does not modify its inputs; what it returns belongs to the caller.
        """
        ...

    def embed(
        self, frames: NDArray[np.float32], state: State
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], State]:
        """The same step, with what the head reads: -> (scores f32[n_labels], embedding
        f32[embedding_dim], next state). Raises BundleError where the model gives no embedding,
        which `spec.embedding` says before."""
        ...


class GraphBackend(ABC):
    """What runtimes of exported files share: a graph of one step, whose tensors stand in the order
    of `input_names` and `output_names`. They set `spec` and, once steps can run, call
    `_begin`."""

    name: str
    spec: ModelSpec
    log_mel = None

    @abstractmethod
    def _run(self, frames: NDArray[np.float32], state: State) -> Sequence[np.ndarray]:
        """All outputs of the graph, in arrays of the caller's own."""

    def _begin(self) -> None:
        self._initial_state = quiet_state(self.spec, self.step)

    def initial_state(self) -> State:
        return copy_state(self._initial_state)

    def step(self, frames: NDArray[np.float32], state: State) -> tuple[NDArray[np.float32], State]:
        return self._scores_and_state(self._run(frames, state))

    def embed(
        self, frames: NDArray[np.float32], state: State
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], State]:
        require_embedding(self.spec)
        outputs = self._run(frames, state)
        scores, next_state = self._scores_and_state(outputs)
        return scores, outputs[-1][0], next_state

    def _scores_and_state(self, outputs: Sequence[np.ndarray]) -> tuple[NDArray[np.float32], State]:
        return outputs[0][0], tuple(outputs[1 : 1 + len(self.spec.state)])


def zero_state(spec: ModelSpec) -> State:
    """Fresh zeros for every state tensor."""
    return tuple(np.zeros(tensor.shape, tensor.dtype) for tensor in spec.state)


def silence(spec: ModelSpec) -> NDArray[np.float32]:
    """The input of one step, of the shape of `spec.frames`, where every sample is 0."""
    samples = np.zeros(spec.overlap_samples + spec.step_samples, np.float32)
    return (samples if spec.input == "samples" else log_mel(spec.frontend, samples))[None]


def step_blocks(spec: ModelSpec, rows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Rows of a front end -> blocks of the shape of `spec.frames`; a rest is left out."""
    n_rows = spec.frames.shape[1]
    for start in range(0, len(rows) - n_rows + 1, n_rows):
        yield rows[None, start : start + n_rows]


def quiet_state(spec: ModelSpec, step: Step) -> State:
    """What `spec.quiet_steps` steps of silence leave of zeros, by a backend's own arithmetic."""
    state = zero_state(spec)
    if spec.quiet_steps:
        quiet = silence(spec)
        for _ in range(spec.quiet_steps):
            _, state = step(quiet, state)
    return state


def copy_state(state: State) -> State:
    """Arrays of the caller's own."""
    return tuple(array.copy() for array in state)


def input_names(spec: ModelSpec) -> list[str]:
    """Names of the graph's inputs: frames, then the state."""
    return [spec.frames.name, *(tensor.name for tensor in spec.state)]


def output_names(spec: ModelSpec) -> list[str]:
    """Names of the graph's outputs: scores, the next state, then the embedding if it gives one."""
    next_state = (f"{tensor.name}_next" for tensor in spec.state)
    return [spec.scores.name, *next_state, *(tensor.name for tensor in spec.embeddings)]


def require_embedding(spec: ModelSpec) -> None:
    """Raises BundleError for a model whose graph gives no embedding."""
    if spec.embedding is None:
        raise BundleError(
            "this model file gives no embedding: use --backend native, which computes it for every "
            "model, or export the bundle again with this version of edge-audio"
        )


def check_signature(spec: ModelSpec, inputs: Signature, outputs: Signature, file: str) -> None:
    """Raises BackendError naming the first tensor on which model file and manifest disagree."""
    wanted_inputs = (spec.frames, *spec.state)
    wanted_outputs = (spec.scores, *spec.state, *spec.embeddings)
    _check_side(dict(zip(input_names(spec), wanted_inputs, strict=True)), inputs, file)
    _check_side(dict(zip(output_names(spec), wanted_outputs, strict=True)), outputs, file)


def _check_side(wanted: Signature, found: Signature, file: str) -> None:
    for name in sorted(wanted.keys() | found.keys()):
        want, have = _describe(wanted.get(name)), _describe(found.get(name))
        if want != have:
            raise BackendError(
                f"{file} does not fit its manifest: tensor {name!r} is {have} in the model "
                f"and {want} in the manifest; export the bundle again"
            )


def _describe(tensor: TensorSpec | None) -> str:
    return f"{tensor.dtype}{list(tensor.shape)}" if tensor else "absent"
