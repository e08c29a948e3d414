"""Metrics as Prometheus fetches them: real HTTP, read by its own parser."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.sinks.prometheus import MetricsConfig, MetricsDestination
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from tests.support.paths import REPOSITORY
from tests.support.peers import free_port

LABELS = ("Speech", "Siren", 'Bird "song"\n\\')
SCORES = np.array([0.25, 0.5, 0.75], np.float32)
Samples = dict[tuple[str, ...], float]
Open = Callable[..., MetricsDestination]


def stream(name: str = "kitchen") -> Stream:
    return Stream(name=name, labels=LABELS, sample_rate_hz=16_000, live=True)


@pytest.fixture
def open_destination() -> Iterator[Open]:
    opened: list[MetricsDestination] = []

    def make(port: int, *destinations: object) -> MetricsDestination:
        opened.append(MetricsDestination(MetricsConfig(port=port), destinations))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for destination in opened:
        destination.close()


def scrape(port: int) -> Samples:
    """(name, label, stream), or what there is of them -> value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        text = response.read().decode()
    return {
        (
            sample.name.removeprefix("edge_audio_"),
            *(sample.labels[name] for name in sorted(sample.labels)),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def named(name: str, samples: Samples) -> Samples:
    return {key[1:]: value for key, value in samples.items() if key[0] == name}


def test_the_docs_name_all_metrics_and_no_others(open_destination: Open) -> None:
    port = free_port()
    other = SimpleNamespace(name="mqtt", problem="")
    sink = open_destination(port, other).open(stream())
    sink.on_watch(LABELS)
    sink.on_audio(Block(np.zeros(160, np.float32), 0.0))
    sink.on_scores(0.01, SCORES)
    page = (REPOSITORY / "docs" / "sinks.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"\bedge_audio_(\w+)(?=[{\[ ])", page))
    found = {key[0] for key in scrape(port) if not key[0].startswith(("process_", "python_"))}
    assert documented == found


def test_starts_are_counted_by_label_and_stream(open_destination: Open) -> None:
    port = free_port()
    destination = open_destination(port)
    kitchen, yard = (destination.open(stream(name)) for name in ("kitchen", "yard"))
    for sink in (kitchen, yard):
        sink.on_watch(LABELS[:2])
    for _ in range(3):
        kitchen.on_event(Event("start", "Siren", 1.0, 0.75))
        kitchen.on_event(Event("end", "Siren", 2.0, 0.9))
    assert named("events_total", scrape(port)) == {
        ("Siren", "kitchen"): 3,
        ("Speech", "kitchen"): 0,
        ("Siren", "yard"): 0,
        ("Speech", "yard"): 0,
    }


def test_scores_are_the_latest_of_watched_labels(open_destination: Open) -> None:
    port = free_port()
    destination = open_destination(port)
    sink = destination.open(stream())
    sink.on_watch(LABELS[:2])
    assert named("score", scrape(port)) == {}
    scores = SCORES.copy()
    sink.on_scores(1.0, scores)
    scores[:] = 0.0  # as a runtime may do with its buffer
    expected = {("Speech", "kitchen"): 0.25, ("Siren", "kitchen"): 0.5}
    assert named("score", scrape(port)) == expected
    sink.on_watch(["Speech"])
    assert named("score", scrape(port)) == {("Speech", "kitchen"): 0.25}


def test_counters_are_those_of_the_stream_at_the_moment(open_destination: Open) -> None:
    port = free_port()
    destination = open_destination(port)
    heard = stream()
    destination.open(heard)
    source = SimpleNamespace(sample_rate_hz=16_000, n_restarts=3)
    for time_s in (0.0, 1.5):
        samples = np.full(16_000, 0.1, np.float32)
        heard.stats.count(Block(samples, time_s, 8_000, has_unknown_gap=True), source)
    found = scrape(port)
    assert found["audio_seconds_total", "kitchen"] == 2.0
    assert found["lost_seconds_total", "kitchen"] == 1.0
    assert found["unknown_gaps_total", "kitchen"] == 2
    assert found["restarts_total", "kitchen"] == 3
    assert found["level_dbfs", "kitchen"] == pytest.approx(-20.0, abs=0.01)
    assert found["cpu_seconds_per_audio_second", "kitchen"] >= 0.0
    assert found["process_resident_memory_bytes",] > 1e6


def test_problems_of_other_destinations_are_shown_while_they_last(open_destination: Open) -> None:
    port = free_port()
    other = SimpleNamespace(name="mqtt", problem="no connection")
    open_destination(port, other)
    assert named("destination_problem", scrape(port)) == {("mqtt",): 1}
    other.problem = ""
    assert named("destination_problem", scrape(port)) == {("mqtt",): 0}


@pytest.mark.parametrize("name", ['a"b\\', "line\nbreak", '"} 1\nfake 2', "é\u2028", "\udcff"])
def test_hostile_names_stay_values_of_labels(open_destination: Open, name: str) -> None:
    port = free_port()
    sink = open_destination(port).open(stream(name))
    sink.on_watch(LABELS)
    shown = name.encode(errors="replace").decode()
    found = scrape(port)
    assert set(named("events_total", found)) == {(label, shown) for label in LABELS}
    assert not any(key[0].startswith("fake") for key in found)


def test_only_this_machine_is_answered_and_nobody_after_close() -> None:
    port = free_port()
    destination = MetricsDestination(MetricsConfig(port=port))
    listening = [c.laddr for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"]
    assert [address for address in listening if address.port == port] == [("127.0.0.1", port)]
    scrape(port)
    destination.close()
    with pytest.raises(OSError, match="refused"):
        scrape(port)
    MetricsDestination(MetricsConfig(port=port)).close()  # as when settings are read again


def test_a_port_in_use_is_refused_with_what_to_change(open_destination: Open) -> None:
    port = free_port()
    open_destination(port)
    with pytest.raises(UsageError, match=rf"port {port} .* in use; choose another port"):
        open_destination(port)


def test_an_address_of_another_machine_is_refused() -> None:
    for host in ("192.0.2.1", "no.such.host.invalid"):
        with pytest.raises(UsageError, match="choose another port or host"):
            MetricsDestination(MetricsConfig(host=host, port=free_port()))


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"host": ""}, {"port": 0}, {"port": 65_536}, {"host": "a..b"}, {"host": "h:1:2"}):
        with pytest.raises(ValueError, match="must"):
            MetricsConfig(**wrong)


def test_a_port_may_stand_beside_the_host() -> None:
    for host in ("127.0.0.1:9401", "http://127.0.0.1:9401", "HTTP://127.0.0.1:9401/metrics"):
        config = MetricsConfig(host=host)
        assert (config.host, config.port) == ("127.0.0.1", 9401)
    assert MetricsConfig(host="[::1]:9402").host == "::1"
    with pytest.raises(ValueError, match=r"begin with http://.* not ftp://"):
        MetricsConfig(host="ftp://127.0.0.1")
    with pytest.raises(ValueError, match="keep one"):
        MetricsConfig(host="127.0.0.1:9401", port=9403)
