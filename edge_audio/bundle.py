"""A bundle: one folder that holds a model, what it needs to run, and proof that it runs right.

`manifest.json` names every other file with its size and SHA-256; a part that is missing or
altered is an error that names it. Everything read here may be hostile: names cannot leave the
folder, sizes are capped, nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import field
from numpy.typing import NDArray

from edge_audio.errors import BundleError, UsageError
from edge_audio.spec import EventSpec, ModelSpec, Spec

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
GOLDEN_NAME = "golden.npz"
MODELS_DIR = Path(__file__).parent / "models"

MAX_MANIFEST_BYTES = 4 << 20
MAX_FILE_BYTES = 256 << 20  # also what a golden may unpack to


class FileEntry(Spec, frozen=True):
    """What a file of the bundle must be: hexadecimal SHA-256 and size."""

    sha256: str
    n_bytes: int

    def __post_init__(self) -> None:
        if not 0 <= self.n_bytes <= MAX_FILE_BYTES:
            raise ValueError(f"n_bytes must be within 0 and {MAX_FILE_BYTES}")


class Tolerance(Spec, frozen=True):
    """Largest absolute difference allowed when the golden is replayed."""

    frames: float
    scores: float


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
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be unique")
        if unknown := set(self.events.thresholds) - set(self.labels):
            raise ValueError(f"threshold for unknown label {min(unknown)!r}")
        _check_model(self.model, n_labels=len(self.labels))


def check_file_name(name: str) -> None:
    """Raises ValueError unless `name` is a plain file name that stays inside the bundle."""
    is_plain = name not in ("", ".", "..", MANIFEST_NAME) and not set(name) & set("/\\:\0")
    if not is_plain:
        raise ValueError(f"file name {name!r} is not allowed in a bundle")


def _check_model(model: ModelSpec, n_labels: int) -> None:
    frames_shape = (1, model.frames_per_step, model.frontend.n_mels)
    if model.frames_per_step < 1 or model.frames.shape != frames_shape:
        raise ValueError(f"tensor {model.frames.name!r} must have shape {frames_shape}")
    if model.scores.shape != (1, n_labels):
        raise ValueError(f"tensor {model.scores.name!r} must have shape {(1, n_labels)}")
    names = [model.frames.name, *(tensor.name for tensor in model.state)]
    if len(set(names)) != len(names):
        raise ValueError("input tensor names must be unique")


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest has been read and found consistent."""

    path: Path
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """The bytes of one file. BundleError names it if it is missing or altered."""
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError(f"bundle {self.path} has no {name}: export it again with that part")
        content = _read_capped(self.path / name, entry.n_bytes)
        if len(content) != entry.n_bytes or _sha256(content) != entry.sha256:
            raise BundleError(f"{self.path / name} was altered: restore the original bundle")
        return content

    def file(self, name: str) -> Path:
        """Path of one file, checked like `read`."""
        self.read(name)
        return self.path / name


def load_bundle(name_or_dir: str | Path) -> Bundle:
    """Opens a shipped bundle by name ("tiny-int8") or any bundle by its directory.

    Raises UsageError if there is none, BundleError if its manifest is missing, damaged or too
    new.
    """
    path = _find(name_or_dir)
    raw = _read_capped(path / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    return Bundle(path, _decode_manifest(raw, path / MANIFEST_NAME))


def shipped_bundles() -> list[str]:
    """Names of the bundles that come with the package, sorted."""
    return sorted(path.parent.name for path in MODELS_DIR.glob(f"*/{MANIFEST_NAME}"))


def save_bundle(path: str | Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Writes a whole bundle or nothing; an older one at `path` is replaced.

    `manifest.files` is filled in from `files`. Raises BundleError if a name is not allowed.
    """
    path = Path(path)
    manifest = _with_files(manifest, files)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        new = scratch / "new"
        new.mkdir()
        for name, content in files.items():
            (new / name).write_bytes(content)
        (new / MANIFEST_NAME).write_bytes(_encode_manifest(manifest))
        if path.exists():
            os.replace(path, scratch / "old")
        os.replace(new, path)
    finally:
        shutil.rmtree(scratch)
    return Bundle(path, manifest)


def _with_files(manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    try:
        entries = {
            name: FileEntry(sha256=_sha256(content), n_bytes=len(content))
            for name, content in files.items()
        }
        return msgspec.structs.replace(manifest, files=entries)
    except ValueError as error:
        raise BundleError(f"cannot write bundle {manifest.name}: {error}") from error


def _find(name_or_dir: str | Path) -> Path:
    if isinstance(name_or_dir, str) and name_or_dir in shipped_bundles():
        return MODELS_DIR / name_or_dir
    path = Path(name_or_dir)
    if (path / MANIFEST_NAME).is_file():
        return path
    shipped = ", ".join(shipped_bundles()) or "none"
    cure = f"give a bundle directory or a shipped model ({shipped})"
    if path.is_dir():
        raise BundleError(f"{path} has no {MANIFEST_NAME}: {cure}")
    raise UsageError(f"no model {str(path)!r}: {cure}")


def _read_capped(path: Path, max_bytes: int) -> bytes:
    """At most max_bytes + 1 bytes, so that a swapped-in giant is noticed but never loaded."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except FileNotFoundError:
        raise BundleError(f"{path} is missing: restore the original bundle") from None
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error


class _Schema(msgspec.Struct):
    schema_version: int


def _decode_manifest(raw: bytes, path: Path) -> Manifest:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes: not a manifest")
    try:
        version = msgspec.json.decode(raw, type=_Schema).schema_version
        if version > SCHEMA_VERSION:
            raise BundleError(f"{path} has schema version {version}: update edge-audio")
        if version != SCHEMA_VERSION:
            raise BundleError(f"{path} has unknown schema version {version}: export it again")
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path} is damaged: {' '.join(str(error).split())}") from error


def _encode_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Golden:
    """What the model said about one recording when it was exported.

    samples: int16[n]; frames: f32[n_frames, n_mels], all frames of the samples;
    scores: f32[n_frames // frames_per_step, n_labels], one row per step.
    """

    samples: NDArray[np.int16]
    frames: NDArray[np.float32]
    scores: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """The content of golden.npz."""
        file = io.BytesIO()
        np.savez_compressed(file, samples=self.samples, frames=self.frames, scores=self.scores)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Golden:
        """Raises BundleError unless it holds exactly the three arrays with their dtypes."""
        try:
            _check_unpacked_size(zipfile.ZipFile(io.BytesIO(content)).infolist())
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                golden = cls(arrays["samples"], arrays["frames"], arrays["scores"])
        except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
            raise BundleError(f"{GOLDEN_NAME} is damaged: {error}") from error
        golden._check()
        return golden

    def _check(self) -> None:
        kinds = {"samples": (np.int16, 1), "frames": (np.float32, 2), "scores": (np.float32, 2)}
        for name, (dtype, n_dims) in kinds.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != n_dims:
                wanted = f"{np.dtype(dtype)} with {n_dims} dimensions"
                raise BundleError(f"{GOLDEN_NAME}: {name} must be {wanted}")


def _check_unpacked_size(members: Iterable[zipfile.ZipInfo]) -> None:
    if sum(member.file_size for member in members) > MAX_FILE_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_FILE_BYTES} bytes")


def load_golden(bundle: Bundle) -> Golden:
    """The bundle's golden recording. BundleError if it is missing or damaged."""
    return Golden.from_bytes(bundle.read(GOLDEN_NAME))
