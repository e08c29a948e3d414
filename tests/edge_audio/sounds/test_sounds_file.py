"""A file of sounds is whole, of this version and unaltered, or refused in clear words."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_audio.bundle.spec import SENSITIVITIES, Threshold
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.sounds.embeddings import from_bytes, to_bytes
from edge_audio.sounds.file import (
    MAX_SOUNDS,
    Sound,
    Sounds,
    Take,
    changing,
    decode,
    empty,
    encode,
    read_sounds,
    write_sounds,
)

DIM = 6


def sound(name: str = "Bella", seed: int = 0) -> Sound:
    rng = np.random.default_rng(seed)
    steps = to_bytes(rng.uniform(0, 3, (4, DIM)).astype(np.float32))
    return Sound(
        name=name,
        parent="Dog",
        weight=rng.integers(-127, 127, DIM).astype(np.int8).tobytes(),
        scale=0.01,
        bias=-1.0,
        thresholds={x: Threshold(on=0.5, off=0.35) for x in SENSITIVITIES},
        takes=(Take(source="a.wav", start_s=0.5, end_s=1.0, steps=steps),),
    )


def house(*names: str) -> Sounds:
    found = empty(np.linspace(0, 1, DIM, dtype=np.float32))
    for seed, name in enumerate(names):
        found = found.with_sound(sound(name, seed))
    return found


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    sounds = house("Bella", "Washing machine")
    write_sounds(tmp_path / "house.sounds", sounds)
    assert read_sounds(tmp_path / "house.sounds") == sounds
    rows = sounds.rows()
    assert rows.labels == ("Bella", "Washing machine")
    assert rows.parents == {"Bella": "Dog", "Washing machine": "Dog"}


def test_embeddings_come_back_within_half_a_unit() -> None:
    rows = np.random.default_rng(0).uniform(-0.375, 6.0, (50, DIM)).astype(np.float32)
    assert np.abs(from_bytes(to_bytes(rows), DIM) - rows).max() <= 0.0126


@given(st.integers(0, 2_000))
def test_a_file_that_was_cut_is_refused(n_bytes: int) -> None:
    content = encode(house("Bella"))
    with pytest.raises(EdgeAudioError, match=r"^h\.sounds is "):
        decode(content[: min(n_bytes, len(content) - 3)], "h.sounds")


def test_a_file_that_was_altered_is_refused() -> None:
    file = json.loads(encode(house("Bella")))
    file["sounds"]["sounds"][0]["bias"] = 3.0
    with pytest.raises(EdgeAudioError, match="was altered: its hash is another"):
        decode(json.dumps(file).encode(), "h.sounds")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"edge_audio_sounds": 2}, "is of version 2"),
        ({"edge_audio_sounds": "x"}, "is no sounds file"),
        ({"more": 1}, "damaged"),
        ({"sounds": []}, "damaged"),
    ],
)
def test_other_files_are_refused(change: dict[str, object], reason: str) -> None:
    file = {**json.loads(encode(house("Bella"))), **change}
    with pytest.raises(EdgeAudioError, match=reason):
        decode(json.dumps(file).encode(), "h.sounds")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a\x1b[31m"},
        {"weight": b"123"},
        {"scale": float("inf")},
        {"scale": -1.0},
        {"scale": 1e300},
        {"bias": 1e300},
        {"bias": float("nan")},
        {"parent": "\x1b[31mDog"},
        {"nearest": b"1" * DIM},
        {"thresholds": {}},
    ],
)
def test_hostile_values_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        house().with_sound(msgspec.structs.replace(sound(), **changes))


def test_nesting_and_size_are_limited(tmp_path: Path) -> None:
    with pytest.raises(EdgeAudioError, match="no sounds file"):
        decode(b'{"edge_audio_sounds": ' + b"[" * 100_000, "h.sounds")
    with pytest.raises(UsageError, match="no such file"):
        read_sounds(tmp_path / "none.sounds")
    with pytest.raises(UsageError, match="cannot read"):
        read_sounds(tmp_path)


def test_who_changes_a_file_waits_for_another_who_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "house.sounds"
    monkeypatch.setattr("edge_audio.sounds.file._WAIT_S", 0.1)
    with changing(path), pytest.raises(EdgeAudioError, match="another edge-audio has been"):
        changing(path).__enter__()
    with changing(path):
        write_sounds(path, house("Bella"))
    assert [one.name for one in tmp_path.iterdir()] == ["house.sounds"]
    nowhere = tmp_path / "none" / "house.sounds"
    with pytest.raises(EdgeAudioError, match=r"cannot write .*; name a place"):
        changing(nowhere).__enter__()


def test_more_sounds_than_a_file_may_have_are_refused() -> None:
    full = house()
    full = msgspec.structs.replace(full, sounds=tuple(sound(f"n{k}") for k in range(MAX_SOUNDS)))
    assert len(full.with_sound(sound("N7")).sounds) == MAX_SOUNDS
    with pytest.raises(UsageError, match="there are 256 sounds already"):
        full.with_sound(sound("one more"))


def test_sounds_are_renamed_and_removed_and_others_stay() -> None:
    sounds = house("Bella", "Bell")
    renamed = sounds.renamed("bella", "Luna")
    assert [one.name for one in renamed.sounds] == ["Luna", "Bell"]
    assert renamed.sounds[1] is sounds.sounds[1]
    with pytest.raises(UsageError, match="there is a sound 'Bell' already"):
        sounds.renamed("Bella", "Bell")
    assert [one.name for one in sounds.without("bell").sounds] == ["Bella"]
    with pytest.raises(UsageError, match="there are Bella, Bell"):
        sounds.without("Dog")
