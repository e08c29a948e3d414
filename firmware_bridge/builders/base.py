"""What builders are given, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from firmware_bridge.target_table import Target
from firmware_bridge.toolchains import Toolchain

Sensitivities = Mapping[str, Mapping[str, tuple[float, float]]]  # name -> label -> (on, off)


@dataclass(frozen=True)
class BuildJob:
    """A folder with all sources, in which something is to be built.

    image: the engine image. stream_bytes: memory that one stream takes on a CPU that transforms
    four frames together, with its working memory and the events of a flush. sensitivities: name ->
    label -> (on, off), of the labels of the image; none where the user chose one.
    """

    folder: Path
    target: Target
    toolchain: Toolchain
    image: bytes
    stream_bytes: int
    sensitivities: Sensitivities

    @property
    def include_dirs(self) -> list[str]:
        """Folders with headers and sources, below `folder`."""
        return include_dirs(self.folder)


class Built(NamedTuple):
    """programs: files that were made. missing: what to install, where something was."""

    programs: tuple[Path, ...] = ()
    missing: str = ""


def include_dirs(folder: Path) -> list[str]:
    """Folders with headers and sources, below the folder of a firmware."""
    return [name for name in ("src", "port", "test") if (folder / name).is_dir()]
