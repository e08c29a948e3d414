"""What commands print as a result goes to terminals too: names of others command nothing there."""

from pathlib import Path

import msgspec
import pytest

from edge_audio.bundle import Bundle
from tests.support import toy
from tests.support.command_line import run

HOSTILE = "Dog\u202egnp[/]"


@pytest.fixture(scope="module")
def hostile_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of a stranger, with a label and a name that reorder text and look like markup."""
    labels = (HOSTILE, *toy.LABELS[1:])
    thresholds = {labels[toy.LABELS.index(x)]: y for x, y in toy.EVENTS.thresholds.items()}
    events = msgspec.structs.replace(toy.EVENTS, thresholds=thresholds)
    manifest = msgspec.structs.replace(toy.MANIFEST, name=HOSTILE, labels=labels, events=events)
    return toy.save_toy(tmp_path_factory.mktemp("bundles") / "foreign", manifest)


@pytest.mark.parametrize("options", [(), ("--json",), ("--labels",)])
def test_inspect_shows_names_of_a_foreign_bundle_as_escapes(
    hostile_bundle: Bundle, options: tuple[str, ...]
) -> None:
    shown = run("inspect", hostile_bundle.path, *options).stdout
    assert "\u202e" not in shown
    assert "Dog\\u202egnp[/]" in shown


def test_a_check_of_settings_names_their_file_without_harm(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m[red]\u202e.toml"
    path.write_text('[[source]]\nurl = "demo"\n')
    shown = run("listen", "--config", path, "--check").stdout
    assert "[red]" in shown
    assert not {"\x1b", "\u202e"} & set(shown)
