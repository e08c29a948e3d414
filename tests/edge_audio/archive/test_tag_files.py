"""Many recordings, for programs: an iterator over what was heard in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_audio import load_bundle, tag, tag_files
from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from tests.support import toy
from tests.support.runtimes import require_any_runtime


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two recordings, one that is not there, and one of words."""
    for seed in (1, 2):
        soundfile.write(tmp_path / f"{seed}.wav", toy.noise(48_000, seed), 16_000)
    (tmp_path / "words.wav").write_text("no audio at all")
    return [tmp_path / name for name in ("1.wav", "none.wav", "words.wav", "2.wav")]


@pytest.mark.parametrize("n_processes", [1, 2])
def test_each_file_gives_what_tagging_it_alone_gives(files: list[Path], n_processes: int) -> None:
    require_any_runtime(load_bundle("micro-int8"))
    settings: dict[str, Any] = {"model": "micro-int8", "threshold": 0.1, "sensitivity": "eager"}
    found = list(tag_files(iter(files), n_processes, exclude=iter(["Music"]), **settings))
    assert [tags.source for tags in found] == [str(path) for path in files]
    assert "no such audio file" in found[1].error
    assert found[2].error
    assert "\n" not in found[2].error
    for i in (0, 3):
        alone = tag(files[i], exclude="Music", **settings)
        assert found[i].events == alone.events
        np.testing.assert_array_equal(found[i].scores, alone.scores)


@pytest.mark.parametrize(
    ("arguments", "settings", "hint"),
    [
        (("one.wav",), {}, "pass a list, or use tag"),
        ((["a.wav"], 0), {}, "n_processes is 0"),
        ((["a.wav"], "2"), {}, "n_processes is '2'"),
        ((["a.wav"], 1.5), {}, "n_processes is 1.5"),
        ((["a.wav"],), {"only": "Bnad"}, "Bnad"),
        ((["a.wav"],), {"model": "no-such-model"}, "no model"),
    ],
)
@pytest.mark.usefixtures("computed_by_numpy")
def test_wrong_settings_are_told_before_the_first_file(
    toy_bundle: Bundle, arguments: Any, settings: dict[str, Any], hint: str
) -> None:
    with pytest.raises(UsageError, match=hint):
        tag_files(*arguments, **{"model": toy_bundle.path, **settings})


@pytest.mark.usefixtures("computed_by_numpy")
def test_no_files_are_no_tags(toy_bundle: Bundle) -> None:
    assert list(tag_files([], model=toy_bundle.path)) == []
