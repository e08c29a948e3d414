"""Strong listeners name what the demo scene plays: it is accepted by them alone."""

from __future__ import annotations

from pathlib import Path

from tests.support.paths import REPOSITORY
from tests.support.scripts import load_script

demo = load_script(REPOSITORY / "benchmarks" / "demo_events.py")
SEGMENTS = list(demo.segments())


def test_mn04_and_yamnet_both_name_each_sound(peers_dir: Path) -> None:
    """One of its labels is among the three that they give most."""
    for witness in demo.heard_too():
        for start_s, segment in SEGMENTS:
            named = demo.named_by(witness, start_s, segment)
            assert named.place <= 3, f"{segment.name}: {named}"
            assert named.score >= 0.15, f"{segment.name}: {named}"
