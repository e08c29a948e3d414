"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import click
import msgspec

from edge_audio.backends import BACKEND_NAMES
from edge_audio.bundle.spec import SENSITIVITIES, EventSpec, Sensitivity
from edge_audio.bundle.store import DEFAULT_MODEL
from edge_audio.errors import UsageError
from edge_audio.events.policy import Related
from edge_audio.listening.events_config import EventsConfig
from edge_audio.sinks.base import TopLabels

Command = TypeVar("Command", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """Numbers within limits; "inf" and "nan" are none, whatever the limits."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number that something can have.", param, ctx)
        return number


model_option = click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME|DIR",
    help="A shipped model (see `edge-audio models`) or the folder of a bundle.",
)
sounds_option = click.option(
    "--sounds",
    metavar="FILE",
    help="Sounds that `edge-audio learn` taught, as labels beside the model's own.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice(["auto", *BACKEND_NAMES], case_sensitive=False),
    default="auto",
    show_default=True,
    help="Inference runtime; auto takes native, the C engine, where it came compiled.",
)
channel_option = click.option(
    "--channel",
    metavar="mix|loudest|left|right|N",
    help="What to hear of several channels: their mean (the default), the loudest, or one.",
)
only_option = click.option(
    "--only",
    multiple=True,
    metavar="LABEL",
    help="Report this label alone; repeat it for more (labels contain commas).",
)
exclude_option = click.option(
    "--exclude",
    multiple=True,
    metavar="LABEL",
    help="Never report this label; repeat it for more.",
)
threshold_option = click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="[LABEL=]VALUE",
    help="Score in (0, 1] at which an event starts. With a label: for that label, which also "
    "switches on one that is off by default. Without: for all labels that are on and those "
    "named by --only. Repeatable.",
)
sensitivity_option = click.option(
    "--sensitivity",
    type=click.Choice(SENSITIVITIES),
    help="How readily labels are reported, by what was measured for the model: quiet, normal (the "
    "default) or eager. A --threshold goes before it.",
)


def policy_options(command: Command) -> Command:
    """Adds --related, --cooldown, --max-duration and --gate."""
    for option in reversed(_POLICY_OPTIONS):
        command = option(command)
    return command


related_option = click.option(
    "--related",
    type=click.Choice(get_args(Related)),
    help="What is reported of labels that name one sound. most-specific (the default): Bark, "
    "and neither Dog nor Animal beside it; first: whichever of them starts first; all: all.",
)
_POLICY_OPTIONS = (
    related_option,
    click.option(
        "--cooldown",
        "cooldown_s",
        type=FiniteRange(min=0),
        metavar="S",
        help="After an event its label stays quiet for so many seconds.",
    ),
    click.option(
        "--max-duration",
        "max_s",
        type=FiniteRange(min=0),
        metavar="S",
        help="An event that lasts longer ends after so many seconds; 0, the default: no limit.",
    ),
    click.option(
        "--gate",
        "gate_dbfs",
        type=float,
        metavar="DBFS",
        help="Skip long silence below this level, such as -60, to save CPU.",
    ),
)
POLICY_NAMES = ("related", "cooldown_s", "max_s", "gate_dbfs")  # of options, and of EventsConfig


def with_policy(events: EventsConfig, values: Mapping[str, Any]) -> EventsConfig:
    """`events` with what was given (is not None) of the options of `policy_options`. Raises
    UsageError."""
    given = {name: values[name] for name in POLICY_NAMES if values.get(name) is not None}
    try:
        return msgspec.structs.replace(events, **given)
    except ValueError as error:
        raise UsageError(str(error)) from error


def label_options(command: Command) -> Command:
    """Adds --only, --exclude, --sensitivity and --threshold; the command makes them a
    `LabelChoice`."""
    return only_option(exclude_option(sensitivity_option(threshold_option(command))))


@dataclass(frozen=True)
class LabelChoice:
    """Which labels a user wants reported, and from which score on, as --only, --exclude,
    --threshold and --sensitivity say."""

    only: Sequence[str]
    exclude: Sequence[str]
    thresholds: Sequence[str]
    sensitivity: Sensitivity | None = None

    @property
    def config(self) -> EventsConfig:
        """The choice as settings. Raises UsageError for a threshold that is no number."""
        parsed = [parse_threshold(text) for text in self.thresholds]
        common = [value for label, value in parsed if label is None]
        return EventsConfig(
            only=tuple(self.only),
            exclude=tuple(self.exclude),
            sensitivity=self.sensitivity,
            threshold=common[-1] if common else None,
            thresholds={label: value for label, value in parsed if label is not None},
        )

    def events(self, spec: EventSpec, labels: Sequence[str]) -> EventSpec:
        """The model's event settings as changed by the choice. Raises UsageError."""
        return self.config.apply(spec, labels)

    def top(self, labels: Sequence[str], n_top: int) -> TopLabels:
        """Ranks the labels that the choice leaves; to be called when `events` accepted them."""
        return self.config.top(labels, n_top)


def parse_threshold(text: str) -> tuple[str | None, float]:
    """'0.4' -> (None, 0.4); 'Siren=0.4' -> ('Siren', 0.4)."""
    label, equals, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        raise UsageError(f"--threshold {text!r}: expected VALUE or LABEL=VALUE") from None
    if not 0.0 < value <= 1.0:
        raise UsageError(f"--threshold {text!r}: give a probability such as 0.5")
    return (label if equals else None), value
