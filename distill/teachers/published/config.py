"""What a recipe says of a teacher in its authors' own format: `kind` is the adapter's name."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edge_audio.bundle.spec import Spec


class PublishedConfig(Spec, frozen=True, tag_field="kind", tag=str.lower):
    """checkpoint: the published file, in the peers folder or by its path. layers: positions in
    the hidden layers, 0 for the input of the first; None: four, evenly spread. architecture: what
    the file does not say of itself, by the authors' names (`num_heads`, `target_length`).
    precision: "bf16" autocasts the network on a GPU, never its front end."""

    checkpoint: str
    layers: tuple[int, ...] | None = None
    architecture: dict[str, Any] = msgspec.field(default_factory=dict)
    precision: Literal["float32", "bf16"] = "float32"

    @property
    def kind(self) -> str:
        """The adapter's name."""
        return str(self.__struct_config__.tag)


class APC(PublishedConfig, frozen=True):
    """APC and VQ-APC."""


class Ast(PublishedConfig, frozen=True):
    """AST, in its authors' format."""


class AtstClip(PublishedConfig, frozen=True, tag="atst_clip"):
    """ATST-Clip."""


class AtstFrame(PublishedConfig, frozen=True, tag="atst_frame"):
    """ATST-Frame."""


class AudioMAE(PublishedConfig, frozen=True):
    """Audio-MAE and Bird-MAE."""


class AuM(PublishedConfig, frozen=True):
    """AuM, Audio Mamba."""


class AxLSTM(PublishedConfig, frozen=True):
    """AxLSTM."""


class Beats(PublishedConfig, frozen=True):
    """BEATs and OpenBEATs."""


class Ced(PublishedConfig, frozen=True):
    """CED."""


class Cnn14(PublishedConfig, frozen=True, tag="panns_cnn14"):
    """PANNs Cnn14."""


class ConvNeXtAudioSet(PublishedConfig, frozen=True, tag="convnext_audioset"):
    """ConvNeXt-Tiny trained on AudioSet."""


class Dasheng(PublishedConfig, frozen=True):
    """Dasheng."""


class Data2Vec(PublishedConfig, frozen=True):
    """data2vec for audio, fairseq's files."""


class DistilHubert(PublishedConfig, frozen=True):
    """DistilHuBERT, s3prl's file."""


class DyMN(PublishedConfig, frozen=True):
    """EfficientAT's dynamic MobileNets."""


class Eat(PublishedConfig, frozen=True):
    """EAT, fairseq's naming."""


class HTSAT(PublishedConfig, frozen=True):
    """HTS-AT in the authors' naming."""


class K2SSL(PublishedConfig, frozen=True):
    """k2SSL's Zipformer over convolutions."""


class Leaf(PublishedConfig, frozen=True):
    """LEAF, a front end alone."""


class LightHubert(PublishedConfig, frozen=True):
    """LightHuBERT, of which one subnet is heard."""


class MRHubert(PublishedConfig, frozen=True, tag="mr_hubert"):
    """Multi-resolution HuBERT."""


class MuQ(PublishedConfig, frozen=True):
    """MuQ."""


class NPC(PublishedConfig, frozen=True):
    """NPC."""


class OmarRQ(PublishedConfig, frozen=True, tag="omar_rq"):
    """OMAR-RQ with mel input."""


class Passt(PublishedConfig, frozen=True):
    """PaSST."""


class Ssam(PublishedConfig, frozen=True):
    """SSAM, Self-Supervised Audio Mamba."""


class Ssamba(PublishedConfig, frozen=True):
    """SSAMBA."""


class Ssast(PublishedConfig, frozen=True):
    """SSAST, of patches and of frames."""


class Tera(PublishedConfig, frozen=True):
    """TERA and Mockingjay, s3prl's files."""


class WavJepa(PublishedConfig, frozen=True):
    """WavJEPA, one channel."""


class WavLM(PublishedConfig, frozen=True):
    """WavLM and UniSpeech-SAT in the authors' naming."""


class Zipformer(PublishedConfig, frozen=True):
    """Icefall's Zipformer over filter banks."""


AnyPublished = (
    APC
    | Ast
    | AtstClip
    | AtstFrame
    | AudioMAE
    | AuM
    | AxLSTM
    | Beats
    | Ced
    | Cnn14
    | ConvNeXtAudioSet
    | Dasheng
    | Data2Vec
    | DistilHubert
    | DyMN
    | Eat
    | HTSAT
    | K2SSL
    | Leaf
    | LightHubert
    | MRHubert
    | MuQ
    | NPC
    | OmarRQ
    | Passt
    | Ssam
    | Ssamba
    | Ssast
    | Tera
    | WavJepa
    | WavLM
    | Zipformer
)
