"""`edge-audio models` and `edge-audio inspect`: which models there are and what is in one."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

import click
import msgspec
from rich.table import Column, Table

from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import SENSITIVITIES, EventSpec, ModelSpec, TensorSpec, Threshold
from edge_audio.bundle.store import Bundle, load_bundle, shipped_bundles
from edge_audio.cli.console import plain_console, tell
from edge_audio.errors import BundleError, UsageError
from edge_audio.events.suggestion import on_at, short_why_off, suggested_threshold, why_off
from edge_audio.events.unwatched import switch_on
from edge_audio.labels.find import find_label
from edge_audio.labels.ontology import related_labels
from edge_audio.support.text import json_text, one_line, printable

PAGE_WIDTH = 100
MAX_SHOWN = 8  # labels on the page, which has at most 24 lines
DTYPE_BYTES = {"float32": 4, "int16": 2, "int8": 1}


@click.command()
def models() -> None:
    """List the models that ship with the package.

    What they cost, how many labels they report at each sensitivity, and why others are off at
    normal: edge-audio inspect MODEL --labels has these by name.
    """
    bundles = [load_bundle(name) for name in shipped_bundles()]
    if not bundles:
        raise BundleError("this installation ships no model: reinstall edge-audio")
    width = max(len(printable(bundle.manifest.name)) for bundle in bundles)
    plain_console().print(cost_table(bundles, width), "", labels_table(bundles, width), sep="\n")


def cost_table(bundles: Sequence[Bundle], width: int) -> Table:
    """width: of the names."""
    columns = ("KB", "parameters", "MMAC/s", "latency ms", "labels", "scheme")
    table = Table(Column("name", min_width=width), *columns, box=None, pad_edge=False)
    for bundle in bundles:
        table.add_row(*cost_row(bundle))
    return table


def labels_table(bundles: Sequence[Bundle], width: int) -> Table:
    """How many labels are on at each sensitivity, and why the others are off at normal."""
    off = [Counter(reasons_off_short(bundle.manifest)) for bundle in bundles]
    reasons = [reason for reason, _ in sum(off, Counter[str]()).most_common()]
    titles = ["\n".join(reason.rsplit(" ", 1)) for reason in reasons]
    titles[:1] = [f"off: {title}" for title in titles[:1]]
    table = Table(
        Column("labels on", min_width=width),
        *(Column(title, no_wrap=True) for title in (*SENSITIVITIES, *titles)),
        box=None,
        pad_edge=False,
        collapse_padding=True,
    )
    for bundle, counts in zip(bundles, off, strict=True):
        n_on_there = n_on(bundle.manifest.events).values()
        figures = map(str, (*n_on_there, *(counts[reason] for reason in reasons)))
        table.add_row(printable(bundle.manifest.name), *figures)
    return table


def cost_row(bundle: Bundle) -> list[str]:
    """The size is that of the smallest model file."""
    manifest = bundle.manifest
    return [
        printable(manifest.name),
        f"{smallest_model_bytes(manifest) / 1e3:.0f}",
        figure(manifest, "n_parameters", "{:,}"),
        figure(manifest, "mmac_per_s", "{:.1f}"),
        f"{manifest.model.latency_ms:g}",
        str(len(manifest.labels)),
        printable(str(manifest.provenance.get("scheme", "-"))),
    ]


def reasons_off_short(manifest: Manifest) -> Iterator[str]:
    """Why each of the labels is off that are, in a few words."""
    for label in manifest.labels:
        if label not in manifest.events.thresholds:
            yield short_why_off(manifest.events, label)


def n_on(events: EventSpec) -> dict[str, int]:
    """Sensitivity -> how many labels are on there."""
    return {x: len(events.at_sensitivity(x).thresholds) for x in SENSITIVITIES}


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
@click.argument("label", metavar="[LABEL]", required=False)
@click.option("--labels", "all_labels", is_flag=True, help="All labels, those that are off too.")
@click.option("--tensors", is_flag=True, help="Every tensor and file.")
@click.option("--provenance", is_flag=True, help="What the model was made of.")
@click.option("--json", "as_json", is_flag=True, help="The whole manifest as JSON.")
def inspect(
    model: str,
    label: str | None,
    all_labels: bool,
    tensors: bool,
    provenance: bool,
    as_json: bool,
) -> None:
    """Show what is in a model, or what it knows of a label.

    MODEL is a shipped name or the folder of a bundle. Without options: a page. With a LABEL: its
    threshold, the evidence for it or why it is off, and related labels.

    \b
    edge-audio inspect tiny-int8
    edge-audio inspect tiny-int8 Doorbell
    edge-audio inspect tiny-int8 --labels
    edge-audio inspect tiny-int8 --json | jq .events.thresholds
    """
    if (label is not None) + as_json + (all_labels or tensors or provenance) > 1:
        raise UsageError("a LABEL, --json, and --labels, --tensors and --provenance: one of them")
    bundle = load_bundle(model)
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(bundle.manifest), indent=2).decode()
        click.echo(json_text(text))
        return
    if label is not None:
        for line in label_lines(bundle.manifest, find_label(label, bundle.manifest.labels)):
            tell(line)
        return
    wanted = {"labels": all_labels, "tensors": tensors, "provenance": provenance}
    shown = dict(sections(bundle) if any(wanted.values()) else ())
    for line in page_lines(bundle) if not shown else ():
        tell(line)
    for title, (kind, lines) in shown.items():
        for line in (title, *(f"  {line}" for line in lines), "") if wanted[kind] else ():
            tell(line)


def page_lines(bundle: Bundle) -> Iterator[str]:
    """A page: what a user asks first, and what shows the rest."""
    manifest, model = bundle.manifest, bundle.manifest.model
    thresholds, frontend = manifest.events.thresholds, model.frontend
    n_off = len(manifest.labels) - len(thresholds)
    yield one_line(f"{manifest.name}: {manifest.description}", PAGE_WIDTH)
    yield f"  in      {bundle.path}"
    yield f"  hears   {frontend.sample_rate_hz} Hz, in steps of {model.step_s * 1e3:g} ms"
    yield f"  latency {model.latency_ms:g} ms"
    yield f"  size    {smallest_model_bytes(manifest) / 1e3:.0f} KB, {figures(manifest)}"
    yield f"  state   {n_state_bytes(model):,} bytes a stream"
    yield f"  events  {'; '.join(event_lines(manifest))}"
    yield ""
    others = ", ".join(f"{x} {n}" for x, n in n_on(manifest.events).items() if x != "normal")
    n_labels = len(manifest.labels)
    yield f"{len(thresholds)} of {n_labels} labels are on ({others}), of which best found:"
    yield from (f"  {line}" for line in threshold_lines(manifest)[:MAX_SHOWN])
    yield ""
    off = f"{n_off} labels are off: {reasons_off(manifest)}."
    yield from textwrap.wrap(off, PAGE_WIDTH, subsequent_indent="  ")
    yield ""
    yield "More: a LABEL, --labels, --tensors, --provenance, --json"


def sections(bundle: Bundle) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """(title, (kind, lines)) of all that is known."""
    manifest = bundle.manifest
    on = manifest.events.thresholds
    yield f"labels on by default ({len(on)})", ("labels", threshold_lines(manifest))
    for reason, off in labels_off(manifest).items():
        yield f"labels off by default: {reason} ({len(off)})", ("labels", off)
    yield "one step", ("tensors", step_lines(manifest.model))
    files = [f"{e.n_bytes:>9,}  {name}" for name, e in sorted(manifest.files.items())]
    yield "files", ("tensors", files)
    yield "provenance", ("provenance", list(outline(manifest.provenance)))


def label_lines(manifest: Manifest, label: str) -> Iterator[str]:
    """What the model knows of one label."""
    thresholds = manifest.events.thresholds
    threshold = thresholds.get(label)
    if threshold is None:
        yield f"{label}: off in {manifest.name}"
        yield f"  why      {reason_off(manifest, label)}"
        where = on_at(manifest.events, label)
        measured = f"as at {where}" if where else "which nobody has measured"
        suggested = suggested_threshold(manifest.events, label)
        yield f"  to use   {switch_on(label, suggested.on)}, {measured}"
    else:
        yield f"{label}: on in {manifest.name}"
        yield f"  starts   at a smoothed score of {threshold.on:.2f}"
        yield f"  ends     below {threshold.off:.2f}"
        yield f"  evidence {evidence(threshold)}"
    for sensitivity, thresholds_there in manifest.events.sensitivities.items():
        if label in thresholds_there and sensitivity != "normal":
            other = thresholds_there[label]
            yield f"  {sensitivity:8} {other.on:.2f} ({evidence(other)})"
    related = sorted(related_labels(label) & set(manifest.labels))
    for name, is_on in (("on", True), ("off", False)):
        found = [other for other in related if (other in thresholds) == is_on]
        if found:
            yield "  " + one_line(f"related {name}: {', '.join(found)}", 2 * PAGE_WIDTH)


def reason_off(manifest: Manifest, label: str) -> str:
    """Why a label is off; where the manifest does not tell, the rules that its thresholds were
    chosen by."""
    rules = manifest.provenance.get("calibration")
    if manifest.events.sensitivities or not isinstance(rules, dict):
        return why_off(manifest.events, label)
    if not {"min_positives", "min_recall"} <= rules.keys():
        return why_off(manifest.events, label)
    return (
        f"fewer than {rules['min_positives']} held-out recordings, or less than "
        f"{100 * rules['min_recall']:.0f} % of its events found"
    )


def labels_off(manifest: Manifest) -> dict[str, list[str]]:
    """Why labels are off -> those that are, the commonest reason first."""
    found: dict[str, list[str]] = {}
    for label in manifest.labels:
        if label not in manifest.events.thresholds:
            found.setdefault(reason_off(manifest, label), []).append(label)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))


def reasons_off(manifest: Manifest) -> str:
    """Why labels are off, with how many where there are several reasons."""
    found = labels_off(manifest)
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{reason} ({len(labels)})" for reason, labels in found.items())


def figures(manifest: Manifest) -> str:
    """Size and cost of the network, as far as they are known."""
    parameters = figure(manifest, "n_parameters", "{:,}")
    return f"{parameters} parameters, {figure(manifest, 'mmac_per_s', '{:.1f}')} MMAC/s"


def n_state_bytes(model: ModelSpec) -> int:
    """Of all tensors that a stream carries from step to step."""
    return sum(math.prod(t.shape) * DTYPE_BYTES[t.dtype] for t in model.state)


def step_lines(model: ModelSpec) -> list[str]:
    """Step length, latency and every tensor."""
    frontend = model.frontend
    return [
        f"{model.step_s * 1e3:g} ms of audio: {model.frames_per_step} frames of "
        f"{frontend.n_mels} mels from {frontend.sample_rate_hz} Hz",
        f"latency {model.latency_ms:g} ms",
        f"in     {tensor(model.frames)}",
        *(f"out    {tensor(t)}" for t in (model.scores, *model.embeddings)),
        *(f"state  {tensor(t)}" for t in model.state),
        f"state in all {n_state_bytes(model):,} bytes",
        f"a stream begins behind {model.quiet_steps} steps of silence",
    ]


def tensor(spec: TensorSpec) -> str:
    """Name, shape and type, as `inspect` prints them."""
    return f"{spec.name} {list(spec.shape)} {spec.dtype}"


def event_lines(manifest: Manifest) -> list[str]:
    """The settings that all labels share."""
    events = manifest.events
    return [
        f"smoothing {events.smoothing_s:g} s, {events.rising_s:g} s where scores rise",
        f"at least {events.min_on_s:g} s on, {events.min_off_s:g} s off",
    ]


def threshold_lines(manifest: Manifest) -> list[str]:
    """On and off scores of each label with the evidence for them, best found first."""
    ranked = sorted(manifest.events.thresholds.items(), key=lambda pair: -(pair[1].recall or 0.0))
    return [f"{label}: on {t.on:.2f}, off {t.off:.2f} ({evidence(t)})" for label, t in ranked]


def evidence(threshold: Threshold) -> str:
    """What the threshold was measured to bring."""
    if threshold.alarms_per_hour is None or threshold.recall is None:
        return "not measured"
    return (
        f"{threshold.alarms_per_hour:.2f} false alarms per hour in {threshold.negative_h:.0f} h, "
        f"recall {threshold.recall:.2f} on {threshold.n_positives} recordings"
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
