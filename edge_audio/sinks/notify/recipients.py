"""Who is told: addresses as Apprise has them, which are secrets as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_audio.errors import UsageError
from edge_audio.sinks.notify.config import NotifyConfig
from edge_audio.support.secrets import Secret, read_secrets

MAX_RECIPIENTS = 20
_LINE = re.compile(r"(?:([\w -]{1,40}?)\s*=\s*)?(([A-Za-z][A-Za-z0-9+.-]{0,40})://\S.*)")
_HINT = "an address of Apprise is like ntfy://TOPIC, and a line like NAME = ntfy://TOPIC"


@dataclass(frozen=True)
class Recipient:
    """name: as settings and people call it. service: the scheme of its address, such as ntfy."""

    name: str
    service: str
    url: Secret


def read_recipients(config: NotifyConfig) -> list[Recipient]:
    """Of the file or the environment, and of the settings. Those without a name are called by
    their service; those of one name are numbered. Raises UsageError, without any address."""
    lines = [*map(Secret, config.urls)]
    if config.urls_file is not None or config.urls_env is not None:
        lines = [*read_secrets(config.urls_env, config.urls_file), *lines]
    found: dict[str, Recipient] = {}
    for i, line in enumerate(lines, start=1):
        name, service, url = _taken_apart(line, i)
        name = next(free for free in _numbered(name or service) if free not in found)
        found[name] = Recipient(name, service, url)
    if len(found) > MAX_RECIPIENTS:
        raise UsageError(f"notify: more than {MAX_RECIPIENTS} addresses")
    if unknown := [name for name in config.recipients if name not in found]:
        names = ", ".join(found)
        raise UsageError(f"recipients under [notify]: nobody is called {unknown[0]!r}, but {names}")
    return list(found.values())


def require_all_known(recipients: Sequence[Recipient], is_known: Sequence[bool]) -> None:
    """Raises UsageError for an address that Apprise cannot use, without showing it."""
    for recipient, known in zip(recipients, is_known, strict=True):
        if not known:
            raise UsageError(
                f"notify: Apprise cannot use the address of {recipient.name} "
                f"({recipient.service}://...): https://appriseit.com has the forms of addresses"
            )


def _taken_apart(line: Secret, i: int) -> tuple[str | None, str, Secret]:
    match = _LINE.fullmatch(line.reveal().strip())
    if match is None or not match[2].isprintable():
        raise UsageError(f"notify: address {i} is none: {_HINT}")
    return match[1], match[3].lower(), Secret(match[2])


def _numbered(name: str) -> Iterator[str]:
    yield name
    for n in range(2, 1000):
        yield f"{name}-{n}"
