"""`edge-audio verify`: does this machine compute what the model's maker computed?"""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from edge_audio.backends import BACKEND_NAMES, installed_backends
from edge_audio.bundle import load_bundle
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.errors import BackendError
from edge_audio.verify import verify_bundle


@click.command()
@click.argument("model", metavar="MODEL", default="tiny-int8")
@click.option(
    "--backend",
    type=click.Choice(["all", *BACKEND_NAMES]),
    default="all",
    show_default=True,
    help="all: every runtime that is installed.",
)
@quiet_libraries()
def verify(model: str, backend: str) -> None:
    """Check a model's files and replay its golden recording.

    Every file must have the size and SHA-256 of the manifest; frames, scores and events must
    come out as they did where the model was made, within the manifest's tolerance. MODEL is a
    shipped name or the folder of a bundle. The exit code is 1 where anything differs.

    \b
    edge-audio verify tiny-int8
    edge-audio verify exported/ --backend onnx
    """
    names = installed_backends() if backend == "all" else [backend]
    if not names:
        raise BackendError("no inference runtime is installed: pip install 'edge-audio[tflite]'")
    bundle = load_bundle(model)
    table = Table("backend", "steps", "frames off by", "scores off by", "result", box=None)
    reports = [verify_bundle(bundle, name) for name in names]
    for report in reports:
        errors = (f"{report.frames_error:.1e}", f"{report.scores_error:.1e}")
        table.add_row(report.backend, str(report.n_steps), *errors, report.failure or "ok")
    Console(soft_wrap=True).print(table)
    if not all(report.ok for report in reports):
        raise SystemExit(1)
