"""What is wrong with a clip list is found before it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from distill.data.checks import check_audio, check_clip_list, nearest_labels, require_sound
from distill.data.clip_list import Clip, read_clip_list
from edge_audio.errors import UsageError
from tests.distill.workshop import LEAKING_GROUPS, clip_at, damage

LABELS = ("Rain", "Dog", "Sewing machine", "Thunderstorm", "Thunder")


def problems_of(folder: Path, clips: list[Clip]) -> list[tuple[str, str]]:
    for clip in clips:
        path = folder / clip.path
        if folder in path.parents and ".." not in path.parts:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return [(p.severity, p.message) for p in check_clip_list(folder, clips, LABELS)]


def test_sound_manifest_has_no_problems(tmp_path: Path) -> None:
    clips = [clip_at(f"{index}.wav", fold=1 + index % 5) for index in range(20)]
    assert problems_of(tmp_path, clips) == []
    assert require_sound(tmp_path, clips, LABELS) == []


@pytest.mark.parametrize(
    ("changes", "severity", "message"),
    [
        ({"labels": "Dogs"}, "error", "'Dogs' of 1 clips is unknown: did you mean 'Dog'?"),
        ({"labels": "Thunder storm"}, "error", "did you mean 'Thunderstorm' or 'Thunder'?"),
        ({"labels": "Washing machine"}, "warning", "'Washing machine' (1 clips)"),
        ({"path": "a.wav"}, "error", "1 paths are listed twice: a.wav"),
        ({"path": "/etc/passwd"}, "error", "1 paths lead out of the data folder: /etc/passwd"),
        ({"path": "x/../../b.wav"}, "error", "1 paths lead out of the data folder: x/../../b.wav"),
        ({"group": "a.wav", "fold": 2}, "error", "split between folds: a.wav (folds [1, 2])"),
        ({"duration_s": 0.0}, "error", "last no time (duration_s): b.wav"),
        ({"duration_s": float("nan")}, "error", "last no time (duration_s): b.wav"),
        ({"fold": 0}, "error", "1 clips are in no fold from 1: b.wav"),
        ({"group": ""}, "error", "1 clips have no group: b.wav"),
    ],
)
def test_each_flaw_of_a_row_is_found(
    tmp_path: Path, changes: dict[str, Any], severity: str, message: str
) -> None:
    clips = [clip_at("a.wav"), clip_at(**{"path": "b.wav", **changes})]
    ((found_severity, found_message),) = problems_of(tmp_path, clips)
    assert found_severity == severity
    assert message in found_message


def test_group_split_by_official_esc_folds_is_a_warning(tmp_path: Path) -> None:
    clips = [clip_at(f"esc/{fold}.wav", fold=fold, group="g") for fold in (2, 3)]
    clips.append(clip_at("other.wav", fold=5, group="g"))
    ((severity, message),) = problems_of(tmp_path, clips)
    assert severity == "warning"
    assert "g (folds [2, 3, 5])" in message


def test_missing_files_are_counted_and_the_first_few_named(tmp_path: Path) -> None:
    clips = [clip_at(f"{index}.wav") for index in range(9)]
    with pytest.raises(UsageError, match=r"9 files are missing .*: 0.wav, 1.*4.wav and 4 more"):
        require_sound(tmp_path, clips, LABELS)


def test_all_errors_of_a_manifest_are_raised_at_once(tmp_path: Path) -> None:
    clips = [clip_at("a.wav", labels="Dogs"), clip_at("a.wav", labels="Washing machine")]
    with pytest.raises(UsageError, match=r"listed twice.*missing.*Dogs") as caught:
        require_sound(tmp_path, clips, LABELS)
    assert "Washing machine" not in str(caught.value)


def test_nearest_labels_ignore_case_and_come_nearest_first() -> None:
    assert nearest_labels("THUNDERSTORMS", LABELS) == ["Thunderstorm", "Thunder"]
    assert nearest_labels("xylophone", LABELS) == []


def test_audio_check_names_every_damaged_clip(tmp_path: Path) -> None:
    bad = damage(tmp_path)
    sf.write(tmp_path / "good.wav", np.zeros(100), 16_000)
    results = list(check_audio(tmp_path, [clip_at(name) for name in ("good.wav", *bad)]))
    assert results[0] is None
    for name, problem in zip(bad, results[1:], strict=True):
        assert problem is not None
        assert name in problem.message


def test_shared_clip_list_is_sound_but_for_what_is_known_of_it(
    clip_list: Path, peers_dir: Path
) -> None:
    from distill.data.labels import LABELS_NAME, read_class_map

    labels = read_class_map(peers_dir / LABELS_NAME)
    foreign, unlabelled, leaks, forbidden = require_sound(
        clip_list.parent, read_clip_list(clip_list), labels
    )
    assert foreign.message.startswith("13 labels are none of the 527")
    assert "'Can opening' (42 clips)" in foreign.message
    assert unlabelled.message.startswith("1754 clips have no labels")
    assert all(group in leaks.message for group in LEAKING_GROUPS)
    assert forbidden.message.startswith("2 clips are of tier A or B, though their licences")
    assert forbidden.message.count("Sampling+") == 2


def test_a_licence_that_forbids_what_the_tier_allows_is_a_warning(tmp_path: Path) -> None:
    clips = [
        clip_at("a.wav", licence="CC BY-ND 4.0"),
        clip_at("b.wav", licence="CC BY-NC 3.0", tier="E"),
        clip_at("c.wav", licence="CMU ARCTIC free licence"),
    ]
    ((severity, message),) = problems_of(tmp_path, clips)
    assert severity == "warning"
    assert "1 clips are of tier A or B" in message
    assert "a.wav (CC BY-ND 4.0)" in message
