"""What a recipe says of a teacher in its authors' own format: `kind` is the adapter's name."""

from __future__ import annotations

from typing import Any

import msgspec

from edge_audio.bundle.spec import Spec


class PublishedConfig(Spec, frozen=True, tag_field="kind", tag=str.lower):
    """checkpoint: the published file, in the peers folder or by its path. layers: positions in
    the hidden layers, 0 for the input of the first; None: four, evenly spread. architecture: what
    the file does not say of itself, by the authors' names (`num_heads`, `target_length`)."""

    checkpoint: str
    layers: tuple[int, ...] | None = None
    architecture: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The adapter's name."""
        return str(self.__struct_config__.tag)


class Ast(PublishedConfig, frozen=True):
    """AST, in its authors' format."""


class AtstClip(PublishedConfig, frozen=True, tag="atst_clip"):
    """ATST-Clip."""


class AtstFrame(PublishedConfig, frozen=True, tag="atst_frame"):
    """ATST-Frame."""


class AudioMAE(PublishedConfig, frozen=True):
    """Audio-MAE and Bird-MAE."""


class Beats(PublishedConfig, frozen=True):
    """BEATs and OpenBEATs."""


class Ced(PublishedConfig, frozen=True):
    """CED."""


class Dasheng(PublishedConfig, frozen=True):
    """Dasheng."""


class Eat(PublishedConfig, frozen=True):
    """EAT, fairseq's naming."""


class Leaf(PublishedConfig, frozen=True):
    """LEAF, a front end alone."""


class Passt(PublishedConfig, frozen=True):
    """PaSST."""


class Ssast(PublishedConfig, frozen=True):
    """SSAST, of patches and of frames."""


class WavJepa(PublishedConfig, frozen=True):
    """WavJEPA, one channel."""


AnyPublished = (
    Ast
    | AtstClip
    | AtstFrame
    | AudioMAE
    | Beats
    | Ced
    | Dasheng
    | Eat
    | Leaf
    | Passt
    | Ssast
    | WavJepa
)
