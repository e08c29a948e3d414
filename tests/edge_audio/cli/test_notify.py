"""`edge-audio notify` sends a test, and `listen --check` sees what would not arrive."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.edge_audio.sinks.notify.notify_parts import MessageServer
from tests.support.command_line import error_line, run


def test_a_test_reaches_those_that_are_named(tmp_path: Path) -> None:
    with closing(MessageServer()) as server, closing(MessageServer(404)) as gone:
        who, settings = tmp_path / "who", tmp_path / "home.toml"
        who.write_text(f"phone = {server.url}\noffice = {gone.url}\n")
        who.chmod(0o600)
        settings.write_text(f'[notify]\nurls_file = "{who}"\n')
        assert run("notify", "--config", settings, "phone").stdout == "phone: taken\n"
        failed = run("notify", "--config", settings, ok=False)
        assert failed.stdout == "phone: taken\n"
        assert failed.returncode == 1
        office, error = failed.stderr.splitlines()
        assert office == "edge-audio: office: it answers with status 404"
        assert error == "edge-audio: error: 1 of 2 were not reached"
        unknown = run("notify", "--config", settings, "cat", ok=False)
        assert "nobody is called 'cat', but phone, office" in error_line(unknown, 2)
    assert server.titles == ["edge-audio", "edge-audio"]


def test_check_sees_wrong_addresses_and_labels(tmp_path: Path) -> None:
    settings = tmp_path / "home.toml"
    source = '[[source]]\nurl = "demo"\n'
    for notify, said in (
        ('urls = ["nonsense://hush"]', "cannot use the address of nonsense"),
        ('urls = ["json://localhost"]\nonly = ["Dgo"]', "unknown label 'Dgo'"),
        (
            'urls = ["json://localhost"]\nrecipients = {cat = []}',
            "nobody is called 'cat', but json",
        ),
        (f'urls_file = "{tmp_path}/gone"', "cannot read the secret"),
    ):
        settings.write_text(f"{source}[notify]\n{notify}\n")
        told = error_line(run("listen", "--check", "--config", settings, ok=False), 2)
        assert said in told
        assert "hush" not in told
