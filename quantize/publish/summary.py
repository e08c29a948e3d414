"""What is told of new thresholds once they are chosen, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import SENSITIVITIES


def labels_on(manifest: Manifest) -> str:
    """How many labels are on at each sensitivity."""
    counts = (f"{len(manifest.events.at_sensitivity(x).thresholds)} {x}" for x in SENSITIVITIES)
    return f"labels on of {len(manifest.labels)}: {', '.join(counts)}"


def adjudication_lines(facts: dict[str, Any]) -> Iterator[str]:
    """How many starts were right though no list names the label."""
    if not facts:
        return
    yield (
        f"confirmed by mn04 and YAMNet, both at {facts['level']:g} or more (by chance "
        f"{100 * facts['by_chance']:.1f} % would be):"
    )
    for sensitivity in SENSITIVITIES:
        counts = facts[sensitivity]
        yield f"  {sensitivity}: {counts['confirmed']} of {counts['starts']} unexpected starts"
    for label, (n_starts, n_confirmed) in facts["labels"].items():
        yield f"  normal, {label}: {n_confirmed} of {n_starts}"


def clip_lines(facts: dict[str, Any]) -> Iterator[str]:
    """What single clips bring that the thresholds were not chosen on."""
    yield f"of {facts['clips']} single clips, by thresholds that others brought:"
    for sensitivity in SENSITIVITIES:
        right, wrong = (100 * facts[sensitivity][name] for name in ("right", "wrong"))
        yield f"  {sensitivity}: a right event in {right:.1f} %, a wrong one in {wrong:.1f} %"
