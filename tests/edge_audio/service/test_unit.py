"""The unit of `edge-audio service`: checked by systemd, and run by it where that can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_audio.errors import UsageError
from edge_audio.service.unit import unit_text
from tests.support.command_line import COMMAND, error_line, run
from tests.support.paths import REPOSITORY

HANG_S = 60.0
ODD = "a b %h $HOME \"q\" 'r' back\\slash ü"  # what a path may hold and systemd gives a meaning to
MANAGER = Path("/lib/systemd/systemd")

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze: apt install systemd"
)

ODD_FOLDER = "a b %h $HOME ü"  # systemd starts nothing from a path with quotes or backslashes

# Takes the place of Python in ExecStart: notes what it was called with and lives as a service does.
STAND_IN = """\
#!{python}
import os, signal, sys, time
sys.path.insert(0, {package!r})
from edge_audio.service.notify import Notifier
note = lambda *words: print(*words, sep="\\x1f", file=open({log!r}, "a"), flush=True)
signal.signal(signal.SIGHUP, lambda *_: note("hup"))
notifier = Notifier.from_environment()
note("start", str(os.getpid()), os.getcwd(), *sys.argv[1:])
notifier.ready()
while not os.path.exists({hang!r}):
    notifier.watchdog()
    time.sleep(0.05)
os.remove({hang!r})
time.sleep(1000)
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment in which units of the user go below tmp_path."""
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


def unit_in(home: dict[str, str], name: str = "edge-audio") -> Path:
    return Path(home["XDG_CONFIG_HOME"], "systemd", "user", f"{name}.service")


def analyze(*arguments: object, runtime_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, arguments)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime_dir)},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )


@needs_analyze
@pytest.mark.parametrize("config", [None, "/etc/edge-audio/home.toml", f"/etc/{ODD}.toml"])
@pytest.mark.parametrize("scope", ["user", "system"])
def test_systemd_finds_nothing_wrong_with_the_unit(
    tmp_path: Path, scope: str, config: str | None
) -> None:
    unit = tmp_path / "edge-audio.service"
    text = unit_text("edge-audio", Path(config) if config else None, for_system=scope == "system")
    unit.write_text(text, encoding="utf-8")
    done = analyze("verify", f"--{scope}", "--man=no", unit, runtime_dir=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
def test_little_of_the_system_is_exposed_to_the_system_service(tmp_path: Path) -> None:
    unit = tmp_path / "edge-audio.service"
    unit.write_text(unit_text("edge-audio", None, for_system=True))
    arguments = ("security", "--offline=true", "--threshold=25", unit)  # 2.5 of 10
    done = analyze(*arguments, runtime_dir=tmp_path)
    assert done.returncode == 0, done.stdout


def test_only_settings_that_can_be_read_again_are_reloaded() -> None:
    assert "ExecReload=" in unit_text("x", Path("/etc/home.toml"), for_system=True)
    assert "ExecReload=" not in unit_text("x", None, for_system=True)


def test_a_system_service_has_no_user_of_its_own_unless_one_is_named() -> None:
    assert "\nDynamicUser=yes\n" in unit_text("x", None, for_system=True)
    named = unit_text("x", None, for_system=True, run_as="pi")
    assert "\nUser=pi\n" in named
    assert "DynamicUser" not in named


@pytest.mark.parametrize("user", ["", "Pi\nExecStartPre=/bin/false", "a b", "%n"])
def test_what_is_no_user_name_stays_out_of_the_unit(user: str) -> None:
    with pytest.raises(UsageError, match="user name"):
        unit_text("x", None, for_system=True, run_as=user)


def test_a_line_break_in_a_path_adds_no_line_to_the_unit() -> None:
    with pytest.raises(UsageError, match="control codes"):
        unit_text("x", Path("/etc/x\nExecStartPre=/bin/false"), for_system=False)


@pytest.mark.parametrize("folder", ["it's", 'a "b"', "back\\slash"])
def test_a_path_that_systemd_does_not_start_is_refused(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", f"/opt/{folder}/python")
    with pytest.raises(UsageError, match="another folder"):
        unit_text("x", None, for_system=False)


def test_install_writes_what_show_prints_and_tells_how_to_start_it(home: dict[str, str]) -> None:
    installed = run("service", "install", env=home)
    assert unit_in(home).read_text() == run("service", "show", env=home).stdout
    assert "systemctl --user enable edge-audio" in installed.stdout
    assert "loginctl enable-linger" in installed.stdout
    assert run("service", "install", env=home).stdout.startswith("unchanged: ")


def test_a_dry_run_prints_the_unit_and_writes_nothing(home: dict[str, str]) -> None:
    done = run("service", "install", "--now", "--dry-run", env=home)
    assert "ExecStart=" in done.stdout
    assert "systemctl --user restart edge-audio" in done.stdout
    assert not unit_in(home).exists()


def test_a_unit_of_somebody_else_is_replaced_by_force_only(home: dict[str, str]) -> None:
    unit = unit_in(home)
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    refusal = error_line(run("service", "install", ok=False, env=home), 2)
    assert "--force" in refusal
    assert unit.read_text() == "[Service]\n"
    run("service", "install", "--force", env=home)
    assert "ExecStart=" in unit.read_text()


def test_services_of_several_names_lie_side_by_side(home: dict[str, str]) -> None:
    for name in ("kitchen", "garden"):
        run("service", "install", "--name", name, env=home)
        assert f"StateDirectory={name}\n" in unit_in(home, name).read_text()


@pytest.mark.parametrize("name", ["../x", "a/b", "-x", "", "a b", "x\n"])
def test_what_is_no_name_of_a_unit_is_refused(home: dict[str, str], name: str) -> None:
    error_line(run("service", "install", f"--name={name}", ok=False, env=home), 2)
    assert not Path(home["XDG_CONFIG_HOME"]).exists()


def test_bad_settings_are_refused_before_anything_is_written(
    home: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "home.toml"
    config.write_text("modell = 'tiny'\n")
    done = run("service", "install", "--config", config, ok=False, env=home)
    assert "modell" in error_line(done, 2)
    assert not unit_in(home).exists()


def test_uninstalling_what_is_not_there_is_wrong_usage(home: dict[str, str]) -> None:
    assert "no service" in error_line(run("service", "uninstall", ok=False, env=home), 2)


class Manager:
    """A systemd of the user's own, in a mount namespace where /run is its alone."""

    def __init__(self, folder: Path) -> None:
        self.config_home = folder / "config"
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(self.config_home),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_RUNTIME_DIR": "/run/user/0",
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/0/bus",
        }
        script = (
            "mount -t tmpfs tmpfs /run && mkdir -p -m 700 /run/systemd/system /run/user/0 && "
            f"exec {MANAGER} --user --unit=basic.target"
        )
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def inside(self, *command: object) -> subprocess.CompletedProcess[str]:
        """Runs a command that sees this manager."""
        return subprocess.run(
            ["nsenter", "--mount", f"--target={self.process.pid}", *map(str, command)],
            env=self.environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )

    def property(self, name: str) -> str:
        show = ("systemctl", "--user", "show", "--value", f"--property={name}", "edge-audio")
        return self.inside(*show).stdout.strip()

    def close(self) -> None:
        self.inside("systemctl", "--user", "stop", "edge-audio")
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    if os.geteuid() or not MANAGER.exists() or not shutil.which("unshare"):
        pytest.skip("running a systemd of our own needs root, systemd and unshare")
    manager = Manager(tmp_path)
    try:
        is_up = ("systemctl", "--user", "is-system-running")
        deadline = time.monotonic() + 15
        while manager.inside(*is_up).stdout.strip() not in ("running", "degraded"):
            if manager.process.poll() is not None or time.monotonic() > deadline:
                pytest.skip("no systemd can be run here (it needs a cgroup that can be written)")
            time.sleep(0.2)
        yield manager
    finally:
        manager.close()


class StandIn:
    """Takes the place of Python in the unit of a service, and notes what befalls it."""

    def __init__(self, folder: Path) -> None:
        self._log, self._hang = folder / "log", folder / "hang"
        self.path = folder / ODD_FOLDER / "python"
        self.path.parent.mkdir()
        self.path.write_text(
            STAND_IN.format(
                python=sys.executable,
                package=str(REPOSITORY),
                log=str(self._log),
                hang=str(self._hang),
            )
        )
        self.path.chmod(0o755)

    def notes(self, kind: str) -> list[list[str]]:
        """The words of each note of this kind."""
        text = self._log.read_text() if self._log.exists() else ""
        found = [line.split("\x1f") for line in text.splitlines()]
        return [words for words in found if words[0] == kind]

    def hang(self) -> None:
        """Ends its signs of life."""
        self._hang.touch()


def write_unit(manager: Manager, config: Path) -> Path:
    """The unit of `edge-audio service`, with times that a test can wait for."""
    unit = manager.config_home / "systemd" / "user" / "edge-audio.service"
    drop_in = unit.with_name("edge-audio.service.d") / "quick.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nRestartSec=100ms\nWatchdogSec=2\n")
    unit.write_text(unit_text("edge-audio", config, for_system=False), encoding="utf-8")
    return unit


def test_systemd_starts_reloads_watches_and_restarts_the_service(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, config = StandIn(tmp_path), Path("/etc", f"{ODD}.toml")
    monkeypatch.setattr(sys, "executable", str(program.path))
    unit = write_unit(manager, config)

    manager.inside("systemctl", "--user", "daemon-reload")
    started = manager.inside("systemctl", "--user", "enable", "--now", "edge-audio")
    assert started.returncode == 0, started.stderr + manager.property("StatusText")
    assert manager.property("ActiveState") == "active"
    ((_, pid, folder, *arguments),) = program.notes("start")
    assert arguments == ["-m", "edge_audio", "listen", "--config", str(config)]
    assert Path(folder) == manager.config_home / "edge-audio"
    assert Path(folder).stat().st_mode & 0o777 == 0o700

    manager.inside("systemctl", "--user", "reload", "edge-audio")
    until(lambda: program.notes("hup"), "a signal to reload")

    os.kill(int(pid), 9)
    until(lambda: len(program.notes("start")) == 2, "a start after kill -9")
    program.hang()
    until(lambda: len(program.notes("start")) == 3, "a start after the signs of life ended")

    removed = manager.inside(*COMMAND, "service", "uninstall")
    assert removed.returncode == 0, removed.stderr
    assert not unit.exists()
    assert manager.property("ActiveState") == "inactive"
