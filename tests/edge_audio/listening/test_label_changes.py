"""One label changed in a file of settings: what people wrote there stays, all else too."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.listening.config import Config
from edge_audio.listening.events_config import EventsConfig
from edge_audio.listening.label_changes import changed_events
from edge_audio.listening.settings_editor import SettingsEditor
from edge_audio.listening.settings_file import SettingsFile, load_config
from edge_audio.sinks.base import LabelChange, NotifyChange, SoundsChange

MODEL = EventSpec(thresholds={"Dog": Threshold(on=0.5, off=0.3)})
LABELS = ("Dog", "Cat", "Smoke detector, smoke alarm")
MODELS = [(MODEL, LABELS)]

FULL = """\
# my settings
model = "tiny-int8"   # the small one

[events] # what is heard
only = [
    "Dog",  # ours
    "cat",
]
exclude = ["Cat"]
thresholds = {dog = 0.4} # measured
[clips]
folder = "clips"
"""


def nothing(events: EventsConfig) -> None:
    """Everything is in order."""


def editor(
    path: Path,
    check: Callable[[EventsConfig], object] = nothing,
    with_flags: Callable[[Config], Config] = lambda config: config,
) -> SettingsEditor:
    return SettingsEditor(SettingsFile(path, with_flags), lambda: MODELS, check)


def edited(folder: Path, text: str, *changes: LabelChange) -> str:
    path = folder / "home.toml"
    path.write_text(text)
    path.chmod(0o640)
    for change in changes:
        editor(path)(change)
    assert path.stat().st_mode & 0o777 == 0o640
    load_config(path)
    return path.read_text()


def test_a_threshold_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    text = edited(tmp_path, FULL, LabelChange("Dog", threshold=0.7))
    assert text == FULL.replace("dog = 0.4", "dog = 0.7")


def test_a_threshold_is_taken_out_for_that_of_the_model(tmp_path: Path) -> None:
    text = edited(tmp_path, FULL, LabelChange("Dog", is_normal=True))
    assert load_config(tmp_path / "home.toml").events.thresholds == {}
    assert "# measured" in text


def test_labels_go_on_and_off_between_comments(tmp_path: Path) -> None:
    text = edited(tmp_path, FULL, LabelChange("Dog", is_on=False))
    assert text == FULL.replace('exclude = ["Cat"]', 'exclude = ["Cat", "Dog"]')
    text = edited(tmp_path, FULL, LabelChange("CAT", is_on=True))
    assert load_config(tmp_path / "home.toml").events.exclude == ()
    assert '"Dog",  # ours' in text
    assert "# what is heard" in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing yet\n",
        '[clips]\nfolder = "x"\n',
        "[events]\n\n[events.thresholds]\nDog = 0.4 # mine\n",
        "events.thresholds.Dog = 0.4\n",
        "events = {thresholds = {Dog = 0.4}}\n",
        "\ufeff[events]\r\nthreshold = 0.4 # of all\r\n",
    ],
)
def test_settings_of_any_form_are_changed(tmp_path: Path, text: str) -> None:
    label = "Smoke detector, smoke alarm"
    changed = edited(tmp_path, text, LabelChange(label, threshold=0.6), LabelChange("Dog", 0.3))
    events = load_config(tmp_path / "home.toml").events
    assert events.thresholds == {**events.thresholds, label: 0.6, "Dog": 0.3}
    for comment in ("# nothing yet", "# mine", "# of all"):
        assert (comment in text) == (comment in changed)
    assert changed.startswith("\ufeff") == text.startswith("\ufeff")


def test_a_label_that_is_off_by_itself_gets_a_threshold_with_its_switch(tmp_path: Path) -> None:
    edited(tmp_path, "", LabelChange("Cat", is_on=True))
    events = load_config(tmp_path / "home.toml").events
    assert list(events.thresholds) == ["Cat"]
    assert events.apply(MODEL, LABELS).thresholds.keys() == {"Dog", "Cat"}


def test_what_is_so_already_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "home.toml"
    path.write_text(FULL)
    before = path.stat().st_mtime_ns
    editor(path)(LabelChange("Dog", threshold=0.4, is_on=True))
    assert path.stat().st_mtime_ns == before


def test_a_link_leads_to_the_file_that_is_changed(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(FULL)
    link = tmp_path / "home.toml"
    link.symlink_to("real.toml")
    editor(link)(LabelChange("Dog", threshold=0.7))
    assert link.is_symlink()
    assert "dog = 0.7" in (tmp_path / "real.toml").read_text()


def refused(events: EventsConfig) -> None:
    raise UsageError("no label is left")


def test_what_a_run_could_not_go_on_by_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "home.toml"
    for text in (FULL, "[events\n", "[events]\nthresholds = 3\n"):
        path.write_text(text)
        with pytest.raises(EdgeAudioError):
            editor(path, refused)(LabelChange("Dog", threshold=0.7))
        assert path.read_text() == text
    path.write_text(FULL)
    with pytest.raises(UsageError, match="Unicorn"):
        editor(path)(LabelChange("Unicorn", threshold=0.7))
    flags = Config(events=EventsConfig(thresholds={"Dog": 0.2}))
    overruled = editor(path, nothing, lambda _: flags)
    with pytest.raises(UsageError, match="command line"):
        overruled(LabelChange("Dog", threshold=0.7))
    assert path.read_text() == FULL


def test_a_file_that_cannot_be_written_stays_as_it_is(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "pipe").unlink(missing_ok=True)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(UsageError, match="pipe"):
            editor(tmp_path / "pipe")(LabelChange("Dog", threshold=0.7))
        return
    path = tmp_path / "home.toml"
    path.write_text(FULL)
    tmp_path.chmod(0o500)
    with pytest.raises(EdgeAudioError, match="cannot write"):
        editor(path)(LabelChange("Dog", threshold=0.7))
    tmp_path.chmod(0o700)
    assert path.read_text() == FULL


def test_a_change_for_this_run_alone_is_the_same_change() -> None:
    events = changed_events(EventsConfig(), LabelChange("cat", 0.6, is_on=True), MODELS)
    assert events.thresholds == {"Cat": 0.6}
    events = changed_events(events, LabelChange("Cat", is_on=False), MODELS)
    assert events.apply(MODEL, LABELS).thresholds.keys() == {"Dog"}
    events = changed_events(events, LabelChange("Cat", is_on=True), MODELS)
    assert events.apply(MODEL, LABELS).thresholds["Cat"].on == 0.6


NOTIFIED = """\
[notify]  # the family
urls = ["ntfy://localhost/home"]  # ours
exclude = ["Cat"]
quiet_hours = [
    "22:00-07:00",  # school
    "sat 13:00-15:00",
]
"""


def edited_notify(folder: Path, *changes: NotifyChange) -> str:
    path = folder / "home.toml"
    path.write_text(NOTIFIED)
    for change in changes:
        editor(path)(change)
    load_config(path)
    return path.read_text()


def test_quiet_hours_change_between_comments(tmp_path: Path) -> None:
    wanted = ("sun 08:00-09:00", "22:00-07:00")
    text = edited_notify(tmp_path, NotifyChange(quiet_hours=wanted))
    notify = load_config(tmp_path / "home.toml").notify
    assert notify is not None
    assert notify.quiet_hours == ("22:00-07:00", "sun 08:00-09:00")
    for comment in ("# the family", "# ours", "# school"):
        assert comment in text
    edited_notify(tmp_path, NotifyChange(quiet_hours=()))
    notify = load_config(tmp_path / "home.toml").notify
    assert notify is not None
    assert notify.quiet_hours == ()


def test_labels_are_told_and_urgent(tmp_path: Path) -> None:
    text = edited_notify(tmp_path, NotifyChange("dog", is_told=False, is_urgent=True))
    assert 'exclude = ["Cat", "Dog"]' in text
    assert 'urgent = ["Dog"]' in text
    text = edited_notify(tmp_path, NotifyChange("CAT", is_told=True), NotifyChange("Dog", True))
    assert "exclude = []" in text


def test_wrong_notifications_are_not_written(tmp_path: Path) -> None:
    for change in (NotifyChange(quiet_hours=("late",)), NotifyChange("Unicorn", is_told=True)):
        with pytest.raises(UsageError):
            edited_notify(tmp_path, change)
        assert (tmp_path / "home.toml").read_text() == NOTIFIED
    path = tmp_path / "home.toml"
    path.write_text(FULL)
    with pytest.raises(UsageError, match="nobody is notified"):
        editor(path)(NotifyChange("Dog", is_told=False))


def test_the_file_of_sounds_goes_above_all_tables(tmp_path: Path) -> None:
    path = tmp_path / "home.toml"
    for text in (FULL, "", "# nothing\n[events]\n", 'sounds = "old"  # ours\n'):
        path.write_text(text)
        editor(path)(SoundsChange(str(tmp_path / "house.sounds")))
        assert load_config(path).sounds == str(tmp_path / "house.sounds")
        assert all(line in path.read_text() for line in text.splitlines() if "old" not in line)
