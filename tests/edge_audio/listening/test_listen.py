"""`edge_audio.listen`: events as they come, for loops, coroutines and callbacks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_audio import Event, Listening, listen, tag
from edge_audio.bundle.store import Bundle
from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block
from tests.support import toy

SAMPLES = toy.noise(160_000, seed=3)
PATIENCE_S = 20.0
SOON_S = 10.0  # on a busy machine; what it waits for would not end at all

Open = Callable[..., Listening]

pytestmark = pytest.mark.usefixtures("computed_by_numpy")


@pytest.fixture
def hear(toy_bundle: Bundle) -> Open:
    """`listen` with the toy."""
    return lambda source, **settings: listen(source, model=toy_bundle.path, **settings)


@pytest.fixture
def expected(toy_bundle: Bundle) -> list[Event]:
    events = list(tag(SAMPLES, 16_000, model=toy_bundle.path).events)
    assert len(events) > 10
    return events


class Endless:
    """A source that repeats the samples until it is stopped; `is_open` as long as it is."""

    name, live, waits, max_burst_s, n_restarts = "endless", True, True, 0.0, 0
    sample_rate_hz = 16_000

    def __init__(self, error: Exception | None = None) -> None:
        self.is_open = False
        self._stopped, self._error = threading.Event(), error

    def __enter__(self) -> Endless:
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False

    def stop(self) -> None:
        self._stopped.set()

    def blocks(self) -> Iterator[Block]:
        samples = SAMPLES.astype(np.float32) / np.float32(32_768)
        time_s = 0.0
        while not self._stopped.is_set():
            yield Block(samples, time_s)
            time_s += len(samples) / 16_000
            if self._error:
                raise self._error
            self._stopped.wait(0.02)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_a_file_gives_the_events_that_tagging_it_gives(
    hear: Open, expected: list[Event], tmp_path: Path
) -> None:
    path = tmp_path / "street.wav"
    soundfile.write(path, SAMPLES, 16_000)
    assert list(hear(path)) == expected
    assert list(hear(str(path), duration_s=0.4))[-1].time_s == 0.4


def test_any_iterable_of_samples_is_a_source(
    hear: Open, expected: list[Event], toy_bundle: Bundle
) -> None:
    chunks = (SAMPLES[i : i + 1_000] for i in range(0, len(SAMPLES), 1_000))
    assert list(hear(chunks)) == expected
    assert list(hear(SAMPLES)) == expected
    fast = np.stack([np.repeat(SAMPLES, 2)] * 2, 1)
    found = list(hear([fast[:3], fast[3:]], rate_hz=32_000))
    assert found == list(tag(fast, 32_000, model=toy_bundle.path).events)


def test_steps_bring_the_scores_as_well(hear: Open, expected: list[Event]) -> None:
    listening = hear(SAMPLES)
    steps = list(listening.steps())
    assert [event for step in steps for event in step.events] == expected
    assert {step.scores.shape for step in steps} == {(toy.N_LABELS,)}
    assert listening.tagger.top(1)[0][0].startswith("Band")


def test_the_settings_are_those_of_a_tagger(hear: Open, expected: list[Event]) -> None:
    label = expected[0].label
    assert {event.label for event in hear(SAMPLES, only=label)} == {label}
    assert list(hear(SAMPLES, threshold=1.0)) == []


@pytest.mark.parametrize(
    ("source", "settings", "hint"),
    [
        ("street.wav", {"rate_hz": 16_000}, "leave out rate_hz"),
        ([], {"device": "usb"}, "leave out the source"),
        ([], {"rate_hz": "fast"}, "rate_hz is 'fast'"),
        ([], {"only": "Nothing"}, "'Nothing'"),
        ([], {"gate_dbfs": 3.0}, "gate"),
        ([], {"policy": "first"}, "policy is 'first'"),
        ("street.wav", {"device": "usb"}, "leave out the source"),
        ("serial:/dev/ttyACM0", {}, "edge-audio listen --source serial:/dev/ttyACM0"),
        (None, {}, "source is NoneType"),
        ([], {"duration_s": "5"}, "duration_s is '5'"),
        ([], {"duration_s": float("nan")}, "duration_s is nan"),
        ([], {"duration_s": -1}, "duration_s is -1"),
    ],
)
def test_wrong_settings_are_told_at_once(
    hear: Open, source: Any, settings: dict[str, Any], hint: str
) -> None:
    with pytest.raises(UsageError, match=hint):
        hear(source, **settings)


@pytest.mark.parametrize("chunk", [np.zeros((2, 2)), np.zeros(9, np.int64), None, "audio"])
def test_chunks_that_are_no_samples_are_one_clear_error(hear: Open, chunk: Any) -> None:
    with pytest.raises(UsageError, match=r"shape|int16"):
        list(hear([chunk]))


def test_a_file_that_is_not_there_is_told_by_the_first_event(hear: Open) -> None:
    with pytest.raises(UsageError, match="no such audio file"):
        next(hear("none.wav"))


def test_a_source_that_breaks_ends_its_events_first(hear: Open) -> None:
    source = Endless(SourceError("unplugged"))
    found: list[Event] = []
    with pytest.raises(SourceError, match="unplugged"):
        hear(source).run(on_event=found.append)
    assert found
    assert [event.kind for event in found].count("start") == len(found) / 2
    assert not source.is_open


def test_what_an_iterable_raises_reaches_the_loop(hear: Open) -> None:
    def chunks() -> Iterator[np.ndarray]:
        yield SAMPLES
        raise RuntimeError("camera gone")

    with pytest.raises(RuntimeError, match="camera gone"):
        list(hear(chunks()))


def test_leaving_a_with_statement_closes_the_source(hear: Open) -> None:
    source = Endless()
    with hear(source) as listening:
        assert next(listening).kind == "start"
        assert source.is_open
    assert not source.is_open
    assert "feed" not in threads()
    with pytest.raises(
        UsageError, match=r"this listening is closed: call edge_audio\.listen again"
    ):
        next(listening)
    listening.close()


def test_stop_ends_a_loop_from_another_thread(hear: Open) -> None:
    source = Endless()
    listening = hear(source)
    threading.Timer(0.2, listening.stop).start()
    found = list(listening)  # would never end by itself
    assert [event.kind for event in found].count("start") == len(found) / 2  # all ended
    assert not source.is_open


def test_a_second_thread_is_refused_and_the_first_hears_on(
    hear: Open, expected: list[Event]
) -> None:
    found: list[Event] = []
    came, go_on = threading.Event(), threading.Event()

    def keep(event: Event) -> None:
        found.append(event)
        came.set()
        assert go_on.wait(PATIENCE_S)

    listening = hear(SAMPLES).start(on_event=keep)
    assert came.wait(PATIENCE_S)
    for use in (lambda: next(listening), lambda: next(listening.steps())):
        with pytest.raises(UsageError, match="in use by another thread"):
            use()
    with pytest.raises(UsageError, match="has started already"):
        listening.start()
    go_on.set()
    assert listening.wait(PATIENCE_S)
    assert found == expected


def test_callbacks_hear_everything_in_this_thread_or_another(
    hear: Open, expected: list[Event]
) -> None:
    found: list[Event] = []
    steps: list[float] = []
    hear(SAMPLES).run(on_event=found.append, on_step=lambda step: steps.append(step.time_s))
    assert found == expected
    assert steps == sorted(steps)
    found.clear()
    ended = threading.Event()
    listening = hear(SAMPLES).start(on_event=found.append, on_end=ended.set)
    assert listening.wait(PATIENCE_S)
    assert ended.is_set()
    assert found == expected


def test_what_a_callback_raises_ends_it_and_is_not_lost(hear: Open) -> None:
    def fail(event: Event) -> None:
        raise ZeroDivisionError

    source = Endless()
    with pytest.raises(ZeroDivisionError):
        hear(source).run(on_event=fail)
    assert not source.is_open
    source = Endless()
    listening = hear(source).start(on_event=fail)
    with pytest.raises(ZeroDivisionError):
        listening.wait(PATIENCE_S)
    assert not source.is_open


def test_a_callback_that_waits_for_its_own_end_is_one_clear_error(hear: Open) -> None:
    listening = hear(SAMPLES)
    listening.start(on_event=lambda event: listening.wait())
    with pytest.raises(UsageError, match="a callback cannot wait for its own end"):
        listening.wait(SOON_S)


def test_a_thread_that_listens_ends_with_its_with_statement(hear: Open) -> None:
    source, came = Endless(), threading.Event()
    with hear(source).start(on_event=lambda event: came.set()):
        assert came.wait(PATIENCE_S)
    assert not source.is_open
    assert not {"listening", "feed"} & threads()


def test_async_for_gives_the_same_events(hear: Open, expected: list[Event]) -> None:
    async def main() -> list[Event]:
        return [event async for event in hear(SAMPLES)]

    assert asyncio.run(main()) == expected


def test_async_for_raises_what_the_source_does(hear: Open) -> None:
    async def main() -> None:
        async for _ in hear(Endless(SourceError("unplugged"))):
            pass

    with pytest.raises(SourceError, match="unplugged"):
        asyncio.run(main())


def test_a_cancelled_task_closes_the_source_before_it_ends(hear: Open) -> None:
    source = Endless()

    async def count() -> None:
        async for _ in hear(source):
            pass

    async def main() -> None:
        task = asyncio.create_task(count())
        while not source.is_open:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # the loop goes on meanwhile
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, SOON_S)
        assert not source.is_open
        assert not {"listening", "feed"} & threads()

    asyncio.run(main())


def test_a_loop_that_is_left_early_closes_the_source(hear: Open) -> None:
    source = Endless()

    async def main() -> None:
        async for event in hear(source):
            assert event.kind == "start"
            break

    asyncio.run(main())
    assert not source.is_open
    assert not {"listening", "feed"} & threads()


def test_leaving_an_async_with_statement_closes_the_source_before_the_program_goes_on(
    hear: Open,
) -> None:
    source = Endless()

    async def main() -> None:
        async with hear(source) as events:
            async for event in events:
                assert event.kind == "start"
                break
        assert not source.is_open
        assert not {"listening", "feed"} & threads()
        async with hear(SAMPLES):
            pass  # nothing was asked for

    asyncio.run(main())


def test_several_streams_are_awaited_beside_each_other(hear: Open, expected: list[Event]) -> None:
    async def events() -> list[Event]:
        return [event async for event in hear(SAMPLES)]

    async def main() -> list[list[Event]]:
        return await asyncio.gather(*(events() for _ in range(3)))

    assert asyncio.run(main()) == [expected] * 3
