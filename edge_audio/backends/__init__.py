"""Inference runtimes behind one protocol. `open_backend` picks one and loads a bundle."""

from __future__ import annotations

from importlib.util import find_spec

from edge_audio.backends.base import Backend, State
from edge_audio.bundle.store import Bundle
from edge_audio.errors import BackendError, UsageError

__all__ = [
    "BACKEND_NAMES",
    "MODEL_FILES",
    "Backend",
    "State",
    "backends_for",
    "installed_backends",
    "open_backend",
]

# In order of preference. The quickest step is that of native, but it runs a compiler at first use:
# it has to be asked for where there is another.
BACKEND_NAMES = ("litert", "executorch", "onnx", "native")

MODEL_FILES = {
    "litert": "model.tflite",
    "executorch": "model.pte",
    "onnx": "model.onnx",
    "native": "engine.bin",
}
"""Backend name -> the file of a bundle that it runs."""

_MODULES = {
    "litert": ("ai_edge_litert", "tflite_runtime"),
    "executorch": ("executorch",),
    "onnx": ("onnxruntime",),
}


def installed_backends() -> list[str]:
    """Names of the backends whose runtime is installed, preferred first."""
    return [name for name in BACKEND_NAMES if _is_installed(name)]


def _is_installed(name: str) -> bool:
    if name == "native":
        from edge_audio.backends.native import is_available

        return is_available()
    return any(map(find_spec, _MODULES[name]))


def backends_for(bundle: Bundle) -> list[str]:
    """Names of the installed backends for which the bundle has a model file."""
    files = bundle.manifest.files
    return [name for name in installed_backends() if MODEL_FILES[name] in files]


def open_backend(bundle: Bundle, name: str = "auto", n_threads: int = 1) -> Backend:
    """Loads the bundle's model into a runtime; "auto" takes the first that can run it.

    Raises UsageError for an unknown name, BackendError if the runtime is not installed or the
    model does not fit its manifest, BundleError if the model file is missing or altered.
    """
    if name == "auto":
        name = _pick(bundle)
    if name == "litert":
        from edge_audio.backends.litert import open_litert

        return open_litert(bundle, n_threads)
    if name == "executorch":
        from edge_audio.backends.executorch import open_executorch

        return open_executorch(bundle, n_threads)
    if name == "onnx":
        from edge_audio.backends.onnx import open_onnx

        return open_onnx(bundle, n_threads)
    if name == "native":
        from edge_audio.backends.native import open_native

        return open_native(bundle)
    raise UsageError(f"unknown backend {name!r}: choose auto, {', '.join(BACKEND_NAMES)}")


def _pick(bundle: Bundle) -> str:
    if names := backends_for(bundle):
        return names[0]
    raise BackendError(
        f"no installed runtime can run {bundle.manifest.name}: "
        "pip install 'edge-audio[tflite]' or 'edge-audio[onnx]'"
    )
