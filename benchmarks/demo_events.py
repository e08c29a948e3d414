"""What becomes of the demo scene: for each of its sounds, the events of its labels or their kinds
that a model reports while it sounds, and when the first right event of all is reported.

    python benchmarks/demo_events.py [--model tiny-int8] [--sensitivity normal] [--witnesses]

--witnesses: also what mn04 and YAMNet of $EDGE_AUDIO_PEERS hear in each sound: the highest score of
its labels, and the place that it has among all labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from edge_audio.bundle.spec import SENSITIVITIES, Sensitivity
from edge_audio.events.detector import Event
from edge_audio.events.policy import PolicySpec
from edge_audio.labels.ontology import descendant_labels
from edge_audio.sources.demo import SCENE, DemoScene, Segment
from edge_audio.tagging.tagger import Tagger

if TYPE_CHECKING:
    from distill.calibration.adjudication import Witness

RATE_HZ = 16_000
LATE_S = 1.0


class Reported(NamedTuple):
    """A start, and how much of the scene had been heard when it was reported."""

    label: str
    score: float
    seen_s: float


def names_of(segment: Segment) -> set[str]:
    """Labels that name a sound rightly: its own, and kinds of them."""
    return {*segment.labels, *(kind for x in segment.labels for kind in descendant_labels(x))}


def reported(model: str, sensitivity: Sensitivity) -> list[Reported]:
    """What a listener is told of one round of the scene."""
    tagger = Tagger.open(model, sensitivity=sensitivity, policy=PolicySpec())
    scene = DemoScene(RATE_HZ)
    starts: list[Reported] = []
    for step in tagger.steps(scene.first(scene.round_s)):
        starts += (_reported(event, step.time_s) for event in step.events if event.kind == "start")
    return starts


def _reported(event: Event, time_s: float) -> Reported:
    return Reported(event.label, event.score, time_s)


def segments() -> Iterator[tuple[float, Segment]]:
    """When each sound begins; silence is none."""
    start_s = 0.0
    for segment in SCENE:
        if segment.labels != ("Silence",):
            yield start_s, segment
        start_s += segment.duration_s


def right(starts: Sequence[Reported], start_s: float, segment: Segment) -> list[Reported]:
    """Those that name a sound while it sounds, or up to LATE_S later."""
    end_s, names = start_s + segment.duration_s + LATE_S, names_of(segment)
    return [one for one in starts if one.label in names and start_s <= one.seen_s <= end_s]


def heard_too() -> list[Witness]:
    """mn04 and YAMNet."""
    from distill.calibration.witnesses import open_witnesses

    return open_witnesses()


class Named(NamedTuple):
    """What a witness makes of a sound: the label that it gives most of the sound's own, and the
    place of that among all labels, from 1."""

    label: str
    score: float
    place: int

    def __str__(self) -> str:
        return f"{self.label} {self.score:.2f}, {self.place}."


def named_by(witness: Witness, start_s: float, segment: Segment) -> Named:
    """By the whole of the sound."""
    samples = DemoScene(RATE_HZ).first(start_s + segment.duration_s)[round(start_s * RATE_HZ) :]
    scores = witness.probabilities(samples)
    best = max((witness.labels.index(label) for label in segment.labels), key=scores.__getitem__)
    place = 1 + int(np.sum(scores > scores[best]))
    return Named(witness.labels[best], float(scores[best]), place)


@click.command()
@click.option("--model", default="tiny-int8", show_default=True)
@click.option("--sensitivity", type=click.Choice(SENSITIVITIES), default="normal")
@click.option("--witnesses", "with_witnesses", is_flag=True)
def main(model: str, sensitivity: Sensitivity, with_witnesses: bool) -> None:
    """Prints one row for each sound."""
    starts, witnesses = reported(model, sensitivity), heard_too() if with_witnesses else []
    columns = ("sound", "from", f"events of {model}", *(("mn04", "YAMNet") * with_witnesses))
    table, n_found, first_s = Table(*columns, box=None), 0, np.inf
    for start_s, segment in segments():
        found = right(starts, start_s, segment)
        n_found += bool(found)
        first_s = min([first_s, *(one.seen_s for one in found)])
        told = ", ".join(f"{x.label} {x.score:.2f} at {x.seen_s:.2f} s" for x in found)
        others = [str(named_by(witness, start_s, segment)) for witness in witnesses]
        table.add_row(segment.name, f"{start_s:.0f} s", told or "none", *others)
    console = Console(width=160)
    console.print(table)
    console.print(f"{n_found} of {len(list(segments()))} sounds, the first at {first_s:.2f} s")


if __name__ == "__main__":
    main()
