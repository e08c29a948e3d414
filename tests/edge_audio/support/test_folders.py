"""Folders of a user's own: a variable names them, or the system does."""

from __future__ import annotations

import pytest

from edge_audio.support.folders import PEERS_ENV, peers_dir
from tests.support.paths import REPOSITORY


def test_the_folder_of_peers_is_what_the_variable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PEERS_ENV, "/models/of/others")
    assert str(peers_dir()) == "/models/of/others"


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_the_folder_is_the_users_own(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It depends neither on the checkout nor on the folder that a command runs in."""
    monkeypatch.delenv(PEERS_ENV, raising=False)
    if value is not None:
        monkeypatch.setenv(PEERS_ENV, value)
    folder = peers_dir()
    assert folder.is_absolute()
    assert folder.parts[-2:] == ("edge-audio", "peers")
    assert REPOSITORY.parent not in folder.parents
