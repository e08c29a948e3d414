"""Public datasets as they lie on disk after download, turned into clip lists.

A layout is a function (folder, display name of each AudioSet mid) -> what the dataset lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from distill.data.datasets.audioset import list_audioset
from distill.data.datasets.base import Listed, display_names, survey
from distill.data.datasets.esc50 import list_esc50
from distill.data.datasets.fsd50k import list_fsd50k
from distill.data.datasets.urbansound8k import list_urbansound8k
from distill.data.datasets.webdataset import list_webdataset

LAYOUTS: dict[str, Callable[[Path, Mapping[str, str]], list[Listed]]] = {
    "audioset": list_audioset,
    "esc50": list_esc50,
    "fsd50k": list_fsd50k,
    "urbansound8k": list_urbansound8k,
    "webdataset": list_webdataset,
}

__all__ = ["LAYOUTS", "Listed", "display_names", "survey"]
