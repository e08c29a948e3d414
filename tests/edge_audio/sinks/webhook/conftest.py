"""Web servers and destinations that are closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_audio.sinks.webhook.destination import WebhookConfig, WebhookDestination
from tests.edge_audio.sinks.webhook.webhook_parts import MakeDestination, Reply, WebServer


@pytest.fixture
def serve() -> Iterator[Callable[..., WebServer]]:
    made: list[WebServer] = []

    def make(*replies: Reply, **options: Any) -> WebServer:
        made.append(WebServer(*replies, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def make_destination() -> Iterator[MakeDestination]:
    """Destinations that try again soon, and are closed after the test."""
    made: list[WebhookDestination] = []

    def make(url: str, **settings: Any) -> WebhookDestination:
        made.append(
            WebhookDestination(WebhookConfig(**{"url": url, "backoff_s": 0.01, **settings}))
        )
        return made[-1]

    yield make
    for destination in made:
        destination.close()
