"""`edge-audio models` and `edge-audio inspect`: which models there are and what is in one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import click
import msgspec
from rich.table import Column, Table

from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import ModelSpec, TensorSpec, Threshold
from edge_audio.bundle.store import Bundle, load_bundle, shipped_bundles
from edge_audio.cli.console import plain_console, tell
from edge_audio.errors import BundleError
from edge_audio.support.text import json_text, printable

DTYPE_BYTES = {"float32": 4, "int16": 2, "int8": 1}


@click.command()
def models() -> None:
    """List the models that ship with the package."""
    names = shipped_bundles()
    columns = ("KB", "parameters", "MMAC/s", "latency ms", "labels on", "scheme")
    name_column = Column("name", min_width=max(map(len, names), default=0))
    table = Table(name_column, *columns, box=None, pad_edge=False)
    for name in names:
        table.add_row(*row(load_bundle(name)))
    if not table.row_count:
        raise BundleError("this installation ships no model: reinstall edge-audio")
    plain_console().print(table)


def row(bundle: Bundle) -> list[str]:
    """One line of the table; the size is that of the smallest model file."""
    manifest = bundle.manifest
    return [
        printable(manifest.name),
        f"{smallest_model_bytes(manifest) / 1e3:.0f}",
        figure(manifest, "n_parameters", "{:,}"),
        figure(manifest, "mmac_per_s", "{:.1f}"),
        f"{manifest.model.latency_ms:g}",
        f"{len(manifest.events.thresholds)} of {len(manifest.labels)}",
        printable(str(manifest.provenance.get("scheme", "-"))),
    ]


def smallest_model_bytes(manifest: Manifest) -> int:
    """Size of the smallest file that a runtime can load."""
    sizes = [e.n_bytes for name, e in manifest.files.items() if name.startswith("model.")]
    return min(sizes, default=0)


def figure(manifest: Manifest, key: str, template: str) -> str:
    """A number from the provenance, "-" where its maker gave none."""
    value = manifest.provenance.get(key)
    return template.format(value) if isinstance(value, int | float) else "-"


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--json", "as_json", is_flag=True, help="The whole manifest as JSON.")
def inspect(model: str, as_json: bool) -> None:
    """Show what is in a model: tensors, labels, thresholds, files, provenance.

    MODEL is a shipped name or the folder of a bundle.

    \b
    edge-audio inspect tiny-int8
    edge-audio inspect tiny-int8 --json | jq .events.thresholds
    """
    bundle = load_bundle(model)
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(bundle.manifest), indent=2).decode()
        click.echo(json_text(text))
        return
    for title, lines in sections(bundle):
        for line in (title, *(f"  {line}" for line in lines), ""):
            tell(line)


def sections(bundle: Bundle) -> Iterator[tuple[str, list[str]]]:
    """(title, lines) of the human form of a manifest."""
    manifest = bundle.manifest
    yield f"{manifest.name}: {manifest.description}", [str(bundle.path)]
    yield "one step", step_lines(manifest.model)
    yield "events", event_lines(manifest)
    off = [label for label in manifest.labels if label not in manifest.events.thresholds]
    yield f"labels on by default ({len(manifest.events.thresholds)})", threshold_lines(manifest)
    yield f"labels off by default, for want of evidence ({len(off)})", off
    yield "files", [f"{e.n_bytes:>9,}  {name}" for name, e in sorted(manifest.files.items())]
    yield "provenance", list(outline(manifest.provenance))


def step_lines(model: ModelSpec) -> list[str]:
    """Step length, latency and every tensor."""
    n_state_bytes = sum(math.prod(t.shape) * DTYPE_BYTES[t.dtype] for t in model.state)
    frontend = model.frontend
    return [
        f"{model.step_s * 1e3:g} ms of audio: {model.frames_per_step} frames of "
        f"{frontend.n_mels} mels from {frontend.sample_rate_hz} Hz",
        f"latency {model.latency_ms:g} ms",
        f"in     {tensor(model.frames)}",
        f"out    {tensor(model.scores)}",
        *(f"state  {tensor(t)}" for t in model.state),
        f"state in all {n_state_bytes:,} bytes",
        f"a stream begins behind {model.quiet_steps} steps of silence",
    ]


def tensor(spec: TensorSpec) -> str:
    """Name, shape and type, as `inspect` prints them."""
    return f"{spec.name} {list(spec.shape)} {spec.dtype}"


def event_lines(manifest: Manifest) -> list[str]:
    """The settings that all labels share."""
    events = manifest.events
    return [
        f"smoothing {events.smoothing_s:g} s",
        f"at least {events.min_on_s:g} s on, {events.min_off_s:g} s off",
    ]


def threshold_lines(manifest: Manifest) -> list[str]:
    """On and off scores of each label with the evidence for them."""
    return [
        f"{label}: on {t.on:.2f}, off {t.off:.2f} ({evidence(t)})"
        for label, t in manifest.events.thresholds.items()
    ]


def evidence(threshold: Threshold) -> str:
    """What the threshold was measured to bring."""
    if threshold.alarms_per_hour is None or threshold.recall is None:
        return "not measured"
    return (
        f"{threshold.alarms_per_hour:.2f} false alarms per hour in {threshold.negative_h:.0f} h, "
        f"recall {threshold.recall:.2f} on {threshold.n_positives} clips"
    )


def outline(value: object, depth: int = 0) -> Iterator[str]:
    """Nested dictionaries and lists as indented lines."""
    indent = "  " * depth
    pairs = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list):
        pairs = [("-", item) for item in value]
    for key, item in pairs:
        if isinstance(item, dict | list) and item:
            yield f"{indent}{key}"
            yield from outline(item, depth + 1)
        else:
            yield f"{indent}{key} {item}"
