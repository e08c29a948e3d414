"""Which teachers there are, as `edge-audio teachers` and docs/teachers.md tell it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distill.teachers.published.cost import Cost, cost_of
from distill.teachers.published.registry import kinds, system_of

Row = tuple[str, ...]

COST_COLUMNS: Row = (
    "kind",
    "size",
    "parameters",
    "kHz",
    "frames/s",
    "channels",
    "GMAC/s",
    "memory",
    "x real time",
)
HOURS_COLUMN = "hours"
FILE_COLUMNS: Row = ("kind", "system", "published files", "AudioSet mAP", "weights")
DEFAULT_TFLOPS = 20.0
"""Sustained, for `x real time`."""

# Kinds that are loaded by other means than an adapter, under FILE_COLUMNS.
OTHERS: tuple[Row, ...] = (
    (
        "efficientat",
        "EfficientAT",
        "mn04_as_mAP_432.pt, mn10_as_mAP_471.pt, ...",
        "0.432 (file name)",
        "MIT",
    ),
    ("transformers", "any encoder", "a folder or hub id", "", "the model's own"),
    ("ssl", "your own", "what `edge-audio pretrain` made", "", "your own"),
    ("yamnet", "YAMNet", "yamnet.tflite", "0.306 (its page)", "Apache-2.0"),
)


def file_rows(only: Sequence[str] = ()) -> Iterator[Row]:
    """What can be loaded, under FILE_COLUMNS; of all kinds, or of those that are named."""
    if not only:
        yield from OTHERS
    for kind in only or kinds():
        card = system_of(kind).card
        files = ", ".join(card.checkpoints)
        yield kind, card.title, files, card.audioset_map, card.weights


def other_row(kind: str) -> Row | None:
    """That of a kind without an adapter, under FILE_COLUMNS."""
    return next((row for row in OTHERS if row[0] == kind), None)


def cost_rows(
    tflops: float, only: Sequence[str] = (), audio_hours: float | None = None
) -> Iterator[Row]:
    """What each published size costs, under COST_COLUMNS; with audio_hours, under HOURS_COLUMN
    how long it hears so many."""
    for kind in only or kinds():
        system = system_of(kind)
        for size, architecture in system.card.sizes.items():
            cost = cost_of(system, architecture)
            speed = tflops * 1e12 / 2 / cost.macs_per_s if cost.macs_per_s else None
            row = kind, size, *_cells(cost, speed)
            yield row if audio_hours is None else (*row, _hours(audio_hours, speed))


def _hours(audio_hours: float, speed: float | None) -> str:
    return "-" if speed is None else f"{audio_hours / speed:.3g}"


def _cells(cost: Cost, speed: float | None) -> Row:
    macs, frames = cost.macs_per_s, cost.frame_rate_hz
    return (
        f"{cost.n_parameters / 1e6:.1f} M",
        f"{cost.sample_rate_hz / 1e3:g}",
        "-" if frames is None else f"{frames:.3g}",
        "-" if cost.dim is None else str(cost.dim),
        "-" if macs is None else f"{macs / 1e9:.2f}",
        "-" if cost.peak_bytes is None else f"{cost.peak_bytes / 1e9:.1f} GB",
        "-" if speed is None else f"{speed:,.0f}",
    )


def recipe_of(kind: str) -> str:
    """What a recipe says of such a teacher."""
    checkpoint = system_of(kind).card.checkpoints[0]
    return f'[[teachers]]\nkind = "{kind}"\ncheckpoint = "{checkpoint}"'
