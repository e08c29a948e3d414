"""Label lists of different models are matched by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distill.data.labels import LABELS_NAME, audioset_names, label_columns, read_class_map
from edge_audio.errors import UsageError
from edge_audio.support.folders import PEERS_ENV


@pytest.mark.parametrize("seed", range(10))
def test_columns_hold_the_same_label_in_both_lists_in_our_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"Class {index}" for index in range(30)]
    theirs = [str(name) for name in rng.choice(names, rng.integers(20, 30), replace=False)]
    ours = [str(name) for name in rng.choice(names, rng.integers(20, 30), replace=False)]
    their_columns, our_columns = label_columns(theirs, ours)
    shared = [name for name in ours if name in theirs]
    assert [theirs[column] for column in their_columns] == shared
    assert [ours[column] for column in our_columns] == shared


def test_a_teacher_without_any_of_our_labels_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no label in common with \['LABEL_0', 'LABEL_1'\]"):
        label_columns(("LABEL_0", "LABEL_1"), ("Speech", "Dog"))


def test_machine_ids_are_of_the_names_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PEERS_ENV, str(tmp_path))
    path = tmp_path / LABELS_NAME
    path.write_text("index,mid,display_name\n1,/m/b,Dog\n0,/m/a,Speech\n")
    assert audioset_names() == {"/m/a": "Speech", "/m/b": "Dog"}
    path.write_text("index,display_name\n0,Speech\n1,Dog\n")
    assert read_class_map(path) == ("Speech", "Dog")
    with pytest.raises(UsageError, match="is no class map: 'mid'"):
        audioset_names()
