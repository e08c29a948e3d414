"""Keeps events in a database of one's own: python own_sink.py street.wav sounds.sqlite"""

import sqlite3
import sys
from functools import partial

from edge_audio import EdgeAudioError, Event, PolicySpec, Tagger, load_bundle, open_backend
from edge_audio.listening.audio_hearing import AudioHearing
from edge_audio.listening.fan_out import FanOut
from edge_audio.listening.hearing import Wanted
from edge_audio.listening.listener import Listener
from edge_audio.sinks.base import Sink
from edge_audio.sources.audio_file import AudioFile
from edge_audio.sources.stream import Stream


class DatabaseSink(Sink):
    """A row for each event. `on_audio`, `on_scores` and `on_notice` are there to override, too."""

    def __init__(self, stream: Stream, database: sqlite3.Connection) -> None:
        self._stream, self._database = stream, database

    def on_event(self, event: Event) -> None:
        row = (self._stream.name, event.time_s, event.kind, event.label, event.score)
        self._database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", row)


def main(path: str, database_path: str) -> None:
    bundle = load_bundle("tiny-int8")
    tagger = partial(Tagger, bundle, open_backend(bundle))
    hearing = AudioHearing(path, AudioFile(path), bundle, tagger)
    with hearing, sqlite3.connect(database_path) as database:  # which commits
        database.execute("CREATE TABLE IF NOT EXISTS events (stream, time_s, kind, label, score)")
        hearing.begin(Wanted(hearing.default_events))
        sink = FanOut([DatabaseSink(hearing.stream, database)])
        listener = Listener(hearing, sink, PolicySpec())  # one sound, one event
        for block in hearing.source.blocks():
            listener.hear(block)
        listener.finish()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2])
    except (EdgeAudioError, sqlite3.Error) as error:
        sys.exit(str(error))
