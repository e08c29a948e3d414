"""Every runtime that the package knows has an exporter."""

import pkgutil

import pytest

from edge_audio.backends import RUNTIMES, Runtime
from edge_audio.errors import UsageError
from quantize.export import export
from quantize.schemes import SCHEMES


@pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)
def test_the_exporter_that_a_runtime_names_is_there(runtime: Runtime) -> None:
    assert callable(pkgutil.resolve_name(runtime.exporter))


def test_an_unknown_runtime_lists_the_choices() -> None:
    with pytest.raises(UsageError, match="litert, executorch, onnx, native"):
        export("tensorrt", None, SCHEMES["float"])  # type: ignore[arg-type]
