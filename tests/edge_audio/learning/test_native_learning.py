"""A few recordings become a label, which is found, and disturbs nothing that was there before."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
import soxr

from edge_audio.backends import Backend, open_backend
from edge_audio.backends.rows import RowsBackend
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle
from edge_audio.errors import BundleError, EdgeAudioError, UsageError
from edge_audio.learning.bank import BANK_FILE
from edge_audio.learning.learn import Given, Learned, learn, open_for_change, teach_into
from edge_audio.learning.network import Network
from edge_audio.learning.recordings import Recording, hear, read_recording
from edge_audio.sounds.file import read_sounds
from edge_audio.tagging.tagger import Tagger
from tests.support.taught import (
    BACKEND,
    RATE_HZ,
    beeps,
    bundle_with_negatives,
    other_sound,
    write_beeps,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_with_negatives(tmp_path_factory.mktemp("model"))


def teach(bundle: Bundle, folder: Path, name: str = "Oven", **options: object) -> Learned:
    recordings = options.pop("recordings", None) or write_beeps(folder)
    return learn(
        name,
        recordings,  # type: ignore[arg-type]
        sounds=folder / "house.sounds",
        model=bundle.path,
        backend=BACKEND,
        **options,  # type: ignore[arg-type]
    )


def starts(bundle: Bundle, path: Path, samples: np.ndarray) -> list[tuple[str, float]]:
    tagger = Tagger.open(bundle.path, BACKEND, sounds=path)
    events = tagger.push(samples) + tagger.flush()
    return [(event.label, event.time_s) for event in events if event.kind == "start"]


def test_what_was_learned_is_found_in_a_stream_and_other_sounds_are_not(
    bundle: Bundle, tmp_path: Path
) -> None:
    learned = teach(bundle, tmp_path)
    assert learned.sound.evidence.n_tried == 3
    quiet = np.zeros(RATE_HZ, np.float32)
    others = np.concatenate([np.concatenate([other_sound(100 + k), quiet]) for k in range(10)])
    stream = np.concatenate([others, beeps(9), quiet])
    found = [
        time_s
        for label, time_s in starts(bundle, tmp_path / "house.sounds", stream)
        if label == "Oven"
    ]
    onset_s = len(others) / RATE_HZ + 0.7
    assert len(found) == 1
    assert onset_s <= found[0] <= onset_s + 1.0


def test_nothing_learned_before_changes_when_a_sound_is_added(
    bundle: Bundle, tmp_path: Path
) -> None:
    before = teach(bundle, tmp_path).sounds
    low = write_beeps(tmp_path, name="low", pitch_hz=600.0)
    after = teach(bundle, tmp_path, "Fridge", recordings=low).sounds
    assert msgspec.json.encode(after.sounds[0]) == msgspec.json.encode(before.sounds[0])
    assert [sound.name for sound in after.sounds] == ["Oven", "Fridge"]
    with_rows = [bundle.with_rows(sounds.rows()) for sounds in (before, after)]
    one, both = (Tagger(opened, backend_of(opened)) for opened in with_rows)
    plain = Tagger(bundle, backend_of(bundle))
    for step, step_of_one, own in zip(
        both.steps(beeps(5)), one.steps(beeps(5)), plain.steps(beeps(5)), strict=True
    ):
        n_own = len(own.scores)
        np.testing.assert_array_equal(step.scores[: n_own + 1], step_of_one.scores)
        np.testing.assert_array_equal(step.scores[:n_own], own.scores)


def backend_of(bundle: Bundle) -> Backend:
    return open_backend(bundle, BACKEND)


def test_the_engine_and_numpy_give_the_same_scores(bundle: Bundle, tmp_path: Path) -> None:
    rows = teach(bundle, tmp_path).sounds.rows()
    taught = bundle.with_rows(rows)
    engine = Tagger(taught, backend_of(taught))
    in_numpy = Tagger(taught, RowsBackend(backend_of(bundle), rows))
    found = [engine.push(beeps(3)) + engine.flush(), in_numpy.push(beeps(3)) + in_numpy.flush()]
    for step, other in zip(engine.steps(beeps(3)), in_numpy.steps(beeps(3)), strict=True):
        np.testing.assert_allclose(step.scores, other.scores, atol=2e-3)
    assert [(x.kind, x.label, x.time_s) for x in found[0]] == [
        (x.kind, x.label, x.time_s) for x in found[1]
    ]


def test_more_takes_of_a_name_add_to_it(bundle: Bundle, tmp_path: Path) -> None:
    teach(bundle, tmp_path)
    again = teach(bundle, tmp_path, "oven", recordings=write_beeps(tmp_path, 5, "more")[3:])
    assert len(again.sounds.sounds) == 1
    assert again.sound.name == "Oven"
    assert len(again.sound.takes) == 5


def test_what_it_is_not_scores_lower_than_without_saying_so(bundle: Bundle, tmp_path: Path) -> None:
    plain = teach(bundle, tmp_path)
    near = write_beeps(tmp_path, 2, "near", pitch_hz=1_900.0)
    (tmp_path / "house.sounds").unlink()
    told = teach(bundle, tmp_path, others=near)
    assert highest(bundle, told, beeps(7, pitch_hz=1_900.0)) < highest(
        bundle, plain, beeps(7, pitch_hz=1_900.0)
    )


def test_hours_of_ones_own_tighten_the_threshold(bundle: Bundle, tmp_path: Path) -> None:
    plain = teach(bundle, tmp_path)
    noisy = tmp_path / "evening.wav"
    soundfile.write(noisy, np.concatenate([beeps(k, pitch_hz=2_200.0) for k in range(8)]), RATE_HZ)
    (tmp_path / "house.sounds").unlink()
    tightened = teach(bundle, tmp_path, negatives=[noisy])
    assert tightened.sound.evidence.negative_h > 0.0
    confused = beeps(3, pitch_hz=2_200.0)
    assert highest(bundle, tightened, confused) < highest(bundle, plain, confused)
    more = teach(bundle, tmp_path, recordings=write_beeps(tmp_path, 4, "more")[3:])
    assert more.sound.evidence.negative_h == tightened.sound.evidence.negative_h
    assert more.sound.nearest == tightened.sound.nearest
    assert highest(bundle, more, confused) == pytest.approx(
        highest(bundle, tightened, confused), abs=0.03
    )


def test_hours_that_hold_the_sound_itself_are_told(bundle: Bundle, tmp_path: Path) -> None:
    evening = tmp_path / "evening.wav"
    quiet = np.zeros(60 * RATE_HZ, np.float32)
    soundfile.write(evening, np.concatenate([quiet, *map(beeps, range(3)), quiet]), RATE_HZ)
    told = "\n".join(teach(bundle, tmp_path, negatives=[evening]).advice)
    assert "at 1:0" in told
    assert "of --negatives something is as like Oven as its takes are" in told
    assert "differ much" not in told


def highest(bundle: Bundle, learned: Learned, samples: np.ndarray) -> float:
    taught = bundle.with_rows(learned.sounds.rows())
    tagger = Tagger(taught, backend_of(taught))
    return max(float(step.scores[-1]) for step in tagger.steps(samples))


def test_advice_has_numbers(bundle: Bundle, tmp_path: Path) -> None:
    clipped = tmp_path / "loud.wav"
    soundfile.write(clipped, np.clip(9.0 * beeps(), -1, 1), RATE_HZ)
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(RATE_HZ), RATE_HZ)
    learned = teach(bundle, tmp_path, recordings=[clipped, silent])
    told = "\n".join(learned.advice)
    assert "silent.wav is silent" in told
    assert "loud.wav: " in told
    assert "% of it is at full scale" in told
    assert "1 take: from 3 on" in told
    like = teach(bundle, tmp_path, "Copy", recordings=write_beeps(tmp_path, 3, "copy"))
    assert "takes sound like Oven, learned before" in "\n".join(like.advice)


def test_a_recording_that_is_given_twice_counts_once(bundle: Bundle, tmp_path: Path) -> None:
    (path,) = write_beeps(tmp_path, 1)
    copy = tmp_path / "copy.wav"
    shutil.copyfile(path, copy)
    alone = teach(bundle, tmp_path, "Alone", recordings=str(path))
    assert len(alone.sound.takes) == 1  # and not a file for each character of its name
    first = teach(bundle, tmp_path, recordings=[path, copy])
    assert len(first.sound.takes) == 1
    assert first.sound.evidence.n_tried == 0  # it would be found by itself
    told = "\n".join(first.advice)
    assert "1 of the takes were given before and count once (copy.wav at 0.7 s)" in told
    again = teach(bundle, tmp_path, recordings=[path, *write_beeps(tmp_path, 2)])
    assert len(again.sound.takes) == 2


def test_what_of_a_long_sound_is_cut_off_is_no_background(bundle: Bundle, tmp_path: Path) -> None:
    hum = np.sin(2 * np.pi * 1_700.0 * np.arange(60 * RATE_HZ) / RATE_HZ).astype(np.float32)
    hum *= 0.3 + 0.05 * np.random.default_rng(0).standard_normal(len(hum)).astype(np.float32)
    network = Network(bundle, BACKEND)
    quiet = np.zeros(10 * RATE_HZ, np.float32)
    for samples, n_away in ((hum, 0), (np.concatenate([quiet, hum]), 125)):
        heard = hear(network, Recording("hum.wav", samples))
        assert heard.found.was_cut
        assert len(heard.background) == pytest.approx(n_away, abs=10)


def test_of_very_many_takes_the_rest_is_no_background_and_that_is_said(
    bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "many.wav"
    soundfile.write(path, beeps(n_times=42), RATE_HZ)
    learned = teach(bundle, tmp_path, recordings=[path])
    assert "many.wav: of 42 takes the first 40 were heard" in "\n".join(learned.advice)
    network = Network(bundle, BACKEND)
    many, fewer = (hear(network, Recording("x", beeps(n_times=n))) for n in (42, 40))
    assert len(many.takes) == len(fewer.takes) == 40
    assert 0 <= len(many.background) - len(fewer.background) < 15  # the gaps after two takes


def test_what_another_learned_meanwhile_stays(bundle: Bundle, tmp_path: Path) -> None:
    path, network = tmp_path / "house.sounds", Network(bundle, BACKEND)
    assert open_for_change(path, network).sounds == ()
    teach(bundle, tmp_path)  # while this one still records
    low = [read_recording(x, RATE_HZ) for x in write_beeps(tmp_path, name="low", pitch_hz=600.0)]
    learned = teach_into(path, network, Given("Fridge", low))
    assert [sound.name for sound in learned.sounds.sounds] == ["Oven", "Fridge"]
    assert read_sounds(path) == learned.sounds
    assert not list(tmp_path.glob(".*"))


def test_silence_alone_teaches_nothing_and_the_file_stays(bundle: Bundle, tmp_path: Path) -> None:
    teach(bundle, tmp_path)
    content = (tmp_path / "house.sounds").read_bytes()
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(UsageError, match=r"nothing to learn 'Gate' from: silent\.wav is silent"):
        teach(bundle, tmp_path, "Gate", recordings=[silent])
    assert (tmp_path / "house.sounds").read_bytes() == content


def test_stereo_of_48_khz_teaches_the_same_label(bundle: Bundle, tmp_path: Path) -> None:
    paths = [tmp_path / f"stereo{seed}.wav" for seed in range(3)]
    for seed, path in enumerate(paths):
        wide = soxr.resample(beeps(seed), RATE_HZ, 48_000)
        soundfile.write(path, np.column_stack([wide, 0.9 * wide]), 48_000)
    teach(bundle, tmp_path, recordings=paths)
    assert "Oven" in {label for label, _ in starts(bundle, tmp_path / "house.sounds", beeps(9))}


def test_labels_of_the_model_cannot_be_taught(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'dog' is a label of the model"):
        teach(bundle, tmp_path, "dog")
    with pytest.raises(UsageError, match="unknown label 'Dgo'"):
        teach(bundle, tmp_path, parent="Dgo")
    with pytest.raises(UsageError, match="name"):
        teach(bundle, tmp_path, "a\nb")


def test_a_write_that_breaks_off_leaves_the_old_file(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(bundle, tmp_path)
    content = (tmp_path / "house.sounds").read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    low = write_beeps(tmp_path, name="low", pitch_hz=600.0)
    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        teach(bundle, tmp_path, "Fridge", recordings=low)
    assert (tmp_path / "house.sounds").read_bytes() == content
    assert len(read_sounds(tmp_path / "house.sounds").sounds) == 1


def test_sounds_of_another_network_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    teach(bundle, tmp_path)
    other = bundle_with_negatives(tmp_path, "tiny-xlstm-int8")
    with pytest.raises(BundleError, match=r"learned with another model|are rows of"):
        Tagger.open(other.path, BACKEND, sounds=tmp_path / "house.sounds")
    with pytest.raises(EdgeAudioError, match="was learned with another model"):
        teach(other, tmp_path, "Fridge")


def test_a_bank_that_is_missing_or_of_another_network_is_told(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = bundle.contents()
    bank = files.pop(BANK_FILE)
    missing = save_bundle(tmp_path / "missing", bundle.manifest, files)
    monkeypatch.setattr("edge_audio.learning.bank.BANKS_DIR", tmp_path)
    with pytest.raises(
        BundleError, match=r"no stored negatives for the network .* distill\.negatives"
    ):
        teach(missing, tmp_path)
    foreign = load_bundle("tiny-int8")
    files = foreign.contents() | {BANK_FILE: bank}
    other = save_bundle(tmp_path / "foreign", foreign.manifest, files)
    with pytest.raises(BundleError, match="is of another network than the model beside it"):
        teach(other, tmp_path)
    half = save_bundle(
        tmp_path / "half", bundle.manifest, {**bundle.contents(), BANK_FILE: bank[:-100]}
    )
    with pytest.raises(BundleError, match="damaged"):
        teach(half, tmp_path)


def test_negatives_of_the_package_serve_all_bundles_of_a_network(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    banks = tmp_path / "banks"
    banks.mkdir()
    (banks / "micro-int8.bin").write_bytes(bundle.read(BANK_FILE))
    monkeypatch.setattr("edge_audio.learning.bank.BANKS_DIR", banks)
    learned = teach(load_bundle("micro-int8"), tmp_path)
    (tmp_path / "house.sounds").unlink()
    assert learned.sound.weight == teach(bundle, tmp_path).sound.weight


def test_a_bundle_that_moved_still_takes_its_sounds(bundle: Bundle, tmp_path: Path) -> None:
    teach(bundle, tmp_path)
    shutil.copytree(bundle.path, tmp_path / "moved")
    tagger = Tagger.open(tmp_path / "moved", BACKEND, sounds=tmp_path / "house.sounds")
    assert tagger.labels[-1] == "Oven"
