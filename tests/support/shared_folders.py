"""Where recordings and other people's models lie: for this process and those that it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

DATA, PEERS = "EDGE_AUDIO_DATA", "EDGE_AUDIO_PEERS"
SHARED = REPOSITORY.parent / "shared"
WHOLE_LIST = "manifest_all.csv"


def point_to_shared_folders() -> None:
    """Sets what is not set to the folders in ../shared beside the repository, if they are there.
    Tests want the whole clip list: where a data folder has one, the variable names that."""
    for variable, folder in {DATA: SHARED / "data", PEERS: SHARED / "peers"}.items():
        if not os.environ.get(variable) and folder.is_dir():
            os.environ[variable] = str(folder)
    whole = Path(os.environ.get(DATA) or "unset") / WHOLE_LIST
    if whole.is_file():
        os.environ[DATA] = str(whole)


def shared_clip_list() -> Path:
    """The clip list of real audio. Skips where there is none."""
    place = Path(os.environ.get(DATA) or "unset")
    clip_list = place / "manifest.csv" if place.is_dir() else place
    if not clip_list.is_file():
        pytest.skip(f"no clip list: set {DATA} to one or its folder")
    return clip_list


def shared_folder(variable: str, wanted: str) -> Path:
    """The folder that the variable names. Skips where it has no file `wanted`."""
    folder = Path(os.environ.get(variable) or "unset")
    if not (folder / wanted).is_file():
        pytest.skip(f"no {wanted}: set {variable} to a folder that has it")
    return folder
