"""One exporter per runtime; each takes the same StepGraph."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from os import devnull
from typing import TYPE_CHECKING

from edge_audio.errors import UsageError
from quantize.schemes import Scheme

if TYPE_CHECKING:  # the command line lists the names without loading torch
    from quantize.graph.step import StepGraph


def export(runtime: str, graph: StepGraph, scheme: Scheme) -> bytes:
    """The model file of a runtime. Raises EdgeAudioError if it cannot express the graph."""
    with _quiet():
        return _export(runtime, graph, scheme)


def _export(runtime: str, graph: StepGraph, scheme: Scheme) -> bytes:
    if runtime == "litert":
        from quantize.export.litert import export_litert

        return export_litert(graph, scheme)
    if runtime == "executorch":
        from quantize.export.executorch import export_executorch

        return export_executorch(graph, scheme)
    if runtime == "onnx":
        from quantize.export.onnx import export_onnx

        return export_onnx(graph, scheme)
    if runtime == "native":
        from quantize.export.native import export_native

        return export_native(graph, scheme)
    raise UsageError(f"there is no exporter for {runtime!r}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters print pages about themselves; what fails is raised all the same."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), open(devnull, "w") as nowhere:
            warnings.simplefilter("ignore")
            with redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield
    finally:
        logging.disable(logging.NOTSET)
