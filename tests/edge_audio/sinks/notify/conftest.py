"""Servers and notifications that are closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_audio.sinks.notify.config import NotifyConfig
from edge_audio.sinks.notify.destination import NotifyDestination
from tests.edge_audio.sinks.notify.notify_parts import MakeNotify, MessageServer


@pytest.fixture
def serve() -> Iterator[Callable[..., MessageServer]]:
    made: list[MessageServer] = []

    def make(*statuses: int, **options: Any) -> MessageServer:
        made.append(MessageServer(*statuses, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def make_notify() -> Iterator[MakeNotify]:
    """Notifications that are tried again soon."""
    made: list[NotifyDestination] = []

    def make(*urls: str, destinations: Any = (), **settings: Any) -> NotifyDestination:
        config = NotifyConfig(**{"urls": urls, "backoff_s": 0.01, **settings})
        made.append(NotifyDestination(config, destinations))
        return made[-1]

    yield make
    for destination in made:
        destination.close()
