"""What is known of each inference runtime, one record each, and how one is picked and opened.

A runtime's own module is imported only once a model is opened in it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from edge_audio.backends.base import Backend
from edge_audio.backends.rows import RowsBackend, SomeLabelsBackend, check_network
from edge_audio.bundle.store import Bundle
from edge_audio.engine.image import ENGINE_FILE, SHARED_FILE
from edge_audio.errors import BackendError, UsageError


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One inference runtime.

    name: as --backend takes it. title: as people call it. file: of a bundle, that it runs.
    opener: "module:function" of (bundle, n_threads) -> Backend.
    exporter: "module:function" of (StepGraph, Scheme) -> bytes, which `quantize` calls.
    modules: Python modules any one of which is the runtime. probe: "module:function" that says
        whether it can run here, in place of modules. preference: one that says whether it is
        preferred to all others.
    extra: of the package edge-audio, that installs it. has_rows: whether it computes itself the
        rows of a bundle (`Bundle.rows`), and where it has some labels (`Bundle.whole`) no others.
    """

    name: str
    title: str
    file: str
    opener: str
    exporter: str
    modules: tuple[str, ...] = ()
    probe: str = ""
    preference: str = ""
    extra: str = ""
    has_rows: bool = False

    def is_installed(self) -> bool:
        if self.probe:
            is_available: Callable[[], bool] = pkgutil.resolve_name(self.probe)
            return is_available()
        return any(map(find_spec, self.modules))

    def comes_first(self) -> bool:
        """Whether it is preferred to all others as it is installed here."""
        return bool(self.preference) and bool(pkgutil.resolve_name(self.preference)())

    def open(self, bundle: Bundle, n_threads: int = 1) -> Backend:
        """Raises BackendError or BundleError, see `open_backend`."""
        opener: Callable[[Bundle, int], Backend] = pkgutil.resolve_name(self.opener)
        if bundle.whole is not None and not self.has_rows:
            kept = [*map(bundle.whole.manifest.labels.index, bundle.manifest.labels)]
            return SomeLabelsBackend(self.open(bundle.whole, n_threads), kept)
        if bundle.rows is None:
            return opener(bundle, n_threads)
        if not self.has_rows:
            return RowsBackend(opener(bundle.without_rows(), n_threads), bundle.rows)
        backend = opener(bundle, n_threads)
        check_network(backend, bundle.rows)
        return backend

    @property
    def not_installed(self) -> str:
        """The message for a person who asks for the runtime where it is not installed."""
        if self.extra:
            return f"{self.title} is not installed: pip install 'edge-audio[{self.extra}]'"
        return f"{self.title} needs a C compiler, such as gcc"


LITERT = Runtime(
    name="litert",
    title="LiteRT",
    file=SHARED_FILE,  # the engine image refers to its weights
    modules=("ai_edge_litert", "tflite_runtime"),
    extra="tflite",
    opener="edge_audio.backends.litert:open_litert",
    exporter="quantize.export.litert:export_litert",
)
EXECUTORCH = Runtime(
    name="executorch",
    title="ExecuTorch",
    file="model.pte",
    modules=("executorch",),
    extra="executorch",
    opener="edge_audio.backends.executorch:open_executorch",
    exporter="quantize.export.executorch:export_executorch",
)
ONNX = Runtime(
    name="onnx",
    title="ONNX Runtime",
    file="model.onnx",
    modules=("onnxruntime",),
    extra="onnx",
    opener="edge_audio.backends.onnx:open_onnx",
    exporter="quantize.export.onnx:export_onnx",
)
NATIVE = Runtime(
    name="native",
    title="the C engine",
    file=ENGINE_FILE,
    probe="edge_audio.backends.engine_library:is_available",
    preference="edge_audio.backends.engine_library:is_compiled",
    has_rows=True,
    opener="edge_audio.backends.native:open_native",
    exporter="quantize.export.native:export_native",
)

# In order of preference, but that of native where it came compiled: it is the quickest, and the
# first then. Where it has to run a compiler at first use, it has to be asked for.
RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime for runtime in (LITERT, EXECUTORCH, ONNX, NATIVE)
}
BACKEND_NAMES = tuple(RUNTIMES)
INSTALL_HINT = f"pip install 'edge-audio[{LITERT.extra}]' or 'edge-audio[{ONNX.extra}]'"


def installed_backends() -> list[str]:
    """Names of the backends whose runtime is installed, preferred first."""
    names = [name for name, runtime in RUNTIMES.items() if runtime.is_installed()]
    return sorted(names, key=lambda name: not RUNTIMES[name].comes_first())


def backends_for(bundle: Bundle) -> list[str]:
    """Names of the installed backends for which the bundle has a model file."""
    files = bundle.manifest.files
    return [name for name in installed_backends() if RUNTIMES[name].file in files]


def open_backend(bundle: Bundle, name: str = "auto", n_threads: int = 1) -> Backend:
    """Loads the bundle's model into a runtime.

    name: "litert", "executorch", "onnx" or "native"; "auto" takes "native" where the engine came
        compiled, else the first of them that is installed, and has a model file in the bundle.
    n_threads: for one step, where the runtime has a choice (litert, onnx).

    Raises UsageError for an unknown name, BackendError if the runtime is not installed or the
    model does not fit its manifest, BundleError if the model file is missing or altered.
    """
    if name == "auto":
        name = _pick(bundle)
    if name not in RUNTIMES:
        raise UsageError(f"unknown backend {name!r}: choose auto, {', '.join(BACKEND_NAMES)}")
    return RUNTIMES[name].open(bundle, n_threads)


def _pick(bundle: Bundle) -> str:
    if names := backends_for(bundle):
        return names[0]
    raise BackendError(f"no installed runtime can run {bundle.manifest.name}: {INSTALL_HINT}")
