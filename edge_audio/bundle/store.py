"""A bundle: one folder that holds a model, what it needs to run, and proof that it runs right.

`manifest.json` names every other file with its size and SHA-256; a part that is missing or
altered is an error that names it. Everything read here may be hostile: names cannot leave the
folder, links are not followed, sizes are capped, nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from edge_audio.bundle.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    MAX_REASON_CHARS,
    SCHEMA_VERSION,
    FileEntry,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from edge_audio.bundle.rows import HeadRows, extended, reduced, with_labels
from edge_audio.bundle.spec import Sensitivity
from edge_audio.errors import BundleError, UsageError
from edge_audio.support.files import (
    IrregularFileError,
    errors_for_people,
    folder_draft,
    open_regular,
    recover_folder,
)
from edge_audio.support.text import one_line

MODELS_DIR = Path(__file__).parents[1] / "models"
DEFAULT_MODEL = "tiny-int8"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest has been read and found consistent; `load_bundle` opens one.

    path: its folder.
    manifest: what `manifest.json` says: labels, tensors, thresholds, files, provenance; and what
        `rows` add to it.
    rows: labels beside the model's own, None without any.
    whole: the bundle with all labels, where this has some of them alone; else None.
    """

    path: Path
    manifest: Manifest
    rows: HeadRows | None = None
    whole: Bundle | None = None

    @property
    def parents(self) -> Mapping[str, str]:
        """Labels of `rows` -> the label of the model that each is a kind of, where it has one."""
        return self.rows.parents if self.rows is not None else {}

    def with_rows(self, rows: HeadRows) -> Bundle:
        """The bundle with labels beside its own. Raises ValueError where it has one of them."""
        return replace(self, manifest=extended(self.manifest, rows), rows=rows)

    def without_rows(self) -> Bundle:
        """The bundle with the labels of its model alone, and all of those."""
        if self.whole is not None:
            return self.whole.without_rows()
        if self.rows is None:
            return self
        return replace(self, manifest=reduced(self.manifest, self.rows), rows=None)

    def with_labels(self, labels: Collection[str]) -> Bundle:
        """The bundle as if its model had these of its labels alone, in the order that they have in
        it. Raises UsageError where it has none of them, or not all."""
        known = self.manifest.labels
        if unknown := set(labels) - set(known):
            raise UsageError(f"unknown label {min(unknown)!r}: see edge-audio inspect")
        if not labels:
            raise UsageError("no label is left: a model needs one")
        kept = tuple(label for label in known if label in labels)
        if kept == known:
            return self
        return replace(self, manifest=with_labels(self.manifest, kept), whole=self.whole or self)

    def at_sensitivity(self, sensitivity: Sensitivity | None) -> Bundle:
        """The bundle as if its manifest had the thresholds of this sensitivity alone, for programs
        that keep no others; None = as it is."""
        events = self.manifest.events.at_sensitivity(sensitivity)
        return replace(self, manifest=msgspec.structs.replace(self.manifest, events=events))

    def read(self, name: str) -> bytes:
        """The bytes of one file, such as "model.tflite". Raises BundleError, naming the file, if
        the bundle has none of that name or if it is missing or altered."""
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError(f"bundle {self.path} has no {name}: export it again with that part")
        content = _read_capped(self.path / name, entry.n_bytes)
        if len(content) != entry.n_bytes or _sha256(content) != entry.sha256:
            raise BundleError(f"{self.path / name} was altered: restore the original bundle")
        return content

    def contents(self) -> dict[str, bytes]:
        """Every file but the manifest, by name, checked as by `read`. Raises BundleError."""
        return {name: self.read(name) for name in self.manifest.files}

    def file(self, name: str) -> Path:
        """Path of one file, checked as by `read`. Raises BundleError."""
        self.read(name)
        return self.path / name


def load_bundle(name_or_dir: str | Path) -> Bundle:
    """Opens a shipped bundle by name ("tiny-int8") or any bundle by its directory.

    Raises UsageError if there is none, BundleError if its manifest is missing, damaged or too
    new.
    """
    path = _find(name_or_dir)
    raw = _read_capped(path / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    return Bundle(path, decode_manifest(raw, path / MANIFEST_NAME))


def shipped_bundles() -> list[str]:
    """Names of the bundles that come with the package, sorted."""
    names = (path.parent.name for path in MODELS_DIR.glob(f"*/{MANIFEST_NAME}"))
    return sorted(name for name in names if not name.startswith("."))  # that of one being written


def is_shipped(bundle: Bundle) -> bool:
    """Whether the bundle is one of those that come with the package, however it was named."""
    return bundle.path.resolve().parent == MODELS_DIR.resolve()


def save_bundle(path: str | Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Writes a bundle as a whole: whatever interrupts it, the older one or this one is at `path`.

    `manifest.files` is filled in from `files`. Raises BundleError if a name is not allowed,
    EdgeAudioError if the folder cannot be written.
    """
    path = Path(path)
    manifest = _with_files(manifest, files)
    with errors_for_people(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with folder_draft(path) as draft:
            for name, content in files.items():
                (draft / name).write_bytes(content)
            (draft / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
    return Bundle(path, manifest)


def _with_files(manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    try:
        entries = {
            name: FileEntry(sha256=_sha256(content), n_bytes=len(content))
            for name, content in files.items()
        }
        return msgspec.structs.replace(manifest, schema_version=SCHEMA_VERSION, files=entries)
    except ValueError as error:
        raise BundleError(f"cannot write bundle {manifest.name}: {error}") from error


def _find(name_or_dir: str | Path) -> Path:
    if not isinstance(name_or_dir, str | os.PathLike):
        raise UsageError(f"model is {name_or_dir!r}: give the name of one, or the folder of one")
    if isinstance(name_or_dir, str) and name_or_dir in shipped_bundles():
        return MODELS_DIR / name_or_dir
    path = Path(name_or_dir)
    if str(name_or_dir).lower() in shipped_bundles() and not os.path.lexists(path):
        return MODELS_DIR / str(name_or_dir).lower()
    recover_folder(path)
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


def _read_capped(path: Path, max_bytes: int) -> bytes:
    """At most max_bytes + 1 bytes, so that a swapped-in giant is noticed but never loaded."""
    try:
        with open_regular(path) as file:
            return file.read(min(max_bytes, os.fstat(file.fileno()).st_size) + 1)
    except FileNotFoundError:
        raise BundleError(f"{path} is missing: restore the original bundle") from None
    except IrregularFileError as error:
        cure = "restore the original bundle"
        if error.is_link:
            cure = "put a copy of what it points to in its place"
        raise BundleError(f"cannot read {path}: {error}; {cure}") from None
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
