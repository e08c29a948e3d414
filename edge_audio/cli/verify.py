"""`edge-audio verify`: does this machine compute what the model's maker computed?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from rich.table import Table

from edge_audio.backends import BACKEND_NAMES, backends_for, open_backend
from edge_audio.backends.golden import VerifyResults, tolerance_of
from edge_audio.backends.native import ENGINE_EVENT_SHARE, ENGINE_SHARE
from edge_audio.backends.registry import NATIVE
from edge_audio.bundle.manifest import Tolerance
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.cli.compare import recording, reported
from edge_audio.cli.console import plain_console
from edge_audio.cli.options import related_option
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.errors import BackendError, UsageError
from edge_audio.events.policy import PolicySpec, Related
from edge_audio.tagging.compare import Difference, difference, trace
from edge_audio.tagging.verify import verify_bundle

_OK = "ok"
_LISTED = "(edge-audio compare lists them)"


@click.command()
@click.argument("model", metavar="MODEL", default="tiny-int8")
@click.option(
    "--backend",
    type=click.Choice(["all", *BACKEND_NAMES]),
    default="all",
    show_default=True,
    help="all: every runtime that is installed and that the bundle has a model for.",
)
@click.option(
    "--audio",
    type=click.Path(path_type=Path),
    help="Also run this recording through every runtime, of which there must be two: scores must "
    "agree within the manifest's tolerance and the events that are reported must be equal, the C "
    "engine's nearly so: it rounds to 16 bits.",
)
@related_option
@quiet_libraries()
def verify(model: str, backend: str, audio: Path | None, related: Related | None) -> None:
    """Check a model's files and replay its golden recording.

    Every file must have the size and SHA-256 of the manifest; frames, scores, embedding and
    events must come out as they did where the model was made, within the manifest's tolerance.
    MODEL is a shipped name or the folder of a bundle. The exit code is 1 where anything differs.

    \b
    edge-audio verify tiny-int8
    edge-audio verify exported/ --backend onnx
    edge-audio verify tiny-int8 --audio street.wav
    """
    if related is not None and audio is None:
        raise UsageError("--related belongs to --audio")
    bundle = load_bundle(model)
    names = backends_for(bundle) if backend == "all" else [backend]
    if not names:
        raise BackendError(
            f"no installed runtime can run {model}: pip install 'edge-audio[tflite]'"
        )
    if audio is not None:
        check_can_compare(names, backend)
    results = [verify_bundle(bundle, name) for name in names]
    plain_console().print(replay_table(results))
    if not all(one.ok for one in results):
        raise SystemExit(1)
    if audio is not None and not agree_on(audio, bundle, names, reported(related)):
        raise SystemExit(1)


def replay_table(results: Sequence[VerifyResults]) -> Table:
    """One row each; the embedding has a column where it was compared."""
    has_embedding = any(one.embedding_error is not None for one in results)
    parts = ("frames", "scores", "embedding") if has_embedding else ("frames", "scores")
    table = Table("backend", "steps", *(f"{x} off by" for x in parts), "result", box=None)
    for one in results:
        errors = [f"{getattr(one, f'{part}_error'):.1e}" for part in parts]
        table.add_row(one.backend, str(one.n_steps), *errors, one.failure or "ok")
    return table


def check_can_compare(names: Sequence[str], backend: str) -> None:
    """Raises UsageError where a recording, which comes without scores, could be compared with
    nothing."""
    if len(names) < 2:
        cure = f"install another than {names[0]}" if backend == "all" else "leave out --backend"
        raise UsageError(f"--audio compares runtimes with each other, and there is one: {cure}")


def agree_on(audio: Path, bundle: Bundle, names: list[str], policy: PolicySpec) -> bool:
    """Prints how the other runtimes differ from the first on a recording. Returns whether they
    agree."""
    rate_hz = bundle.manifest.model.frontend.sample_rate_hz
    traces = [
        trace(bundle, open_backend(bundle, name), recording(audio, rate_hz), policy)
        for name in names
    ]
    table = Table("recording", "steps", "scores off by", "events", "result", box=None)
    first, results = traces[0], []
    for name, other in zip(names[1:], traces[1:], strict=True):
        is_rounded = NATIVE.name in (names[0], name)
        found = difference(first, other, bundle.manifest.model.step_s if is_rounded else 0.0)
        judged = result_beside_the_engine if is_rounded else result_of_floats
        results.append(judged(found, bundle.manifest.tolerance))
        row = f"{name} against {names[0]}", str(len(other.times_s)), f"{found.max_error:.1e}"
        table.add_row(*row, str(found.n_equal), results[-1])
    plain_console().print(table)
    return all(result.startswith(_OK) for result in results)


def result_of_floats(found: Difference, tolerance: Tolerance) -> str:
    """ "ok", or what is wrong between runtimes that compute in floats: nothing may differ."""
    if not found.max_error <= tolerance.scores:
        return f"scores differ, allowed is {tolerance.scores:g}"
    return f"{found.n_alone} events differ {_LISTED}" if found.n_alone else _OK


def result_beside_the_engine(found: Difference, tolerance: Tolerance) -> str:
    """ "ok" and what differs, or what is wrong beside the engine, which rounds to 16 bits: scores
    of single steps may be further apart, and events whose scores come that near to a threshold may
    be a step apart, or of one side alone."""
    allowed = tolerance_of(NATIVE.name, tolerance).scores
    if not np.quantile(found.step_errors, ENGINE_SHARE) <= allowed:
        share = f"{100 * ENGINE_SHARE:g} % of the steps"
        return f"scores differ, allowed is {allowed:g} in {share}"
    n_events = found.n_equal + found.n_alone
    if found.n_alone > ENGINE_EVENT_SHARE * n_events:
        return f"{found.n_alone} events differ {_LISTED}"
    parts = (f"{found.n_moved} by a step", f"{found.n_alone} of one side alone")
    told = [part for part in parts if not part.startswith("0 ")]
    return f"{_OK}; events: {', '.join(told)}" if told else _OK
