"""Secrets come from the environment or a file and do not show themselves."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from edge_audio.errors import UsageError
from edge_audio.support.secrets import read_secret


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AUDIO_TEST", "hush")
    secret = read_secret(env="EDGE_AUDIO_TEST")
    assert secret is not None
    assert secret.reveal() == "hush"
    assert "hush" not in f"{secret} {secret!r}"


def test_a_secret_is_the_first_line_of_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b" hush \r\nmore\n")
    path.chmod(0o600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        secret = read_secret(file=str(path))
    assert secret is not None
    assert secret.reveal() == " hush "


def test_a_file_that_everybody_can_read_brings_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("hush")
    path.chmod(0o644)
    with pytest.warns(UserWarning, match="chmod 600"):
        read_secret(file=str(path))


def test_nothing_given_is_no_secret() -> None:
    assert read_secret() is None


@pytest.mark.parametrize("content", [b"", b"\nhush", b"\xff\xfe"])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="secret") as caught:
        read_secret(file=str(path))
    assert "hush" not in str(caught.value)


def test_a_missing_file_or_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_secret(file=str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="EDGE_AUDIO_ABSENT"):
        read_secret(env="EDGE_AUDIO_ABSENT")
    with pytest.raises(UsageError, match="not both"):
        read_secret(env="A", file="b")
