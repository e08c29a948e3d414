"""Files of settings as people write them: where something is wrong is said, and the template has
everything."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from edge_audio.errors import UsageError
from edge_audio.listening.config import Config, SourceConfig
from edge_audio.listening.events_config import EventsConfig
from edge_audio.listening.example import EXAMPLE
from edge_audio.listening.settings_file import SettingsFile, load_config
from edge_audio.sinks.mqtt.config import HOST_FIELD, host_slug
from tests.support.command_line import error_line, run


def loaded(folder: Path, text: str | bytes) -> Config:
    path = folder / "home.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(path)


# The template


def sections() -> dict[str, type[msgspec.Struct]]:
    """Name of each section, "" for the top -> its settings."""
    found: dict[str, type[msgspec.Struct]] = {"": Config, "source": SourceConfig}
    for name, hint in get_type_hints(Config).items():
        for kind in (hint, *get_args(hint)):
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                found[name] = kind
    return found


def shown_fields() -> dict[str, dict[str, str]]:
    """Section -> field -> value as the template shows it, comments and all."""
    found: dict[str, dict[str, str]] = {"": {}}
    section = ""
    for line in EXAMPLE.splitlines():
        if match := re.fullmatch(r"(?:# )?\[+(\w+)\]+(\s+#.*)?", line):
            section = match[1]
            found[section] = {}
        elif match := re.fullmatch(r"(?:# )?(\w+) = (.*?)\s*(?:\s#.*)?", line):
            found[section][match[1]] = match[2]
    return found


def test_the_template_has_every_field_and_no_other() -> None:
    shown = shown_fields()
    for name, kind in sections().items():
        fields = set(kind.__struct_fields__) - (set(sections()) if not name else set())
        assert set(shown[name]) == fields, name
    assert set(shown) == set(sections())


@pytest.mark.parametrize("name", sections())
def test_every_line_of_the_template_is_a_setting_once_its_mark_is_taken(name: str) -> None:
    kind = sections()[name]
    needs = {"json": "path", "webhook": "url", "clips": "folder", "mqtt": "username"}
    more = {"history": "path", "page": "password_file", "notify": "urls"}
    needed = (needs | more).get(name)
    shown = shown_fields()[name]
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    for field, value in shown.items():
        pairs = {field: value} | ({needed: shown[needed]} if needed else {})
        pairs |= {"tls": "true"} if field == "ca_file" and name == "mqtt" else {}
        if field in ("cert_file", "key_file"):  # which belong together
            pairs |= {x: shown[x] for x in ("cert_file", "key_file")}
        head = "" if not name else f"[[{name}]]\n" if name == "source" else f"[{name}]\n"
        decoded: Any = msgspec.toml.decode(head + "\n".join(f"{k} = {v}" for k, v in pairs.items()))
        found = msgspec.convert(decoded, Config)
        part: Any = getattr(found, name) if name else found
        part = part[0] if name == "source" else part
        if isinstance(defaults[field], (bool, int, float, str)) and field != "top":
            is_example = (name, field) in {("mqtt", "client_id"), ("source", "name")}
            expected = defaults[field]
            if isinstance(expected, str):
                expected = expected.replace(HOST_FIELD, host_slug())
            assert is_example or getattr(part, field) == expected, field


def test_config_prints_a_template_that_passes(tmp_path: Path) -> None:
    printed = run("config", "--example").stdout
    assert printed == EXAMPLE
    path = tmp_path / "home.toml"
    path.write_text(printed)
    assert load_config(path) == Config()
    assert "fine" in run("listen", "--config", path, "--check").stdout
    assert "--example" in error_line(run("config", ok=False), 2)


# What is wrong, and where


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("\n\nmodell = 'tiny-int8'", 3, "modell"),
        ("# a\n[events]\nmin_on_s = -1", 3, "min_on_s"),
        ("[events]\nthresholds = {Dog = 'high'}", 2, "thresholds"),
        ("[events]\n\n[json]\ntop = 1", 3, "path"),
        ("[mqtt]\nhost = 'h'\nport = 0", 3, "port"),
        ("[mqtt]\ntopic = 'a'\nhost = 'udp://h'", 3, "mqtt://"),
        ("[[source]]\nurl = 'mic'\n[[source]]\nurl = 'ftp://h/a'", 4, "rtsp://"),
        ("[[source]]\nurl = 'mic'\n[[source]]\nurl = '$NO_SUCH_VARIABLE/a'", 4, "NO_SUCH_VARIABLE"),
        ("a = 1\nb = = 2", 2, "value"),
        ("format = 'loud'", 1, "live, text, jsonl"),
        ('[json]\npath = "a\\u0000b"', 2, "NUL"),
        ("[json]\npath = ' '", 2, "empty"),
        ("[clips]\nfolder = 'a'\nmax_s = inf", 3, "max_s"),
        ("top = 100000000000", 1, "top"),
        ("[webhook]\nurl = 'example.org/x'", 2, "http:// or https://"),
        (b"a = 1\nb = '\xff'", 2, "UTF-8"),
    ],
)
def test_errors_name_the_file_and_the_line(
    tmp_path: Path, text: str | bytes, place: int, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/home.toml:{place}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("thresholds = {Dog = 1.5}", 4),
        ("\n[events.thresholds]\nSiren = 0.5\n'dog' = 1.5", 7),
        ("\nthreshold = 1.5", 5),
    ],
)
def test_a_threshold_that_is_no_probability_is_named_with_its_line(
    tmp_path: Path, text: str, place: int
) -> None:
    path = tmp_path / "home.toml"
    path.write_text(f"[[source]]\nurl = 'demo'\n[events]\n{text}\n")
    line = error_line(run("listen", "--config", path, "--check", ok=False), 2)
    assert f"home.toml:{place}: " in line
    assert "a probability such as 0.5" in line


def test_a_label_that_no_model_knows_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "home.toml"
    clips = "[clips]\nfolder = 'a'\nlabels = ['Dgo']"
    for section in ("[events]\nonly = ['Dog',\n  'Dgo']", clips):
        path.write_text(f"[[source]]\nurl = 'demo'\n{section}")
        done = run("listen", "--config", path, "--check", ok=False)
        assert re.search(r"home.toml:[45]: unknown label 'Dgo'", error_line(done, 2))


def test_files_of_windows_are_read(tmp_path: Path) -> None:
    text = "model = 'micro-int8'\r\n[events]\r\nonly = ['Dog']\r\n"
    assert loaded(tmp_path, codecs.BOM_UTF8 + text.encode()) == loaded(tmp_path, text)
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        with pytest.raises(UsageError, match="save it as UTF-8"):
            loaded(tmp_path, mark + text.encode(encoding))


def test_a_pipe_is_settings_and_shows_no_line(tmp_path: Path) -> None:
    file = SettingsFile(tmp_path / "gone.toml")
    assert file.located("unknown label 'Dgo'", "events").endswith("gone.toml: unknown label 'Dgo'")


# What means the same


def test_letter_case_does_not_matter(tmp_path: Path) -> None:
    shouted = loaded(
        tmp_path,
        "format = 'JSONL'\nbackend = 'LiteRT'\n[[source]]\nurl = 'MIC'\n[[source]]\n"
        "url = 'HTTP://Radio.org/Live'\n[events]\nrelated = 'First'\nsensitivity = 'QUIET'",
    )
    assert (shouted.format, shouted.backend, shouted.source[0].url) == ("jsonl", "litert", "mic")
    assert shouted.source[1].url == "http://Radio.org/Live"
    assert (shouted.events.related, shouted.events.sensitivity) == ("first", "quiet")
    assert SourceConfig(url="SERIAL:/dev/ttyACM0").port == ("/dev/ttyACM0", 115_200)


def test_home_and_variables_expand_in_every_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PLACE", "attic")
    config = loaded(
        tmp_path,
        "model = '~/model'\n[[source]]\nurl = '~/a.wav'\n[json]\npath = '~/${PLACE}.jsonl'\n"
        "[clips]\nfolder = '$HOME/clips'\n[mqtt]\nusername = 'a'\npassword_file = '~/p'\n"
        "tls = true\nca_file = '$PLACE/ca.pem'\n[webhook]\nurl = 'http://h'\nca_file = '~/c'\n"
        "bearer_file = '~/b'\ndead_letter = '~/d'",
    )
    assert config.json is not None
    assert config.clips is not None
    assert config.mqtt is not None
    assert config.webhook is not None
    found = (config.model, config.source[0].url, config.json.path, config.clips.folder)
    assert found == tuple(f"{tmp_path}/{x}" for x in ("model", "a.wav", "attic.jsonl", "clips"))
    assert (config.mqtt.password_file, config.mqtt.ca_file) == (f"{tmp_path}/p", "attic/ca.pem")
    webhook = (config.webhook.ca_file, config.webhook.bearer_file, config.webhook.dead_letter)
    assert webhook == (f"{tmp_path}/c", f"{tmp_path}/b", f"{tmp_path}/d")


def test_what_exists_as_it_is_written_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a$b.wav", "~c.wav", "Demo"):
        Path(name).touch()
        assert SourceConfig(url=name).url == name


def test_sources_of_one_name_are_numbered() -> None:
    urls = ("a/attic.wav", "b/attic.wav", "mic", "mic", "c/attic-2.wav")
    config = Config(source=tuple(SourceConfig(url=url) for url in urls))
    assert config.names == ["attic", "attic-3", "mic", "mic-2", "attic-2"]
    named = (SourceConfig(name="ear"), SourceConfig(name="ear"), SourceConfig(name="ear"))
    assert Config(source=named).names == ["ear", "ear-2", "ear-3"]


def test_long_addresses_make_names_that_records_can_hold() -> None:
    names = {SourceConfig(url=f"http://h/{'a' * 500}{i}").shown_name for i in range(3)}
    assert len(names) == 3
    assert all(len(name) <= 200 for name in names)


@pytest.mark.parametrize("name", ["smoothing_s", "min_on_s", "min_off_s", "cooldown_s", "max_s"])
@pytest.mark.parametrize("value", [-1.0, 1e9, float("inf"), float("nan")])
def test_durations_of_events_have_limits(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        msgspec.convert({name: value}, EventsConfig)
