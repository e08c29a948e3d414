"""Where recordings and other people's models lie: for this process and those that it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

VARIABLES = {"EDGE_AUDIO_DATA": "data", "EDGE_AUDIO_PEERS": "peers"}


def point_to_shared_folders() -> None:
    """Sets what is not set to ../shared/data and ../shared/peers beside the repository, if they
    are there."""
    for variable, name in VARIABLES.items():
        folder = REPOSITORY.parent / "shared" / name
        if not os.environ.get(variable) and folder.is_dir():
            os.environ[variable] = str(folder)


def shared_folder(variable: str, wanted: str) -> Path:
    """The folder that the variable names. Skips where it has no file `wanted`."""
    folder = Path(os.environ.get(variable) or "unset")
    if not (folder / wanted).is_file():
        pytest.skip(f"no {wanted}: set {variable} to a folder that has it")
    return folder
