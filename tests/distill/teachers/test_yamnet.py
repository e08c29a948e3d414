"""YAMNet labels windows that are where it says they are, and hears no padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.data.labels import LABELS_NAME, label_columns, read_class_map
from distill.scoring.clips import YamnetScorer
from distill.teachers.config import YamnetConfig
from distill.teachers.opening import open_teacher
from distill.teachers.yamnet import (
    EMBEDDING_DIM,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    YamnetTeacher,
    count_windows,
)
from edge_audio.errors import UsageError
from tests.distill.workshop import sound


@pytest.fixture(scope="module")
def yamnet(peers_dir: Path) -> YamnetTeacher:
    pytest.importorskip("ai_edge_litert", reason="needs the tflite extra")
    teacher = open_teacher(YamnetConfig(), peers_dir)
    assert isinstance(teacher, YamnetTeacher)
    return teacher


def siren(n_samples: int) -> np.ndarray:
    return sound("siren", n_samples, np.random.default_rng(0))


def test_it_knows_521_audioset_labels_and_no_layers(yamnet: YamnetTeacher, peers_dir: Path) -> None:
    theirs, ours = label_columns(yamnet.labels, read_class_map(peers_dir / LABELS_NAME))
    assert len(theirs) == len(ours) == len(yamnet.labels) == 521
    assert yamnet.layers == ()
    assert (yamnet.label_frames.hop_s, yamnet.label_frames.offset_s) == (0.4875, 0.4875)


def test_logits_are_the_log_odds_of_the_scores(yamnet: YamnetTeacher, peers_dir: Path) -> None:
    rows = np.stack([siren(40_000), np.zeros(40_000, np.float32)])
    found = yamnet(torch.from_numpy(rows))
    assert found.hidden == ()
    scorer = YamnetScorer(peers_dir)
    for row, samples in enumerate(rows):
        windows = yamnet.window_scores(samples)
        assert windows.shape == (count_windows(40_000), 521) == (5, 521)
        mean = scorer.score(samples).scores
        np.testing.assert_array_equal(mean, windows.mean(0))
        for logits, scores in ((found.clip_logits, mean), (found.frame_logits, windows)):
            assert logits is not None
            np.testing.assert_allclose(
                torch.sigmoid(logits[row]), scores.clip(1e-6, 1 - 1e-6), rtol=1e-4, atol=1e-7
            )


def test_padding_is_not_heard(yamnet: YamnetTeacher) -> None:
    samples = siren(30_000)
    padded = torch.from_numpy(np.pad(samples, (0, 34_000)))[None]
    alone = yamnet(torch.from_numpy(samples)[None])
    together = yamnet(padded, torch.tensor([30_000]))
    torch.testing.assert_close(together.clip_logits, alone.clip_logits)
    assert alone.frame_logits is not None
    assert together.frame_logits is not None
    n_windows = alone.frame_logits.shape[1]
    torch.testing.assert_close(together.frame_logits[:, :n_windows], alone.frame_logits)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(
            yamnet(padded).clip_logits, alone.clip_logits, atol=0.1, rtol=1e-5
        )


def test_a_sound_changes_the_window_most_that_is_centred_on_it(yamnet: YamnetTeacher) -> None:
    silence = np.zeros(WINDOW_SAMPLES + 7 * HOP_SAMPLES, np.float32)
    quiet = yamnet.window_scores(silence)
    for frame in range(1, 7):
        centre_s = yamnet.label_frames.offset_s + frame * yamnet.label_frames.hop_s
        start = round((centre_s - 0.2) * SAMPLE_RATE_HZ)
        samples = silence.copy()
        samples[start : start + 6_400] = siren(6_400)
        change = np.linalg.norm(yamnet.window_scores(samples) - quiet, axis=1)
        assert int(change.argmax()) == frame


@pytest.mark.parametrize(
    ("n_samples", "n_windows"), [(1, 1), (15_600, 1), (15_601, 2), (23_400, 2), (23_401, 3)]
)
def test_windows_cover_every_sample(n_samples: int, n_windows: int) -> None:
    assert count_windows(n_samples) == n_windows


def test_a_folder_without_yamnet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"yamnet_class_map\.csv is missing: set EDGE_AUDIO_PEERS"):
        YamnetTeacher.load(tmp_path)
    (tmp_path / "yamnet_class_map.csv").write_text("index,mid,display_name\n0,/m/09x0r,Speech\n")
    with pytest.raises(UsageError, match=r"yamnet\.tflite is missing: set EDGE_AUDIO_PEERS"):
        YamnetTeacher.load(tmp_path)


def test_embeddings_come_with_the_same_scores(yamnet: YamnetTeacher, peers_dir: Path) -> None:
    keeping = YamnetTeacher.load(peers_dir, keeps_embedding=True)
    samples = siren(40_000)
    scores, embeddings = keeping.window_embeddings(samples)
    np.testing.assert_array_equal(scores, yamnet.window_scores(samples))
    assert embeddings.shape == (len(scores), EMBEDDING_DIM)
    assert len(np.unique(embeddings, axis=0)) == len(scores)
