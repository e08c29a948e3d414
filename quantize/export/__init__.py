"""One exporter per runtime; each takes the same StepGraph."""

from __future__ import annotations

import logging
import pkgutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from os import devnull
from typing import TYPE_CHECKING

from edge_audio.backends.registry import RUNTIMES
from edge_audio.errors import UsageError
from quantize.schemes import Scheme

if TYPE_CHECKING:  # the command line lists the names without loading torch
    from quantize.graph.step import StepGraph

    Exporter = Callable[[StepGraph, Scheme], bytes]


def export(runtime: str, graph: StepGraph, scheme: Scheme) -> bytes:
    """The model file of a runtime. Raises UsageError for an unknown runtime, EdgeAudioError if it
    cannot express the graph."""
    if runtime not in RUNTIMES:
        raise UsageError(f"there is no exporter for {runtime!r}: choose {', '.join(RUNTIMES)}")
    with _quiet():
        exporter: Exporter = pkgutil.resolve_name(RUNTIMES[runtime].exporter)
        return exporter(graph, scheme)


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
