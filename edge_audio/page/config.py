"""Settings of the page."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from socket import gethostname
from urllib.parse import urlsplit

from msgspec.structs import force_setattr

from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.page.password import PasswordHash
from edge_audio.support.address import check_host, own_address
from edge_audio.support.paths import expand_fields
from edge_audio.support.secrets import read_secret

DEFAULT_PORT = 8470
MAX_OTHERS = 20
PASSWORD_VARIABLE = "EDGE_AUDIO_PAGE_PASSWORD"  # noqa: S105 - the name of one
_HINT = "make a hash of one by `edge-audio password --out FILE`, and name it as password_file"
_ORIGIN = re.compile(r"https?://[\w.:\[\]-]+")


class PageConfig(Spec, frozen=True):
    """A web page of the run. host: an address of this machine; the default one is heard by
    programs on this machine alone, and any other needs a password.

    password_file, password_env: where the hash of the password is; by default the variable
        EDGE_AUDIO_PAGE_PASSWORD, if it is set.
    path: below which a reverse proxy shows the page, such as /sounds. hosts: names by which
        browsers reach it through a proxy. frames: origins of pages that may show it in a frame.
    others: addresses of pages of other listeners, which this one links to.
    cert_file, key_file: for TLS. controls: whether settings may be changed there.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    password_file: str | None = None
    password_env: str | None = None
    path: str = ""
    hosts: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    cert_file: str | None = None
    key_file: str | None = None
    controls: bool = True

    def __post_init__(self) -> None:
        host, port = own_address(self.host, self.port, ("http", "https"), DEFAULT_PORT)
        force_setattr(self, "host", host)
        force_setattr(self, "port", port)
        expand_fields(self, "password_file", "cert_file", "key_file")
        self._check_names()
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if self.is_open_to_others and not self.has_password:
            raise ValueError(f"a page that others can reach needs a password: {_HINT}")

    def _check_names(self) -> None:
        path = self.path.rstrip("/")
        if path and not re.fullmatch(r"(/[\w.~-]+)+", path):
            raise ValueError("path must be like /sounds")
        force_setattr(self, "path", path)
        for host in self.hosts:
            check_host(host)
        for origin in self.frames:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"frames: {origin!r} is no origin such as https://home.local:8123")
        if len(self.others) > MAX_OTHERS:
            raise ValueError(f"others: at most {MAX_OTHERS}")
        force_setattr(self, "others", tuple(map(_other_page, self.others)))

    @property
    def name(self) -> str:
        """By which others in the network find this machine."""
        return gethostname() if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104

    @property
    def address(self) -> str:
        """Where a browser finds it, without a proxy."""
        scheme = "http" if self.cert_file is None else "https"
        host = self.name
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}{self.path}/"

    @property
    def is_open_to_others(self) -> bool:
        """Whether other machines may reach it, also through a proxy."""
        return bool(self.hosts) or not is_loopback(self.host)

    @property
    def has_password(self) -> bool:
        named = self.password_file is not None or self.password_env is not None
        return named or bool(os.environ.get(PASSWORD_VARIABLE))

    def read_password(self) -> PasswordHash | None:
        """None where none is set. Raises UsageError."""
        if not self.has_password:
            return None
        variable = self.password_env
        if variable is None and self.password_file is None:
            variable = PASSWORD_VARIABLE
        secret = read_secret(variable, self.password_file)
        assert secret is not None
        origin = self.password_file or f"the environment variable {variable}"
        try:
            return PasswordHash.parse(secret.reveal())
        except ValueError as error:
            raise UsageError(f"the password in {origin}: {error}; {_HINT}") from None


def _other_page(address: str) -> str:
    """The address of a page, with a slash at its end. Raises ValueError."""
    whole = f"{address.rstrip('/')}/"
    try:
        parts = urlsplit(whole)
        is_page = _ORIGIN.fullmatch(f"{parts.scheme}://{parts.netloc}") and parts.port != 0
    except ValueError:
        is_page = None
    if not is_page or not re.fullmatch(r"(/[\w.~-]+)*/", parts.path) or parts.query:
        raise ValueError(f"others: {address!r} is no page such as http://attic.local:8470")
    return whole


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach that address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
