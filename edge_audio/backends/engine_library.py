"""The C engine as a shared library: one that came with the package, by `setup.py`, or else one that
the machine's own compiler builds once, from the sources in `firmware_bridge`, into the cache.
"""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from edge_audio.backends.compiler import (
    C,
    cached_library,
    find_compiler,
    fingerprint,
    load_library,
)
from edge_audio.engine.variants import (
    FLAGS,
    LIBRARY_DIR,
    VARIANTS,
    engine_sources,
    file_name,
    fingerprint_of,
)
from edge_audio.errors import BackendError


class WatchedLabels(ctypes.Structure):
    """ea_watched"""

    _fields_ = (
        ("n", ctypes.c_size_t),
        ("rise", ctypes.c_float),
        ("fall", ctypes.c_float),
        ("index", ctypes.c_void_p),
        ("smoothed", ctypes.c_void_p),
        ("peak", ctypes.c_void_p),
        ("limit", ctypes.c_void_p),
        ("is_active", ctypes.c_void_p),
    )


def is_available() -> bool:
    """Whether the engine can be had: compiled, or its sources and a C compiler."""
    return is_compiled() or (_engine_dir() is not None and find_compiler(C) is not None)


def is_compiled() -> bool:
    """Whether a library came with the package, for this machine and of these sources."""
    return find_packaged() is not None


def load_engine() -> ctypes.CDLL:
    """The engine for this CPU. Raises BackendError."""
    return find_packaged() or _compiled_here()


@lru_cache(maxsize=1)
def find_packaged() -> ctypes.CDLL | None:
    """The quickest library of the package that this CPU runs; None where there is none, or only
    those of sources that have changed since."""
    for variants in VARIANTS.values():
        names = [file_name(variant) for variant in variants]
        first = _loaded(names[0])
        if first is not None and _is_current(first):
            best = names[min(first.ea_cpu_level(), len(names) - 1)]
            library = first if best == names[0] else _loaded(best)
            return _declare(library or first)
    return None


def _loaded(name: str) -> ctypes.CDLL | None:
    """None where it is not there, or of another machine."""
    path = LIBRARY_DIR / name
    if not path.is_file():
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        return None


def _is_current(library: ctypes.CDLL) -> bool:
    folder = _engine_dir()
    library.ea_fingerprint.restype = ctypes.c_char_p
    found: bytes = library.ea_fingerprint()
    return folder is None or found.decode() == fingerprint_of(folder)


def _compiled_here() -> ctypes.CDLL:
    folder = _engine_dir()
    if folder is None:
        raise BackendError(
            "the engine's sources are missing: reinstall edge-audio, or use --backend litert"
        )
    flags = (*FLAGS, "-fPIC", *_cpu_flags(), f"-I{folder / 'include'}")
    parts = (fingerprint_of(folder), *flags, _cpu_name())
    sources = map(str, engine_sources(folder))
    path = cached_library(f"engine-{fingerprint(*parts)}.so", C, [*flags, *sources], "the engine")
    return _declare(load_library(path, "use --backend litert"))


def _engine_dir() -> Path | None:
    """Folder of the engine's sources, which are read as files: firmware_bridge is never
    imported."""
    spec = find_spec("firmware_bridge")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "engine"
        if (folder / "include" / "edge_audio.h").is_file():
            return folder
    return None


def _cpu_flags() -> tuple[str, ...]:
    return ("-march=native",) if sys.platform == "linux" else ()


def _cpu_name() -> str:
    """A text that differs between kinds of CPU: a cache may be on a disk that machines share."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return sys.platform
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features"))}))


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """With the types of arguments and results."""
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    signatures = {
        "ea_model_size": (size, ()),
        "ea_network_size": (size, (pointer,)),
        "ea_scratch_size": (size, (pointer,)),
        "ea_embedding_dim": (ctypes.c_uint32, (pointer,)),
        "ea_step_embedding": (pointer, (pointer, pointer)),
        "ea_open": (ctypes.c_int, (pointer, pointer, size)),
        "ea_pack_size": (size, (pointer,)),
        "ea_pack": (None, (pointer, pointer)),
        "ea_log_mel": (None, (pointer, pointer, size, pointer, pointer)),
        "ea_begin": (None, (pointer, pointer, pointer, pointer)),
        "ea_step": (None, (pointer, pointer, pointer, pointer, pointer)),
        "ea_block_stream_size": (size, (pointer,)),
        "ea_block_begin": (pointer, (pointer, pointer, pointer)),
        "ea_block_forget": (None, (pointer,)),
        "ea_block_push": (size, (pointer, pointer, size, pointer, pointer, size, pointer)),
        "ea_watch": (size, (pointer, pointer, size, size)),
        "ea_batch_push": (
            None,
            (*(pointer, pointer, size, pointer, size, pointer, size), *(pointer, pointer, pointer)),
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


if __name__ == "__main__":  # for `make listen`: 0 where the engine came compiled
    sys.exit(not is_compiled())
