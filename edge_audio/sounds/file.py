"""The file of sounds that were taught: JSON with arrays in base64, under a hash.

It belongs to a network, whose bundles may be many: `fingerprint` is what that network makes of a
sound that never changes. Whatever is read here may be hostile: sizes are capped, decoding is
strict, nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from edge_audio.bundle.rows import HeadRows
from edge_audio.bundle.spec import SENSITIVITIES, Sensitivity, Spec, Threshold
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.sounds.embeddings import from_bytes
from edge_audio.support.arrays import FloatArray
from edge_audio.support.files import errors_for_people, write_atomically
from edge_audio.support.locks import Lock, LockedError
from edge_audio.support.text import check_name, one_line

VERSION = 1
MAX_BYTES = 64 << 20
MAX_SOUNDS = 256
MAX_DIM = 8192
_MAX_REASON_CHARS = 200
_MOST = 1e30  # float32 holds it
_WAIT_S = 120.0  # for others that change the file
_CURE = "restore a copy, or learn the sounds again"


class Take(Spec, frozen=True, kw_only=True):
    """One time that the sound was heard, or that another was (`--not`).

    source: the recording's name. start_s, end_s: within it. steps: embeddings of the steps that
    the sound is in, `edge_audio.sounds.embeddings`. changed: the same of the take at other levels,
    speeds and rooms.
    """

    source: str
    start_s: float
    end_s: float
    steps: bytes
    changed: bytes = b""

    def __post_init__(self) -> None:
        if not 0.0 <= self.start_s <= self.end_s < math.inf:
            raise ValueError("need 0 <= start_s <= end_s")


class Evidence(Spec, frozen=True):
    """How sure one may be: n_found of n_tried takes are found where they did not teach (leave one
    out), at so many false alarms per hour; negative_h: of the user's own audio, that thresholds
    rest on beside the model's negatives."""

    n_tried: int = 0
    n_found: int = 0
    alarms_per_hour: float = 1.0
    negative_h: float = 0.0


class Sound(Spec, frozen=True, kw_only=True):
    """A label that was taught: a row on the embedding, see `HeadRows`, and what it came of.

    parent: the label of the model that it is a kind of, "" if none. weight: int8[embedding_dim].
    others: what it is not. background: embeddings of the user's own audio without it. nearest:
    pairs of successive ones in the hours of it, where they come nearest to the sound.
    """

    name: str
    parent: str = ""
    weight: bytes
    scale: float
    bias: float
    thresholds: dict[Sensitivity, Threshold]
    takes: tuple[Take, ...]
    others: tuple[Take, ...] = ()
    background: bytes = b""
    nearest: bytes = b""
    evidence: Evidence = Evidence()

    def __post_init__(self) -> None:
        check_name(self.name, "name")
        if self.parent:
            check_name(self.parent, "parent")
        if not (0.0 < self.scale < _MOST and abs(self.bias) < _MOST):
            raise ValueError(f"scale and bias must be below {_MOST:g}, scale positive")
        if self.thresholds.keys() != set(SENSITIVITIES):
            raise ValueError(f"thresholds must be at {', '.join(SENSITIVITIES)}")


class Sounds(Spec, frozen=True, kw_only=True):
    """All that one file holds. fingerprint: f32[embedding_dim]."""

    version: int = VERSION
    embedding_dim: int
    fingerprint: bytes
    sounds: tuple[Sound, ...] = ()

    def __post_init__(self) -> None:
        dim = self.embedding_dim
        if not 1 <= dim <= MAX_DIM or len(self.fingerprint) != 4 * dim:
            raise ValueError("embedding_dim does not fit the fingerprint")
        if len(self.sounds) > MAX_SOUNDS:
            raise ValueError(f"more than {MAX_SOUNDS} sounds")
        names = [sound.name.casefold() for sound in self.sounds]
        if len(set(names)) != len(names):
            raise ValueError("names must be unique")
        for sound in self.sounds:
            if len(sound.weight) != dim:
                raise ValueError(f"{sound.name} has {len(sound.weight)} weights, not {dim}")
            for take in (*sound.takes, *sound.others):
                from_bytes(take.steps + take.changed, dim)
            from_bytes(sound.background, dim)
            if len(from_bytes(sound.nearest, dim)) % 2:
                raise ValueError(f"{sound.name} has an odd number of nearest embeddings")
        if not np.isfinite(self.network).all():
            raise ValueError("the fingerprint must be finite")

    @property
    def network(self) -> FloatArray:
        """The fingerprint f32[embedding_dim]."""
        return np.frombuffer(self.fingerprint, "<f4").astype(np.float32)

    def rows(self) -> HeadRows:
        """What a bundle takes, see `Bundle.with_rows`."""
        weights = b"".join(sound.weight for sound in self.sounds)
        return HeadRows(
            labels=tuple(sound.name for sound in self.sounds),
            weight=np.frombuffer(weights, np.int8).reshape(-1, self.embedding_dim),
            scale=np.array([sound.scale for sound in self.sounds], np.float32),
            bias=np.array([sound.bias for sound in self.sounds], np.float32),
            fingerprint=self.network,
            thresholds={sound.name: sound.thresholds for sound in self.sounds},
            parents={sound.name: sound.parent for sound in self.sounds if sound.parent},
        )

    def find(self, name: str) -> Sound:
        """Regardless of case. Raises UsageError, with those that are there."""
        for sound in self.sounds:
            if sound.name.casefold() == name.casefold():
                return sound
        known = ", ".join(sound.name for sound in self.sounds) or "none"
        raise UsageError(f"no sound {name!r} was learned: there are {known}")

    def has(self, name: str) -> bool:
        """Regardless of case."""
        return any(sound.name.casefold() == name.casefold() for sound in self.sounds)

    def with_sound(self, new: Sound) -> Sounds:
        """With one more, or in the place of that of its name; all others as they are. Raises
        UsageError where there are MAX_SOUNDS."""
        if len(self.sounds) >= MAX_SOUNDS and not self.has(new.name):
            raise UsageError(
                f"there are {MAX_SOUNDS} sounds already: `edge-audio sounds remove` one, or begin "
                "another file"
            )
        is_same = [sound.name.casefold() == new.name.casefold() for sound in self.sounds]
        kept = [new if same else old for old, same in zip(self.sounds, is_same, strict=True)]
        return msgspec.structs.replace(self, sounds=tuple(kept if any(is_same) else [*kept, new]))

    def renamed(self, name: str, new_name: str) -> Sounds:
        """Raises UsageError if it is not there, or the new name is taken or cannot be shown."""
        old, new_name = self.find(name), new_name.strip()
        if self.has(new_name) and new_name.casefold() != old.name.casefold():
            raise UsageError(f"there is a sound {new_name!r} already: choose another name")
        try:
            new = msgspec.structs.replace(old, name=new_name)
        except ValueError as error:
            raise UsageError(str(error)) from error
        kept = [new if sound is old else sound for sound in self.sounds]
        return msgspec.structs.replace(self, sounds=tuple(kept))

    def without(self, name: str) -> Sounds:
        """Raises UsageError if it is not there."""
        gone = self.find(name)
        kept = tuple(sound for sound in self.sounds if sound is not gone)
        return msgspec.structs.replace(self, sounds=kept)


class _File(Spec, frozen=True, kw_only=True):
    """sha256: of `sounds` as msgspec encodes them."""

    edge_audio_sounds: int
    sha256: str
    sounds: Sounds


class _Head(msgspec.Struct):
    edge_audio_sounds: int


def empty(fingerprint: FloatArray) -> Sounds:
    """A file without sounds, for the network of this fingerprint f32[embedding_dim]."""
    return Sounds(
        embedding_dim=len(fingerprint), fingerprint=np.asarray(fingerprint, "<f4").tobytes()
    )


def encode(sounds: Sounds) -> bytes:
    """The content of a file."""
    file = _File(edge_audio_sounds=VERSION, sha256=_sha256(sounds), sounds=sounds)
    return msgspec.json.encode(file) + b"\n"


def write_sounds(path: Path, sounds: Sounds) -> None:
    """Whole or not at all: whatever interrupts it, the older file stays. Raises EdgeAudioError."""
    write_atomically(path, encode(sounds))


@contextlib.contextmanager
def changing(path: Path) -> Iterator[None]:
    """What reads the file, changes it and writes it does so in here: others that do wait until
    then, so that nothing of theirs is lost. Raises EdgeAudioError where nothing can be written, or
    after _WAIT_S."""
    try:
        with errors_for_people(path):
            lock = Lock(path.with_name(f".{path.name}.lock"), _WAIT_S)
    except LockedError as error:
        raise EdgeAudioError(
            f"another edge-audio has been changing {path} for {_WAIT_S:g} s: try again after it"
        ) from error
    try:
        yield
    finally:
        lock.release()


def read_sounds(path: str | Path) -> Sounds:
    """Raises UsageError if there is no file, EdgeAudioError for one that is damaged, of a newer
    version or no such file."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise EdgeAudioError(f"{path} is larger than {MAX_BYTES >> 20} MiB: no sounds file")
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}; `edge-audio learn` makes one") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    return decode(content, str(path))


def decode(content: bytes, name: str) -> Sounds:
    """What `encode` made. Raises EdgeAudioError, which begins with the name."""
    try:
        version = msgspec.json.decode(content, type=_Head).edge_audio_sounds
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = one_line(str(error), _MAX_REASON_CHARS)
        raise EdgeAudioError(f"{name} is no sounds file, or cut off: {reason}; {_CURE}") from error
    if version != VERSION:
        raise EdgeAudioError(
            f"{name} is of version {one_line(str(version), 20)}, this edge-audio reads {VERSION}: "
            "update edge-audio"
        )
    try:
        file = msgspec.json.decode(content, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = one_line(str(error), _MAX_REASON_CHARS)
        raise EdgeAudioError(f"{name} is damaged: {reason}; {_CURE}") from error
    if _sha256(file.sounds) != file.sha256:
        raise EdgeAudioError(f"{name} was altered: its hash is another; {_CURE}")
    return file.sounds


def _sha256(sounds: Sounds) -> str:
    return hashlib.sha256(msgspec.json.encode(sounds)).hexdigest()
