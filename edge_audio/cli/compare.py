"""`edge-audio compare`: two models or runtimes on one recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edge_audio.backends import BACKEND_NAMES, open_backend
from edge_audio.bundle.spec import Sensitivity
from edge_audio.bundle.store import load_bundle
from edge_audio.cli.console import tell
from edge_audio.cli.options import FiniteRange, related_option, sensitivity_option
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.errors import UsageError
from edge_audio.events.policy import ONE_SOUND, PolicySpec, Related
from edge_audio.labels.find import find_label
from edge_audio.sources.audio_file import AudioFile
from edge_audio.support.pictures import require_picture, write_picture
from edge_audio.support.text import clock
from edge_audio.tagging.compare import Difference, ScoreTrace, columns, difference, trace

N_PLOTTED = 6
MAX_LISTED = 40


@click.command()
@click.argument("model_a", metavar="MODEL_A")
@click.argument("model_b", metavar="MODEL_B")
@click.argument("audio", type=click.Path(path_type=Path))
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="LABEL",
    help=f"Plot this label; repeatable. Default: the {N_PLOTTED} that differ or sound most.",
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the score traces into this file (.png or .svg); needs the plot extra.",
)
@click.option(
    "--tolerance-ms",
    type=FiniteRange(min=0),
    default=300.0,
    show_default=True,
    metavar="MS",
    help="Events of a label that are no further apart are the same.",
)
@sensitivity_option
@related_option
@quiet_libraries()
def compare(
    model_a: str,
    model_b: str,
    audio: Path,
    labels: tuple[str, ...],
    plot_path: Path | None,
    tolerance_ms: float,
    sensitivity: Sensitivity | None,
    related: Related | None,
) -> None:
    """Compare two models, or one on two runtimes, on a recording.

    A model is a shipped name or a bundle's folder, with :BACKEND behind it for a certain runtime.
    Prints how far the scores are apart, over the labels that both have, and every event that only
    one of them reports, by label and time. Events are those that `edge-audio tag` reports, one for
    one sound; with --related all, every one that is detected. The plot shows scores, thresholds
    (dotted) and events (bars below). The exit code is 1 where events differ.

    \b
    edge-audio compare tiny-int8:litert tiny-int8:onnx street.wav
    edge-audio compare tiny-int8 micro-int8 street.wav --plot scores.png
    """
    if plot_path is not None:
        require_picture(plot_path)
    elif labels:
        raise UsageError("--label says what --plot draws: give a file to draw into")
    policy = reported(related)
    first, second = (open_trace(name, audio, sensitivity, policy) for name in (model_a, model_b))
    plotted = [_common_label(name, first, second) for name in labels]
    found = difference(first, second, tolerance_ms / 1e3)
    for line in lines(first, second, found):
        tell(line)
    if plot_path is not None:
        plot(first, second, plotted or telling_labels(first, second, found), plot_path)
        tell(f"drawn: {plot_path}")
    if not found.same_events:
        raise SystemExit(1)


def _common_label(name: str, *sides: ScoreTrace) -> str:
    """As the models write it. Raises UsageError for a label that not both know."""
    for side in sides:
        try:
            label = find_label(name, side.labels)
        except UsageError as error:
            raise UsageError(f"{side.name}: {error}") from error
    return label


def reported(related: Related | None) -> PolicySpec:
    """Which events a user is told of, as --related says."""
    return ONE_SOUND if related is None else PolicySpec(related=related)


def open_trace(
    name: str,
    audio: Path,
    sensitivity: Sensitivity | None = None,
    policy: PolicySpec = ONE_SOUND,
) -> ScoreTrace:
    """MODEL or MODEL:BACKEND on a recording, by the thresholds of a sensitivity."""
    model, colon, backend = name.rpartition(":")
    if not colon or backend not in BACKEND_NAMES:
        model, backend = name, "auto"
    bundle = load_bundle(model).at_sensitivity(sensitivity)
    rate_hz = bundle.manifest.model.frontend.sample_rate_hz
    return trace(bundle, open_backend(bundle, backend), recording(audio, rate_hz), policy)


def recording(path: Path, sample_rate_hz: int) -> Iterator[NDArray[np.float32]]:
    """Its samples, block by block."""
    with AudioFile(path, sample_rate_hz) as source:
        for block in source.blocks():
            yield block.samples


def lines(first: ScoreTrace, second: ScoreTrace, found: Difference) -> Iterator[str]:
    """What a person wants to know, most important first."""
    yield f"{len(first.times_s)} steps; {first.name} against {second.name}"
    yield f"scores: largest difference {found.max_error:.2g}, mean {found.mean_error:.2g}"
    moved = f", moved by up to {found.max_moved_s * 1e3:.0f} ms" if found.max_moved_s else ""
    yield f"events: {found.n_equal} equal{moved}, {found.n_alone} of one side alone"
    sides = [(first, event) for event in found.only_first]
    sides += [(second, event) for event in found.only_second]
    for side, event in sorted(sides, key=lambda pair: pair[1].time_s)[:MAX_LISTED]:
        yield f"  {clock(event.time_s)}  {event.kind:5}  {event.label}  only {side.name}"
    if found.n_alone > MAX_LISTED:
        yield f"  ... and {found.n_alone - MAX_LISTED} more"


def telling_labels(first: ScoreTrace, second: ScoreTrace, found: Difference) -> list[str]:
    """Labels of differing events, of all events, then those that sound most."""
    differing = [event.label for event in (*found.only_first, *found.only_second)]
    common = [label for label in first.labels if label in set(second.labels)]
    heard = {event.label for event in (*first.events, *second.events)}
    peaks = np.maximum(columns(first, common).max(0), columns(second, common).max(0))
    loudest = [common[index] for index in np.argsort(-peaks)]
    loudest.sort(key=lambda label: label not in heard)
    return list(dict.fromkeys([*differing, *loudest]))[:N_PLOTTED]


def plot(first: ScoreTrace, second: ScoreTrace, labels: list[str], path: Path) -> None:
    """One panel a label: both scores over time, and below it where they are apart."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        len(labels), 1, sharex=True, squeeze=False, figsize=(10, 1 + 1.4 * len(labels))
    )
    for axes, label in zip(panels[:, 0], labels, strict=True):
        _draw(axes, first, second, label)
    panels[-1, 0].set_xlabel("seconds")
    handles, names = panels[0, 0].get_legend_handles_labels()
    title = "dotted: the score at which an event starts; bars: events"
    figure.legend(handles, names, loc="upper center", ncols=2, fontsize="small", title=title)
    top_inches = 0.65  # of the legend
    figure.tight_layout(rect=(0, 0, 1, 1 - top_inches / figure.get_figheight()))
    write_picture(figure, path, dpi=120)
    pyplot.close(figure)


def _draw(axes: Any, first: ScoreTrace, second: ScoreTrace, label: str) -> None:
    a, b = (columns(side, [label])[:, 0] for side in (first, second))
    axes.plot(first.times_s, a, label=first.name, color="tab:blue", linewidth=1.6)
    axes.plot(second.times_s, b, label=second.name, color="tab:orange", linewidth=1, dashes=(4, 2))
    axes.fill_between(first.times_s, a, b, color="tab:red", alpha=0.3, linewidth=0)
    for i, (side, color) in enumerate(((first, "tab:blue"), (second, "tab:orange"))):
        if label in side.thresholds:
            axes.axhline(side.thresholds[label].on, color=color, linestyle=":", linewidth=1)
        _draw_events(axes, side, label, -0.06 - 0.1 * i, color)
    axes.set_ylim(-0.22, 1)
    axes.set_title(f"{label}: apart by {np.abs(a - b).max():.2g} at most", fontsize="small")


def _draw_events(axes: Any, side: ScoreTrace, label: str, y: float, color: str) -> None:
    """A bar at height y from each start to its end."""
    times_s = {
        kind: [e.time_s for e in side.events if e.label == label and e.kind == kind]
        for kind in ("start", "end")
    }
    if times_s["start"]:
        axes.hlines(
            [y] * len(times_s["start"]), times_s["start"], times_s["end"], color=color, linewidth=4
        )
