"""The page of the web target in Chromium, with a recording in place of a microphone.

EDGE_AUDIO_PICTURE=docs/web.png pytest -k opened_as_a_file with this file draws the picture of
docs/web.md.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from edge_audio.events.policy import ONE_SOUND
from edge_audio.support.text import clock
from edge_audio.tagging.tagger import Tagger
from firmware_bridge.builders.wasm import write_web_folder
from tests.firmware_bridge.web_build import (
    CLIPS,
    MODULE_FILES,
    build_web_folder,
    clips,
    compared,
)
from tests.support.browser import Visit, keep_picture, launched, started_playwright
from tests.support.paths import REPOSITORY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

WAIT_S = 45.0  # reached only by what never comes
FAKE_PERMISSION = "--use-fake-ui-for-media-stream"
FAKE_MICROPHONE = "--use-fake-device-for-media-stream"

HEARD_UP_TO = "(time) => document.getElementById('heard').textContent <= time"

Launch = Callable[..., AbstractContextManager["Browser"]]


@pytest.fixture(scope="module")
def web_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_web_folder(tmp_path_factory.mktemp("web") / "tiny", "tiny-int8")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A rooster and a dog as WAV."""
    path = tmp_path_factory.mktemp("audio") / "rooster-dog.wav"
    soundfile.write(path, clips(data_dir), 16_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """Starts Chromium with more arguments; it is closed at the end."""
    with started_playwright() as playwright:
        yield partial(launched, playwright, wait_s=WAIT_S)


class Served:
    """A port of this machine, and the paths that were asked for there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.paths: set[str] = set()


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serves a folder as python3 -m http.server does."""

    class Recorder(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            found.paths.add(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Recorder, directory=folder)) as server:
        found = Served(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()


def microphone(recording: Path) -> tuple[str, ...]:
    """Chromium's arguments for a microphone that plays a file again and again."""
    return (
        FAKE_PERMISSION,
        FAKE_MICROPHONE,
        f"--use-file-for-fake-audio-capture={recording}",
    )


class WebVisit(Visit):
    """A page of the web target; the data that it has within itself are no requests."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        super().__init__(browser, url, wait_s=WAIT_S, **options)

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            super()._on_request(request)

    def listen(self) -> None:
        self.page.click("#listen")

    def wait_for_event(self, label: str) -> None:
        self.page.locator("#events .name", has_text=label).first.wait_for()

    def message(self) -> str:
        message = self.page.locator("#message:not(.late):not([hidden])")
        message.wait_for()
        return message.inner_text()

    def events(self) -> list[tuple[str, str]]:
        """(time, label) of each event, the earliest start first."""
        rows = self.page.locator("#events .event").all()
        return [
            (row.locator("time").inner_text(), row.locator(".name").inner_text())
            for row in reversed(rows)
        ]


def test_page_opened_as_a_file_names_what_the_microphone_hears(
    launch: Launch, web_folder: Path, recording: Path, tmp_path: Path
) -> None:
    url = (web_folder / "index.html").as_uri()
    with launch(*microphone(recording)) as browser:
        visit = WebVisit(browser, url, viewport={"width": 1100, "height": 800}, color_scheme="dark")
        visit.page.context.set_offline(True)
        visit.listen()
        visit.wait_for_event("Bark")
        visit.wait_for_event("Crowing")
        assert "Dog" in visit.page.locator("#tags").inner_text()
        assert "527 labels" in visit.page.locator("#model").inner_text()
        assert " of 80 " in visit.page.locator("#load").inner_text()
        assert _n_colours(visit.page) > 50
        visit.page.screenshot(path=tmp_path / "page.png", full_page=True)
        if picture := os.environ.get("EDGE_AUDIO_PICTURE"):
            draw(visit.page, Path(picture))
        visit.page.click("#listen")  # now it says Stop
        visit.page.locator("#listen", has_text="Listen").wait_for()
        assert visit.page.locator("#events .open").count() == 0
        assert visit.requests == [url]
        assert visit.complaints == []


def test_a_sensitivity_is_chosen_while_the_page_listens(
    launch: Launch, web_folder: Path, recording: Path, tmp_path: Path
) -> None:
    tables = {
        "quiet": {"Dog": (0.99, 0.9)},
        "normal": {"Siren": (0.99, 0.9)},
        "eager": {"Crowing, cock-a-doodle-doo": (0.05, 0.02)},
    }
    module, image = ((web_folder / name).read_bytes() for name in MODULE_FILES[:2])
    write_web_folder(tmp_path / "web", module, image, tables)
    with launch(*microphone(recording)) as browser:
        visit = WebVisit(browser, (tmp_path / "web" / "index.html").as_uri())
        sensitivity = visit.page.locator("#sensitivity")
        assert sensitivity.is_visible()
        assert sensitivity.input_value() == "normal"
        visit.listen()
        visit.page.wait_for_function(HEARD_UP_TO.replace("<=", ">="), arg="0:01.00")
        before = visit.events()
        sensitivity.select_option("eager")
        visit.wait_for_event("Crowing")
        assert all("Crowing" not in label for _, label in before)
        sensitivity.select_option("quiet")
        visit.page.wait_for_function(
            "() => document.querySelectorAll('#events .open').length === 0"
        )
        assert visit.complaints == []


def draw(page: Page, path: Path) -> None:
    """The page when it has heard nearly 10 s, in 128 colours: docs/web.png."""
    page.set_viewport_size({"width": 960, "height": 760})
    page.wait_for_function("() => document.getElementById('heard').textContent >= '0:09.60'")
    keep_picture(page, path, full_page=True)


def _n_colours(page: Page) -> int:
    """Different colours in the spectrogram."""
    return int(
        page.evaluate("""() => {
            const canvas = document.getElementById("spectrogram");
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return new Set(new Uint32Array(data.buffer)).size;
        }""")
    )


def test_hosted_page_asks_for_its_own_files_only(
    launch: Launch, web_folder: Path, recording: Path
) -> None:
    with served(web_folder) as server, launch(*microphone(recording)) as browser:
        origin = f"http://127.0.0.1:{server.port}/"
        visit = WebVisit(browser, f"{origin}hosted.html")
        visit.listen()
        visit.wait_for_event("Bark")
        assert [url for url in visit.requests if not url.startswith(origin)] == []
        assert server.paths == {
            "/hosted.html",
            "/look.css",
            "/style.css",
            "/page.js",
            "/drawing.js",
            "/view.js",
            "/worklet.js",
            "/edge_audio.js",
            "/edge_audio.wasm",
            "/edge_audio_image.bin",
        }
        assert visit.complaints == []


def test_content_security_policy_lets_nothing_out(launch: Launch, web_folder: Path) -> None:
    """Neither page may connect to anybody else, nor run what it did not come with."""
    script = """(url) => fetch(url, { mode: "no-cors" }).then(() => "sent", () => "refused")"""
    with served(web_folder) as server, served(web_folder) as other, launch() as browser:
        for name in ("hosted.html", "index.html"):
            visit = WebVisit(browser, f"http://127.0.0.1:{server.port}/{name}")
            assert visit.page.evaluate(script, f"http://127.0.0.1:{other.port}/") == "refused"
            visit.page.evaluate("""() => {
                const script = document.createElement("script");
                script.textContent = "window.isRun = true";
                document.body.append(script);
            }""")
            assert not visit.page.evaluate("window.isRun === true")
        assert other.paths == set()


def test_page_fits_a_phone(
    launch: Launch, web_folder: Path, recording: Path, tmp_path: Path
) -> None:
    url = (web_folder / "index.html").as_uri()
    with launch(*microphone(recording)) as browser:
        phone = {"width": 360, "height": 740}
        visit = WebVisit(browser, url, viewport=phone, color_scheme="light")
        visit.listen()
        visit.wait_for_event("Crowing")
        assert visit.overflow_px() == 0
        visit.page.screenshot(path=tmp_path / "phone.png", full_page=True)


def test_browser_that_does_not_resample_microphones_is_helped(
    launch: Launch, web_folder: Path, recording: Path
) -> None:
    """As Firefox: a microphone only enters a context of its own rate."""
    refuse = """
        const open = AudioContext.prototype.createMediaStreamSource;
        AudioContext.prototype.createMediaStreamSource = function (stream) {
            if (this.sampleRate === 16000) throw new DOMException("rates", "NotSupportedError");
            window.rateHz = this.sampleRate;
            return open.call(this, stream);
        };
    """
    with launch(*microphone(recording)) as browser:
        visit = WebVisit(browser, "about:blank")
        visit.page.add_init_script(refuse)
        visit.page.goto((web_folder / "index.html").as_uri())
        visit.listen()
        visit.wait_for_event("Bark")
        assert visit.page.evaluate("window.rateHz") != 16_000


def test_a_file_gives_the_events_that_python_hears(
    launch: Launch, web_folder: Path, recording: Path
) -> None:
    samples = soundfile.read(recording, dtype="int16")[0]
    tagger = Tagger.open("tiny-int8", policy=ONE_SOUND)
    events = [event for event in tagger.push(samples) + tagger.flush() if event.kind == "start"]
    expected = [(clock(event.time_s), event.label) for event in events]
    assert len(compared(events)) >= 3
    arguments = (*microphone(recording), "--autoplay-policy=no-user-gesture-required")
    with launch(*arguments) as browser:
        visit = WebVisit(browser, (web_folder / "index.html").as_uri())
        visit.listen()  # to the microphone, until the file takes its place
        visit.wait_for_event("Crowing")
        visit.page.set_input_files("#file", recording)
        visit.page.wait_for_function(HEARD_UP_TO, arg="0:01.00")
        visit.page.locator("#listen", has_text="Listen").wait_for()
        assert visit.events() == expected
        assert visit.page.locator("#events .open").count() == 0
        assert visit.complaints == []


def test_stop_works_while_the_browser_asks_for_permission(launch: Launch, web_folder: Path) -> None:
    with launch(FAKE_MICROPHONE) as browser:
        visit = WebVisit(browser, (web_folder / "index.html").as_uri())
        visit.page.evaluate(
            "() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }"
        )
        visit.listen()
        visit.page.locator("#listen", has_text="Stop").click()
        visit.page.locator("#listen", has_text="Listen").wait_for()
        assert not visit.page.locator("#message").is_visible()


def test_a_file_that_is_no_sound_is_refused_by_name(
    launch: Launch, web_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "notes.wav"
    path.write_bytes(np.arange(1000, dtype=np.int16).tobytes())
    with launch() as browser:
        visit = WebVisit(browser, (web_folder / "index.html").as_uri())
        visit.page.set_input_files("#file", path)
        assert "notes.wav is not sound" in visit.message()


def test_permission_denied_says_how_to_allow_it(launch: Launch, web_folder: Path) -> None:
    with launch(FAKE_MICROPHONE, "--deny-permission-prompts") as browser:
        visit = WebVisit(browser, (web_folder / "index.html").as_uri())
        visit.listen()
        assert "Allow it" in visit.message()
        assert visit.page.locator("#listen").inner_text() == "Listen"


def test_no_microphone_says_what_to_do(launch: Launch, web_folder: Path) -> None:
    with launch(FAKE_PERMISSION) as browser:
        visit = WebVisit(browser, (web_folder / "index.html").as_uri())
        visit.listen()
        assert "No microphone was found" in visit.message()


def test_page_from_another_machine_without_https_says_what_to_do(
    launch: Launch, web_folder: Path
) -> None:
    rule = "--host-resolver-rules=MAP tagger.test 127.0.0.1"
    with served(web_folder) as server, launch(rule) as browser:
        visit = WebVisit(browser, f"http://tagger.test:{server.port}/index.html")
        visit.listen()
        assert "https" in visit.message()
        assert "http.server" in visit.message()


def test_hosted_page_opened_as_a_file_names_the_command(launch: Launch, web_folder: Path) -> None:
    with launch() as browser:
        visit = WebVisit(browser, (web_folder / "hosted.html").as_uri())
        visit.page.locator("#message.late").wait_for()
        assert "python3 -m http.server" in visit.page.locator("#message").inner_text()


def test_damaged_image_is_named(launch: Launch, web_folder: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(web_folder, damaged)
    image = bytearray((damaged / "edge_audio_image.bin").read_bytes())
    image[-100] ^= 1
    (damaged / "edge_audio_image.bin").write_bytes(image)
    with served(damaged) as server, launch(FAKE_PERMISSION, FAKE_MICROPHONE) as browser:
        visit = WebVisit(browser, f"http://127.0.0.1:{server.port}/hosted.html")
        visit.listen()
        assert "altered" in visit.message()


def test_clips_are_those_that_the_readme_shows() -> None:
    """So that the picture in docs/web.md and the listing in README.md tell the same story."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert all(Path(clip).stem in readme for clip in CLIPS)
