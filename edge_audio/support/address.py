"""Network addresses as people write them."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from ipaddress import AddressValueError, IPv6Address
from typing import Any

from edge_audio.errors import UsageError

MAX_PORT = 65_535


def parse_address(text: str) -> tuple[str, int | None]:
    """'broker.local' -> ('broker.local', None); '10.0.0.1:1883' -> ('10.0.0.1', 1883);
    '[::1]:1883' -> ('::1', 1883); '::1' -> ('::1', None). Raises ValueError with what is wrong."""
    host, port = _parts(text)
    check_host(host)
    if port is None:
        return host, None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= MAX_PORT:
        raise ValueError(f"{text!r}: the port is no number within 1 and {MAX_PORT}")
    return host, int(port)


def split_scheme(text: str, schemes: Collection[str]) -> tuple[str, str]:
    """'MQTT://broker.local/' -> ('mqtt', 'broker.local'); without a scheme ('', text). Raises
    ValueError, which names the schemes that exist, for another one; nothing of a password is in
    it."""
    scheme, has_one, rest = text.partition("://")
    if "@" in text:
        raise ValueError("must have no user and password in it: they have settings of their own")
    if not has_one:
        return "", text
    if scheme.lower() not in schemes:
        known = " or ".join(f"{name}://" for name in schemes)
        raise ValueError(f"must begin with {known}, or have no such beginning, not {scheme}://")
    return scheme.lower(), rest.rstrip("/")


def take_host_apart(
    host: str, port: int | None, schemes: Collection[str], default_port: int | None = None
) -> tuple[str, str, int | None]:
    """(scheme, host, port) of the settings `host`, beside which a scheme of `schemes` and a port
    may stand, and `port`, which is default_port where nobody set it. Raises ValueError, with the
    name of the setting."""
    try:
        scheme, rest = split_scheme(host, schemes)
        name, beside = parse_address(rest)
    except ValueError as error:
        raise ValueError(error if "host " in str(error) else f"host {error}") from None
    if beside is not None and port not in (default_port, beside):
        raise ValueError(f"host says port {beside}, and port says {port}: keep one")
    return scheme, name, port if beside is None else beside


def own_address(
    host: str, port: int, schemes: Collection[str], default_port: int
) -> tuple[str, int]:
    """(host, port) of the settings of a server on this machine, as `take_host_apart` reads them.
    Raises ValueError."""
    if not host:
        raise ValueError("host must not be empty: 127.0.0.1 for this machine, 0.0.0.0 for all")
    _, host, beside = take_host_apart(host, port, schemes, default_port)
    port = port if beside is None else beside
    if not 1 <= port <= MAX_PORT:
        raise ValueError(f"port must be within 1 and {MAX_PORT}")
    return host, port


def check_known(host: str, port: int) -> None:
    """Asks the system for the addresses of a host, which may take seconds. Raises UsageError if
    it knows none."""
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UsageError(f"no address is known of the host {host!r}: {reason}") from error


def resolved(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    """(family, address) for a socket of TCP to bind to. Raises OSError or UnicodeError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return found[0][0], found[0][4]


def check_own(host: str) -> None:
    """Whether a server of this machine can be at this address, whatever the port. Raises
    UsageError."""
    try:
        family, address = resolved(host, 0)
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot answer at {host!r}: {reason}; name another host") from error


def check_host(host: str) -> None:
    """Raises ValueError unless it is a name or an address, without brackets or port."""
    is_plain = host and host.isprintable() and not re.search(r"[\s/@\[\]]", host)
    if not is_plain or (":" in host and not _is_ipv6(host)) or not _is_name(host):
        examples = "broker.local, 10.0.0.1 or ::1"
        raise ValueError(f"host must be a name or an address, such as {examples}, not {host!r}")


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except AddressValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    """Whether the parts of a name have the lengths that names may have."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _parts(text: str) -> tuple[str, str | None]:
    """(host, port) as far as brackets and colons tell."""
    if match := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", text):
        return match[1], match[2]
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None  # without brackets more colons are all of an IPv6 address
