"""`edge-audio teachers`, and the page made of it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from distill.cli.teachers import teachers
from distill.teachers.listing import OTHERS, cost_rows
from distill.teachers.published.cost import cost_of
from distill.teachers.published.registry import kinds, system_of
from edge_audio.errors import UsageError
from tests.support.paths import REPOSITORY
from tests.support.scripts import load_script

PAGE = (REPOSITORY / "docs" / "teachers.md").read_text(encoding="utf-8")


def output_of(*words: str) -> str:
    done = CliRunner().invoke(teachers, words, catch_exceptions=False, terminal_width=200)
    assert done.exit_code == 0
    return done.output


def test_one_kind_is_told_with_files_licences_and_what_a_recipe_says() -> None:
    told = " ".join(output_of("audiomae").split())
    for part in ("finetuned.pth", "CC BY-NC 4.0, NON-COMMERCIAL", "0.473", "target_length = 1024"):
        assert part in told
    assert '[[teachers]] kind = "audiomae" checkpoint = "pretrained.pth"' in told


@pytest.mark.parametrize("kind", [row[0] for row in OTHERS])
def test_kinds_without_published_sizes_are_told_too(kind: str) -> None:
    told = output_of(kind)
    assert kind in told
    assert "docs/training.md" in told


def test_a_faster_accelerator_hears_more() -> None:
    (slow,), (fast,) = (list(cost_rows(tflops, ["passt"]))[:1] for tflops in (10.0, 20.0))
    assert float(fast[-1].replace(",", "")) == pytest.approx(
        2 * float(slow[-1].replace(",", "")), rel=0.01
    )


def test_hours_of_audio_are_hours_of_a_teacher() -> None:
    base, _ = cost_rows(20.0, ["beats"], audio_hours=20_270)
    assert base[-2:] == ("2,027", "10")
    assert "hours" in output_of("leaf", "--hours", "1")


def test_a_kind_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"no teacher is called 'beat': there are .*beats"):
        CliRunner().invoke(teachers, ["beat"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("kind", "size", "n_million", "gmac_per_s"),
    [("beats", "Base", 90.3, 4.93), ("dasheng", "1.2B", 1134.0, 29.1), ("eat", "base", 90.4, 4.86)],
)
def test_published_sizes_cost_what_they_are_known_to(
    kind: str, size: str, n_million: float, gmac_per_s: float
) -> None:
    """Twelve layers of 768 channels on 504 tokens in 10 s: 85 M weights, 4.3 GMAC and attention's
    0.5, in a second; Dasheng's 40 of 1536 on 250."""
    system = system_of(kind)
    cost = cost_of(system, system.card.sizes[size])
    assert cost.n_parameters / 1e6 == pytest.approx(n_million, rel=0.01)
    assert cost.macs_per_s is not None
    assert cost.macs_per_s / 1e9 == pytest.approx(gmac_per_s, rel=0.01)
    assert cost.peak_bytes is not None
    assert 1.2 < cost.peak_bytes / (4 * cost.n_parameters) < 4


def test_the_page_has_every_kind_and_size_as_they_are_listed() -> None:
    script = load_script(REPOSITORY / "docs" / "teachers.py")
    assert script.files() in PAGE
    for kind in ("beats", "passt"):
        for row in cost_rows(20.0, [kind]):
            assert " | ".join(row) in PAGE
    for kind in kinds():
        for size in system_of(kind).card.sizes:
            assert f"| {kind} | {size} | " in PAGE, "run python docs/teachers.py"


def test_filters_that_go_by_way_of_the_spectrum_cost_their_transforms() -> None:
    """LEAF: 40 complex filters, 2^18 points back for 10 s, 2.5 n log2 n each, half of it MAC."""
    macs = cost_of(system_of("leaf"), {}).macs_per_s
    assert macs is not None
    assert macs > 80 * 2.5 * 18 * (1 << 18) / 2 / 10
