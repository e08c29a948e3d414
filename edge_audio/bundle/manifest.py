"""What is known about a model: the bundle's `manifest.json`, decoded strictly and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import field

from edge_audio.bundle.spec import EventSpec, ModelSpec, Spec
from edge_audio.errors import BundleError
from edge_audio.support.text import CONTROL, check_name, one_line

SCHEMA_VERSION = 3
OLDEST_SCHEMA_VERSION = 1  # its streams begin with zeros
MANIFEST_NAME = "manifest.json"

MAX_MANIFEST_BYTES = 1 << 20  # in memory it may take twenty times as much
MAX_FILE_BYTES = 256 << 20
MAX_DEPTH = 16  # of the provenance
MAX_REASON_CHARS = 200

_INNERMOST = re.compile(rb"[{\[][^{}\[\]]*[}\]]")
_LINE_BREAK = re.compile(rb"\n *")
_LONGEST_LINE = 160


class FileEntry(Spec, frozen=True):
    """What a file of the bundle must be: hexadecimal SHA-256 and size."""

    sha256: str
    n_bytes: int

    def __post_init__(self) -> None:
        if not 0 <= self.n_bytes <= MAX_FILE_BYTES:
            raise ValueError(f"n_bytes must be within 0 and {MAX_FILE_BYTES}")


EMBEDDING_BOUND = 6.0
"""No value of an embedding is larger: activations of students saturate there."""


class Tolerance(Spec, frozen=True):
    """Largest absolute difference allowed when the golden is replayed."""

    frames: float
    scores: float

    @property
    def embedding(self) -> float:
        """That of the scores, which reach 1, for values that reach EMBEDDING_BOUND: it limits the
        root mean square of a step, since it is the direction of an embedding that tells."""
        return EMBEDDING_BOUND * self.scores

    def __post_init__(self) -> None:
        if not (0.0 <= self.frames < np.inf and 0.0 <= self.scores < np.inf):
            raise ValueError("tolerances must be finite and not negative")


class Manifest(Spec, frozen=True, kw_only=True):
    """Everything known about a model; `files` is filled in by `save_bundle`.

    labels: one per score, in the order of the scores.
    provenance: data, licences, teacher, recipe, seed, commit, metrics with their commands.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    description: str
    labels: tuple[str, ...]
    model: ModelSpec
    events: EventSpec
    tolerance: Tolerance
    files: dict[str, FileEntry] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.files:
            check_file_name(name)
        check_name(self.name, "name")
        for label in self.labels:
            check_name(label, "label")
        _check_texts(self.description)
        _check_texts(self.provenance)
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be unique")
        named = set(self.events.thresholds).union(
            self.events.off, *self.events.sensitivities.values()
        )
        if unknown := named - set(self.labels):
            raise ValueError(f"threshold for unknown label {min(unknown)!r}")
        _check_model(self.model, n_labels=len(self.labels))


def check_file_name(name: str) -> None:
    """Raises ValueError unless `name` is a plain file name that stays inside the bundle."""
    is_plain = name not in ("", ".", "..", MANIFEST_NAME) and not set(name) & set("/\\:\0")
    if not is_plain:
        raise ValueError(f"file name {name!r} is not allowed in a bundle")
    check_name(name, "file name")


def _check_texts(value: object, depth: int = 0) -> None:
    """Free text may have many lines, but nothing that commands a terminal."""
    if depth > MAX_DEPTH:
        raise ValueError(f"provenance must be nested at most {MAX_DEPTH} deep")
    if isinstance(value, str) and CONTROL.search(value.replace("\n", " ").replace("\t", " ")):
        raise ValueError(f"text {one_line(value, 40)!r} has control codes in it")
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    for child in value if isinstance(value, list | tuple) else ():
        _check_texts(child, depth + 1)


def _check_model(model: ModelSpec, n_labels: int) -> None:
    if model.frames.shape != model.input_shape:
        raise ValueError(f"tensor {model.frames.name!r} must have shape {model.input_shape}")
    if model.scores.shape != (1, n_labels):
        raise ValueError(f"tensor {model.scores.name!r} must have shape {(1, n_labels)}")
    states = [tensor.name for tensor in model.state]
    if len({model.frames.name, *states}) != 1 + len(states):
        raise ValueError("input tensor names must be unique")
    for tensor in model.embeddings:
        if len(tensor.shape) != 2 or tensor.shape[0] != 1:
            raise ValueError(f"tensor {tensor.name!r} must have shape (1, embedding_dim)")
    outputs = [tensor.name for tensor in (model.scores, *model.embeddings)]
    for name in outputs:
        if name in {f"{state}_next" for state in states}:
            raise ValueError(f"tensor name {name!r} is that of a next state too")
    if len(set(outputs)) != len(outputs):
        raise ValueError("output tensor names must be unique")


class _Schema(msgspec.Struct):
    schema_version: int


def decode_manifest(raw: bytes, path: Path) -> Manifest:
    """The manifest in these bytes of `path`. Raises BundleError for anything that is none."""
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes: not a manifest")
    try:
        version = msgspec.json.decode(raw, type=_Schema).schema_version
        if version > SCHEMA_VERSION:
            found = one_line(str(version), 20)
            raise BundleError(f"{path} has schema version {found}: update edge-audio")
        if version < OLDEST_SCHEMA_VERSION:
            found = one_line(str(version), 20)
            raise BundleError(f"{path} has unknown schema version {found}: export it again")
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(path, error) from error


def damaged(what: object, error: Exception) -> BundleError:
    """The error that says so of a part of a bundle, with the first line of the reason."""
    reason = one_line(str(error), MAX_REASON_CHARS)
    return BundleError(f"{what} is damaged: {reason}; restore the original bundle")


def encode_manifest(manifest: Manifest) -> bytes:
    """Indented JSON in UTF-8 that ends with a newline. Short objects and lists, such as the
    threshold of a label, take a line each."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    return _INNERMOST.sub(_on_one_line, text) + b"\n"


def _on_one_line(found: re.Match[bytes]) -> bytes:
    content = _LINE_BREAK.sub(b" ", found[0][1:-1])  # no string of JSON has a line break
    line = found[0][:1] + content.strip() + found[0][-1:]
    return line if len(line) <= _LONGEST_LINE else found[0]
