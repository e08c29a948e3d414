"""`edge-audio listen` as a systemd service: the unit, where it goes, and what it may do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.support.files import replace_file
from edge_audio.support.folders import config_dir

DEFAULT_NAME = "edge-audio"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}")
USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")

_UNIT = """\
# Written by `edge-audio service install`; changes belong into `systemctl edit {name}`.
[Unit]
Description=Sounds named by edge-audio
# A microphone may be missing for months: never stop trying.
StartLimitIntervalSec=0
{after}
[Service]
Type=notify
ExecStart={command}
{reload}Restart=on-failure
RestartSec=10
# The first start may compile an engine.
TimeoutStartSec=300
WatchdogSec=30
MemoryMax=512M
# Relative paths of the configuration are in here.
StateDirectory={name}
StateDirectoryMode=0700
WorkingDirectory=%S/{name}
CacheDirectory={name}
Environment=PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 XDG_CACHE_HOME=%C/{name}
UMask=0077
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
{confinement}
[Install]
WantedBy={wanted_by}
"""

# What only the system's own manager can do for a service.
_SYSTEM_CONFINEMENT = """\
{user}
SupplementaryGroups=audio
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
DevicePolicy=closed
DeviceAllow=char-alsa rw
CapabilityBoundingSet=
AmbientCapabilities=
RemoveIPC=yes
"""


def check_service_name(name: str) -> str:
    """The name as it is. Raises UsageError for one that is no plain unit name."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no service name: use letters, digits, '-', '_' and '.'")
    return name


def unit_path(name: str, for_system: bool) -> Path:
    """Where systemd looks for the unit of the system, or of the user who calls."""
    if for_system:
        return Path("/etc/systemd/system", f"{name}.service")
    return config_dir() / "systemd" / "user" / f"{name}.service"


def unit_text(name: str, config: Path | None, for_system: bool, run_as: str | None = None) -> str:
    """The unit. config: an absolute path, None for the defaults of `edge-audio listen`.

    run_as: the user of a system service, None for one that systemd makes up while it runs.
    Raises UsageError where a path or user cannot be written into a unit.
    """
    words = [sys.executable, "-m", "edge_audio", "listen"]
    if config is not None:
        words += ["--config", str(config)]
    return _UNIT.format(
        name=name,
        command=exec_line(words),
        # Without settings to read again the signal ends it
        reload="" if config is None else "ExecReload=kill -HUP $MAINPID\n",
        after="Wants=network-online.target\nAfter=network-online.target sound.target\n"
        if for_system
        else "",
        confinement=_SYSTEM_CONFINEMENT.format(user=_user_line(run_as)) if for_system else "",
        wanted_by="multi-user.target" if for_system else "default.target",
    )


def exec_line(words: list[str]) -> str:
    """A command as ExecStart= takes it. The leading colon keeps `$` from being replaced."""
    if set(words[0]) & set("\"'\\"):
        raise UsageError(f"systemd does not start {words[0]}: install into another folder")
    first, *others = map(_escaped, words)
    return " ".join([f'":{first}"', *(f'"{word}"' for word in others)])


def _escaped(word: str) -> str:
    if not word.isprintable():
        raise UsageError(f"{word!r} has control codes in it: systemd cannot run that")
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _user_line(run_as: str | None) -> str:
    if run_as is None:
        return "DynamicUser=yes"
    if not USER_NAME.fullmatch(run_as):
        raise UsageError(f"{run_as!r} is no user name")
    return f"User={run_as}"


def write_unit(path: Path, text: str, force: bool = False) -> bool:
    """Writes the unit, False if it is there already. Raises UsageError if another one is."""
    try:
        current = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        current = None
    if current == text:
        return False
    if current is not None and not force:
        raise UsageError(f"{path} exists with other content; --force replaces it")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())
    return True


def systemctl_command(for_system: bool, *arguments: str) -> list[str]:
    """The command for the system's manager, or for that of the user who calls."""
    return ["systemctl", *([] if for_system else ["--user"]), *arguments]


def systemctl(for_system: bool, *arguments: str) -> None:
    """Runs systemctl, which prints for itself. Raises EdgeAudioError where it fails."""
    command = systemctl_command(for_system, *arguments)
    try:
        done = subprocess.run(command, check=False)
    except FileNotFoundError as error:
        raise EdgeAudioError("no systemctl here: this needs a system that runs systemd") from error
    if done.returncode:
        raise EdgeAudioError(f"`{' '.join(command)}` failed with exit code {done.returncode}")
