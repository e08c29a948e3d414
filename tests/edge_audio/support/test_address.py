"""HOST[:PORT] as people write it, IPv6 included."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_audio.support.address import check_host, parse_address

ADDRESSES = st.ip_addresses(v=6).map(str)
PORTS = st.integers(1, 65_535)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("broker.local", "broker.local", None),
        ("broker_1:1883", "broker_1", 1883),
        ("10.0.0.1:1", "10.0.0.1", 1),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[::1]:1883", "::1", 1883),
        ("[fe80::1%eth0]:8883", "fe80::1%eth0", 8883),
    ],
)
def test_host_and_port_are_told_apart(text: str, host: str, port: int | None) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":1883", "[]:1883", "host:", "host:eighty", "host:0", "host:65536", "host:1:2"),
        *("[::1", "::1]", "[::1]1883", "[host]:x", "[::1]:", "a b", "a\tb:1", "tcp://host:1"),
        *("host:١٨٨٣", "1::2::3", "user@host", "a\x1b[2J"),
    ],
)
def test_what_is_no_address_is_refused_with_what_was_written(text: str) -> None:
    with pytest.raises(ValueError, match=r"'|\"") as caught:
        parse_address(text)
    assert str(caught.value).isprintable()


@given(ADDRESSES, PORTS)
def test_any_ipv6_address_is_read_with_and_without_port(host: str, port: int) -> None:
    assert parse_address(host) == (host, None)
    assert parse_address(f"[{host}]:{port}") == (host, port)
    check_host(host)
    assert ipaddress.ip_address(parse_address(f"[{host}]")[0]).version == 6


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        host, port = parse_address(text)
    except ValueError:
        return
    check_host(host)
    assert port is None or 1 <= port <= 65_535
