"""Settings and names at random: any are taken, or refused in one line; nothing else is raised.

EDGE_AUDIO_FUZZ_S=600 make test ARGS='-k settings_fuzz'    # as long as wished
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_audio.archive.job import FileTags
from edge_audio.archive.writers import WRITERS
from edge_audio.cli.listen_options import Flags
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.listening.config import Config, SourceConfig
from edge_audio.listening.example import EXAMPLE
from edge_audio.listening.settings_file import SettingsFile, load_config
from edge_audio.sinks.base import TopLabels
from edge_audio.sinks.console import ConsoleSink
from edge_audio.sinks.jsonl import JsonLinesSink
from edge_audio.sinks.log_reader import SessionLog
from edge_audio.sinks.segments import Segment
from edge_audio.sources.stream import Stream
from edge_audio.support.slugs import Slugs, file_slug, topic_slug, unique_slug
from tests.support.fuzzing import FUZZ_S

pytestmark = pytest.mark.timeout(60 + 4 * FUZZ_S)
PIECES = (
    *("~", "$HOME", "${NO}", "$", "/", "://", "mqtt://", "HTTP://", "rtsp://", "serial:", "[::1]:"),
    *("@", ":", "1883", "..", "\0", "\n", "\t", "\x1b[31m", "\udcff", "\u2028", "\u202e", " "),
    *("кухня", "🏠", "Ω", "a", "Status", "-", "--json", "mic", "DEMO", "inf", "nan", "-1", "1e999"),
    *("'", '"', "#", "=", "{", "]", "a" * 300),
)
VALUES = ("inf", "nan", "-1", "0", "1e308", "99999999999999999999", "true", "[]", "{}", '""', "1.5")


def a_while(seed: str, share: float) -> Iterator[random.Random]:
    """Random numbers for one input after the other, until a share of the time is over."""
    rng, end_s = random.Random(seed), time.monotonic() + share * FUZZ_S
    while time.monotonic() < end_s:
        yield rng


def name(rng: random.Random) -> str:
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 5)))


def changed(rng: random.Random) -> str:
    """The template with some marks taken away, some values replaced and some lines damaged."""
    lines = EXAMPLE.splitlines()
    for _ in range(rng.randrange(1, 12)):
        i = rng.randrange(len(lines))
        lines[i] = lines[i].removeprefix("# ")
        head, equals, _ = lines[i].partition("=")
        if equals and rng.random() < 0.6:
            text = json.dumps(name(rng), ensure_ascii=False)
            lines[i] = f"{head}= {rng.choice([*VALUES, text, text])}"
        elif rng.random() < 0.1:
            lines[i] = name(rng)
    return "\n".join(lines)


def test_any_change_of_the_template_is_taken_or_refused_with_its_line(tmp_path: Path) -> None:
    path, n_taken = tmp_path / "home.toml", 0
    for rng in a_while("settings", 0.5):
        path.write_bytes(changed(rng).encode("utf-8", "surrogatepass"))
        config, refusal = None, "home.toml:0: "
        try:
            config = SettingsFile(path).read()
        except UsageError as error:
            refusal = str(error)
        assert re.match(r".*home\.toml:\d+: ", refusal), refusal
        if config is None:
            continue
        n_taken += 1
        assert len(set(config.names)) == len(config.names)
        assert isinstance(load_config(path), Config)
    assert n_taken


def test_any_text_of_a_flag_is_taken_or_refused() -> None:
    flags = ("json_path", "mqtt_address", "webhook_url", "clips_folder", "metrics_address")
    for rng in a_while("flags", 0.5):
        flag = rng.choice([*flags, "sources", "model"])
        value = (name(rng), name(rng)) if flag == "sources" else name(rng)
        values = {"device": None, flag: value}
        try:
            config = Flags(values, frozenset({flag})).over(Config(reconnect=False))
        except UsageError:
            continue
        assert all(shown.isprintable() or shown for shown in config.names)


def test_any_name_keeps_to_its_line_and_its_topic(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for rng in a_while("names", 0.5):
        label = name(rng)
        taken = [Slugs(topic_slug, ("status",))(label), Slugs(file_slug)(label), unique_slug(label)]
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", slug) for slug in taken)
        tags = FileTags(path=label, segments=[Segment(0.0, 1.0, label, 0.5)])
        for kind in ("audacity", "jsonl"):
            out = io.StringIO()
            WRITERS[kind](out).write(tags)
            assert len(out.getvalue().splitlines()) == 1
        stream = Stream(label, [label], 16_000, live=False)
        top = TopLabels([label], 1)
        for sink, out in (
            (JsonLinesSink(text := io.StringIO(), stream, top), text),
            (ConsoleSink(text := io.StringIO(), top, label), text),
        ):
            sink.on_event(Event("start", label, 0.5, 0.5))
            sink.on_scores(1.0, np.ones(1, np.float32))
            assert len(out.getvalue().splitlines()) == 2
        log.write_bytes(os.fsencode(label))
        session = SessionLog([log])
        assert list(session) == []


def test_names_of_sources_are_one_line() -> None:
    for rng in a_while("sources", 0.2):
        try:
            shown = SourceConfig(url=name(rng), name=rng.choice(["", name(rng)])).shown_name
        except ValueError:
            continue
        assert len(shown) <= 200
        assert not set(shown) & set("\n\0\x1b\u2028\udcff")
