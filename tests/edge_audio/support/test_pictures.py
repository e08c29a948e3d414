"""Pictures are written as a whole."""

from pathlib import Path

import pytest

from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.support.pictures import require_picture, write_picture


class FullDisk:
    """Stands in for a figure whose drawing ends on a full disk, after some bytes."""

    def savefig(self, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")


def test_a_picture_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "scores.png"
    path.write_bytes(b"before")
    with pytest.raises(EdgeAudioError, match=r"cannot write .*scores\.png: No space left"):
        write_picture(FullDisk(), path)
    assert path.read_bytes() == b"before"
    assert [one.name for one in tmp_path.iterdir()] == ["scores.png"]


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a", "a.PNG"])
def test_the_suffix_says_in_which_format(tmp_path: Path, name: str) -> None:
    figures = pytest.importorskip("matplotlib.figure", reason="needs the plot extra")
    write_picture(figures.Figure(), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(b"<?xml" if name.endswith("svg") else b"\x89PNG")


@pytest.mark.parametrize("name", ["scores.foo", "scores.wav", "v1.2"])
def test_a_name_of_no_picture_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"name it \.png"):
        require_picture(tmp_path / name)
