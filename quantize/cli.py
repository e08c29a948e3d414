"""`edge-audio quantize`. Torch and the exporters are imported only once it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the bundle, such as tiny-int8.")
@click.option(
    "--scheme",
    type=click.Choice(["dynamic", "float"]),
    default="dynamic",
    show_default=True,
    help="dynamic: int8 weights, float32 state. float: everything float32.",
)
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("edge_audio/models"),
    show_default=True,
    help="Folder that gets the bundle's folder.",
)
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where decoded clips are cached.",
)
@click.option(
    "--calibrate/--no-calibrate",
    "calibrated",
    default=True,
    show_default=True,
    help="Choose event thresholds on the clips that the recipe held out.",
)
@click.option(
    "--metrics",
    "metrics_paths",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="metrics.json of `edge-audio evaluate`, to be quoted in manifest and card; repeatable.",
)
@click.option(
    "--qat-steps",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Fine-tune that many steps with rounded weights first; needs what distill needs.",
)
def quantize(
    checkpoint: Path,
    name: str,
    scheme: Literal["dynamic", "float"],
    out_dir: Path,
    runs_dir: Path,
    calibrated: bool,
    metrics_paths: tuple[Path, ...],
    qat_steps: int,
) -> None:
    """Turn a CHECKPOINT into a bundle for LiteRT and ONNX Runtime.

    Exports the streaming step, compares both files with PyTorch over 1,500 steps, calibrates
    the event thresholds, writes manifest, golden and card, and replays the golden on every
    installed runtime. Fails, and writes nothing, if a runtime disagrees.

    \b
    Example:
      edge-audio quantize runs/tiny/checkpoint.pt --name tiny-int8
    """
    from distill.thresholds import CalibrationConfig
    from quantize.build import build_bundle
    from quantize.metrics import quote_metrics
    from quantize.qat import fine_tune

    if qat_steps:
        checkpoint = fine_tune(checkpoint, qat_steps, runs_dir, n_processes=1)
    metrics = [quote_metrics(path) for path in metrics_paths]
    config = CalibrationConfig() if calibrated else None
    bundle = build_bundle(checkpoint, name, scheme, out_dir, runs_dir, metrics, config)
    facts = bundle.manifest.provenance
    total_kb = sum(entry.n_bytes for entry in bundle.manifest.files.values()) / 1000
    click.echo(f"{bundle.path}: {total_kb:.0f} kB, largest error {facts['max_error_to_pytorch']}")
    n_on = len(bundle.manifest.events.thresholds)
    click.echo(f"{n_on} of {len(bundle.manifest.labels)} labels on by default")
