"""Passwords as hashes: what a file or the environment holds says nothing of the password."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

_N, _R, _P = 1 << 14, 8, 1  # of scrypt: 16 MiB and about 0.1 s on a small board
_MAX_N, _MAX_R, _MAX_P = 1 << 17, 16, 4
_SALT_BYTES, _HASH_BYTES = 16, 32
MIN_CHARS = 8
MAX_CHARS = 1024
_FORM = re.compile(
    r"scrypt\$(\d{1,6})\$(\d{1,2})\$(\d)\$([A-Za-z0-9+/=]{8,100})\$([A-Za-z0-9+/=]+)"
)


@dataclass(frozen=True)
class PasswordHash:
    """What a password is compared with: scrypt (RFC 7914) with its costs and salt."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str, n: int = _N) -> PasswordHash:
        """Of a new password. n: cost, a power of two. Raises ValueError for one that is too short
        or long."""
        if not MIN_CHARS <= len(password) <= MAX_CHARS:
            raise ValueError(f"a password has {MIN_CHARS} to {MAX_CHARS} characters")
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(n, _R, _P, salt, _scrypt(password, n, _R, _P, salt, _HASH_BYTES))

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Raises ValueError for what `str` of one never was."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError("it is no hash")
        n, r, p = (int(part) for part in match.group(1, 2, 3))
        is_cheap = 1 < n <= _MAX_N and 1 <= r <= _MAX_R and 1 <= p <= _MAX_P
        if not is_cheap or n & (n - 1):
            raise ValueError("it has costs that no hash of edge-audio has")
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in match.group(4, 5))
        except binascii.Error:
            raise ValueError("it is cut short") from None
        if not 16 <= len(digest) <= 64:
            raise ValueError("it is cut short")
        return cls(n, r, p, salt, digest)

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(part).decode() for part in (self.salt, self.digest))
        return f"scrypt${self.n}${self.r}${self.p}${salt}${digest}"

    def __repr__(self) -> str:
        return "PasswordHash(...)"

    def fits(self, password: str) -> bool:
        """Whether that is the password; takes as long for any."""
        shown = password[:MAX_CHARS].encode("utf-8", "replace").decode()
        digest = _scrypt(shown, self.n, self.r, self.p, self.salt, len(self.digest))
        return hmac.compare_digest(digest, self.digest)


def _scrypt(password: str, n: int, r: int, p: int, salt: bytes, n_bytes: int) -> bytes:
    memory = 128 * r * (n + p) + (1 << 20)
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=n_bytes)
