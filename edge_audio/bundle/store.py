"""A bundle: one folder that holds a model, what it needs to run, and proof that it runs right.

`manifest.json` names every other file with its size and SHA-256; a part that is missing or
altered is an error that names it. Everything read here may be hostile: names cannot leave the
folder, links are not followed, sizes are capped, nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import field
from numpy.lib import format as npy
from numpy.typing import NDArray

from edge_audio.bundle.spec import EventSpec, ModelSpec, Spec
from edge_audio.errors import BundleError, UsageError
from edge_audio.support.text import CONTROL, check_name, one_line

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
GOLDEN_NAME = "golden.npz"
MODELS_DIR = Path(__file__).parents[1] / "models"

MAX_MANIFEST_BYTES = 1 << 20  # in memory it may take twenty times as much
MAX_FILE_BYTES = 256 << 20
MAX_GOLDEN_BYTES = 16 << 20  # unpacked: three minutes of audio
MAX_DEPTH = 16  # of the provenance
MAX_REASON_CHARS = 200


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
        if unknown := set(self.events.thresholds) - set(self.labels):
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
    if model.scores.name in {f"{name}_next" for name in states}:
        raise ValueError(f"tensor name {model.scores.name!r} is that of a next state too")


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
    shipped = ", ".join(shipped_bundles()) or "none"
    cure = f"give a bundle directory or a shipped model ({shipped})"
    try:
        if (path / MANIFEST_NAME).is_file():
            return path
        is_dir = path.is_dir()
    except OSError as error:  # no permission, or a name longer than any file's
        reason = f"{one_line(str(path), MAX_REASON_CHARS)!r}: {error.strerror}"
        raise UsageError(f"cannot open model {reason}; {cure}") from error
    if is_dir:
        raise BundleError(f"{path} has no {MANIFEST_NAME}: {cure}")
    raise UsageError(f"no model {str(path)!r}: {cure}")


_LINK = "it is a link; put a copy of what it points to in its place"
_NO_FILE = "it is not a file; restore the original bundle"


def _read_capped(path: Path, max_bytes: int) -> bytes:
    """At most max_bytes + 1 bytes, so that a swapped-in giant is noticed but never loaded.

    Links, which could lead anywhere, and pipes, which could block for ever, are not opened.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            is_link = stat.S_ISLNK(status.st_mode)
            raise BundleError(f"cannot read {path}: {_LINK if is_link else _NO_FILE}")
        with path.open("rb") as file:
            return file.read(min(max_bytes, status.st_size) + 1)
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
            found = one_line(str(version), 20)
            raise BundleError(f"{path} has schema version {found}: update edge-audio")
        if version != SCHEMA_VERSION:
            found = one_line(str(version), 20)
            raise BundleError(f"{path} has unknown schema version {found}: export it again")
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(what: object, error: Exception) -> BundleError:
    reason = one_line(str(error), MAX_REASON_CHARS)
    return BundleError(f"{what} is damaged: {reason}; restore the original bundle")


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
            return cls(**_read_arrays(content))
        except Exception as error:  # those of zipfile, zlib and numpy share no other base
            raise _damaged(GOLDEN_NAME, error) from error


_GOLDEN_ARRAYS = {"samples": ("int16", 1), "frames": ("float32", 2), "scores": ("float32", 2)}
_GOLDEN_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others unpack without a limit


def _read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    if content.count(b"PK\1\2") > 16:  # starts each entry of the table of contents
        raise ValueError("it has too many members")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        _check_members(archive.infolist())
        return {name: _parse_npy(name, archive.read(f"{name}.npy")) for name in _GOLDEN_ARRAYS}


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    max_bytes = min(MAX_GOLDEN_BYTES, MAX_FILE_BYTES)
    if sum(member.file_size for member in members) > max_bytes:
        raise ValueError(f"it unpacks to more than {max_bytes} bytes")
    if sorted(member.filename for member in members) != sorted(f"{x}.npy" for x in _GOLDEN_ARRAYS):
        raise ValueError(f"it must hold {', '.join(_GOLDEN_ARRAYS)} and nothing else")
    if not {member.compress_type for member in members} <= _GOLDEN_METHODS:
        raise ValueError("it is not compressed the way numpy does it")


def _parse_npy(name: str, content: bytes) -> NDArray[Any]:
    """Like numpy.load, but memory is taken for what is there, not for what a header claims."""
    dtype, n_dims = _GOLDEN_ARRAYS[name]
    file = io.BytesIO(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # about headers of Python 2, which is not one line
        if npy.read_magic(file) != (1, 0):
            raise ValueError(f"{name} has an unknown version")
        shape, is_fortran, found = npy.read_array_header_1_0(file)
    if found != np.dtype(dtype) or len(shape) != n_dims:
        raise ValueError(f"{name} must be {dtype} with {n_dims} dimensions")
    order: Literal["F", "C"] = "F" if is_fortran else "C"
    return np.frombuffer(bytearray(file.read()), dtype).reshape(shape, order=order)


def load_golden(bundle: Bundle) -> Golden:
    """The bundle's golden recording. BundleError if it is missing, damaged or another model's."""
    golden = Golden.from_bytes(bundle.read(GOLDEN_NAME))
    n_mels, n_labels = bundle.manifest.model.frontend.n_mels, len(bundle.manifest.labels)
    if (golden.frames.shape[1], golden.scores.shape[1]) != (n_mels, n_labels):
        raise BundleError(
            f"{bundle.path / GOLDEN_NAME} does not fit its manifest, which has {n_mels} mels and "
            f"{n_labels} labels: export the bundle again"
        )
    return golden
