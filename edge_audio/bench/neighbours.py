"""What other packages hear with, for `edge-audio bench`: each a `WindowModel`, as its own package
runs it, on one thread. Their models are not ours to ship: where one is not found, that is said.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edge_audio.bench.windows import SAMPLE_RATE_HZ, open_session
from edge_audio.errors import BackendError
from edge_audio.support.arrays import FloatArray
from edge_audio.support.folders import PEERS_ENV, peers_dir

NEIGHBOURS = {
    "silero-vad": "edge_audio.bench.neighbours:SileroVad",
    "openWakeWord-frontend": "edge_audio.bench.neighbours:WakeWordFrontend",
    "sherpa-onnx-CED": "edge_audio.bench.neighbours:sherpa_ced",
    "sherpa-onnx-Zipformer": "edge_audio.bench.neighbours:sherpa_zipformer",
}
"""Name -> what opens it."""

_PEERS = f"the folder that {PEERS_ENV} names"  # without its path, since results are published


class SileroVad:
    """The probability of speech, and nothing else, in each 32 ms, heard with the 4 ms before."""

    sample_rate_hz, hop_samples, window_samples = SAMPLE_RATE_HZ, 512, 576

    def __init__(self) -> None:
        """Raises BackendError without its model or ONNX Runtime."""
        path = _found("silero-vad", "silero_vad", Path("data"), "silero_vad.onnx")
        self._session = open_session(path)
        self._state = np.zeros((2, 1, 128), np.float32)
        self._rate = np.array(SAMPLE_RATE_HZ, np.int64)
        self.n_model_bytes = path.stat().st_size

    def __call__(self, window: FloatArray) -> FloatArray:
        inputs = {"input": window[None], "state": self._state, "sr": self._rate}
        scores, self._state = self._session.run(None, inputs)
        return np.asarray(scores[0])


class WakeWordFrontend:
    """The embedding that openWakeWord's words are told by, every 80 ms: eight frames of a mel
    spectrogram, then a network over the latest 76. The words themselves cost more."""

    sample_rate_hz, hop_samples, window_samples = SAMPLE_RATE_HZ, 1_280, 1_280 + 3 * 160

    def __init__(self) -> None:
        """Raises BackendError without its models or ONNX Runtime."""
        folder = Path("resources", "models")
        names = "melspectrogram.onnx", "embedding_model.onnx"
        paths = [_found("openWakeWord", "openwakeword", folder, name) for name in names]
        self._mels, self._embed = map(open_session, paths)
        self._frames = np.ones((76, 32), np.float32)
        self.n_model_bytes = sum(path.stat().st_size for path in paths)

    def __call__(self, window: FloatArray) -> FloatArray:
        mels = _first_output(self._mels, window[None] * np.float32(32_767.0))
        new = mels.reshape(-1, self._frames.shape[1]) / np.float32(10.0) + np.float32(2.0)
        self._frames = np.concatenate([self._frames, new])[-len(self._frames) :]
        return _first_output(self._embed, self._frames[None, :, :, None]).ravel()


class SherpaTagger:
    """The five highest of the AudioSet labels over the latest 10 s, every half second."""

    sample_rate_hz, hop_samples, window_samples = SAMPLE_RATE_HZ, 8_000, 160_000

    def __init__(self, tagger: Any, n_model_bytes: int) -> None:
        self._tagger, self.n_model_bytes = tagger, n_model_bytes

    def __call__(self, window: FloatArray) -> FloatArray:
        stream = self._tagger.create_stream()
        stream.accept_waveform(SAMPLE_RATE_HZ, window)
        return np.array([event.prob for event in self._tagger.compute(stream)], np.float32)


def sherpa_ced() -> SherpaTagger:
    """Raises BackendError without the package or a model of it."""
    return _open_sherpa("ced")


def sherpa_zipformer() -> SherpaTagger:
    """Raises BackendError without the package or a model of it."""
    return _open_sherpa("zipformer")


def _open_sherpa(kind: str) -> SherpaTagger:
    try:
        import sherpa_onnx
    except ImportError as error:
        raise BackendError("sherpa-onnx is not installed: pip install sherpa-onnx") from error
    pattern = f"sherpa-onnx-{kind}-*"
    models = list(peers_dir().glob(f"{pattern}/model*.onnx"))
    if not models:
        raise BackendError(f"no {pattern} in {_PEERS}: unpack a release of sherpa-onnx there")
    smallest = min(models, key=lambda path: path.stat().st_size)  # the int8 one
    path, labels = str(smallest), str(smallest.with_name("class_labels_indices.csv"))
    made = path if kind == "ced" else sherpa_onnx.OfflineZipformerAudioTaggingModelConfig(path)
    model = sherpa_onnx.AudioTaggingModelConfig(num_threads=1, **{kind: made})
    config = sherpa_onnx.AudioTaggingConfig(model=model, labels=labels, top_k=5)
    if not config.validate():
        raise BackendError(f"sherpa-onnx refuses {smallest.parent.name}: unpack the release anew")
    return SherpaTagger(sherpa_onnx.AudioTagging(config), smallest.stat().st_size)


def _found(title: str, module: str, folder: Path, name: str) -> Path:
    """A model file in a package, which is not imported, or in the folder of peers. Raises
    BackendError."""
    spec = find_spec(module)
    homes = [Path(home) / folder for home in (spec and spec.submodule_search_locations) or ()]
    for path in [peers_dir() / name, *(home / name for home in homes)]:
        if path.is_file():
            return path
    cure = f"install it with its models, or put the file into {_PEERS}"
    raise BackendError(f"no {name} of {title}: {cure}")


def _first_output(session: Any, value: FloatArray) -> FloatArray:
    return np.asarray(session.run(None, {session.get_inputs()[0].name: value})[0])
