"""Network addresses as people write them."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

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


def check_host(host: str) -> None:
    """Raises ValueError unless it is a name or an address, without brackets or port."""
    is_plain = host and host.isprintable() and not re.search(r"[\s/@\[\]]", host)
    if not is_plain or (":" in host and not _is_ipv6(host)):
        examples = "broker.local, 10.0.0.1 or ::1"
        raise ValueError(f"host must be a name or an address, such as {examples}, not {host!r}")


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except AddressValueError:
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
