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
    with _quiet(), _shared_origins():
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


@contextmanager
def _shared_origins() -> Iterator[None]:
    """Every pass copies of every node what passes before made of it, which nobody reads here: a
    fifth of the time of an export."""
    from torch.fx.traceback import NodeSource

    NodeSource.__deepcopy__ = lambda source, _: source  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del NodeSource.__deepcopy__  # type: ignore[attr-defined]
