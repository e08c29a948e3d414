"""The `edge-audio` command: finds sub-commands, and turns errors into one line and an exit code.

Nothing heavy is imported until a command runs: listing the commands reads their docstrings from
source, so that `edge-audio --help` neither waits for a runtime nor needs any extra installed.
"""

from __future__ import annotations

import os

# One audio stream needs one thread; numpy's OpenBLAS would start one per core as it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import ast
import contextlib
import importlib.util
import re
import sys
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, NoReturn

import click

from edge_audio.cli.console import remark
from edge_audio.cli.streams import mend_standard_streams, stop_writing
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.listening.signals import EarlyReload

ENTRY_POINT_GROUP = "edge_audio.commands"
# Which extras bring what the commands of a package import; a command of its own needs stands with
# its full value.
EXTRAS = {
    "distill": "train",
    "firmware_bridge": "firmware",
    "quantize": "train,export",
    "quantize.cli:calibrate": "train",
}
OWN_MODULES = {
    "listen": "listen",
    "tag": "tag",
    "devices": "devices",
    "config": "config",
    "models": "models",
    "inspect": "models",
    "verify": "verify",
    "compare": "compare",
    "bench": "bench",
    "service": "service",
    "report": "report",
    "history": "history",
    "password": "password",
    "notify": "notify",
    "tune": "tune",
    "learn": "learn",
    "sounds": "sounds",
}


class Entry(NamedTuple):
    """A command that is not imported yet, attr of a module."""

    name: str
    module: str
    attr: str

    @property
    def value(self) -> str:
        return f"{self.module}:{self.attr}"

    def load(self) -> Any:
        return resolve_name(self.value)


OWN_COMMANDS = {
    name: Entry(name, f"edge_audio.cli.{module}", name) for name, module in OWN_MODULES.items()
}


def command_summary(entry: Entry) -> str:
    """First docstring line of a command, read from its source: importing it may load torch."""
    try:
        spec = importlib.util.find_spec(entry.module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return ""
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == entry.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0].rstrip(".")
    return ""


def extras_of(entry: Entry, module: str) -> str | None:
    """Which extras to install where a command misses a module; None if no extra has it."""
    package = entry.module.partition(".")[0]
    return EXTRAS.get(entry.value) or EXTRAS.get(package) or extra_with(module)


def extra_with(module: str) -> str | None:
    """The first extra that asks for a distribution of that name, such as plot for matplotlib."""
    from importlib.metadata import PackageNotFoundError, requires

    with contextlib.suppress(PackageNotFoundError):
        for requirement in requires("edge-audio") or ():
            found = re.match(r"([\w.-]+).*extra == [\"']([\w-]+)", requirement)
            if found and found[1].lower().replace("-", "_") == module.partition(".")[0].lower():
                return found[2]
    return None


def missing_module(entry: Entry, error: ModuleNotFoundError) -> EdgeAudioError:
    """What to install for a command whose imports are not there."""
    module = error.name or str(error)
    extras = extras_of(entry, module)
    cure = f"pip install 'edge-audio[{extras}]'" if extras else "reinstall edge-audio"
    return EdgeAudioError(f"{entry.name} needs the module {module!r}: {cure}")


class LazyGroup(click.Group):
    """Imports a command when it is used, not when it is listed. Refuses values that are empty, as
    scripts give where a variable is not set: no option means anything by them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for before, argument in zip(["", *args], args, strict=False):
            name, equals, value = argument.partition("=")
            if not argument.strip():
                name = before if before.startswith("-") else "an argument"
            elif not (equals and name.startswith("--") and not value.strip()):
                continue
            raise click.UsageError(f"{name} has no value: give one, or leave it out")
        return super().parse_args(ctx, args)

    @cached_property
    def found(self) -> dict[str, Entry]:
        """Own commands in their order, then those that sibling packages registered."""
        from importlib.metadata import entry_points  # which none of our own waits for

        others = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name)
        return {**{x.name: Entry(x.name, x.module, x.attr) for x in others}, **OWN_COMMANDS}

    def _entry(self, name: str) -> Entry | None:
        return OWN_COMMANDS.get(name) or self.found.get(name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*OWN_COMMANDS, *(name for name in self.found if name not in OWN_COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._entry(cmd_name)
        if entry is None:
            return None
        try:
            command: click.Command = entry.load()
        except ModuleNotFoundError as error:
            raise missing_module(entry, error) from error
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:  # commands may put off imports until they run
            entry = self._entry(ctx.invoked_subcommand or "")
            if entry is None:
                raise
            raise missing_module(entry, error) from error
        except BrokenPipeError:  # click would make this exit code 1
            stop_writing()
            return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, command_summary(self.found[name])) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback with an error.")
@click.version_option(package_name="edge-audio", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Names the sounds around you: streaming audio tagging on the device itself.

    \b
    edge-audio listen                     the microphone, live
    edge-audio tag doorbell.wav           what is in a recording
    edge-audio listen --source demo       no microphone needed
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _is_name(name: object) -> bool:
    return isinstance(name, (str, bytes)) and bool(name)


def fail(message: str, exit_code: int) -> NoReturn:
    """Prints one line to stderr and exits."""
    remark(f"error: {' '.join(message.split())}")
    raise SystemExit(exit_code)


def usage_message(error: click.ClickException) -> str:
    """Click's message with a pointer to the help of the command that refused."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message} (see {context.command_path} --help)" if context else message


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 run error, 2 wrong usage, 130 interrupted."""
    mend_standard_streams()
    arguments = sys.argv[1:]
    if "listen" in arguments and any(text.partition("=")[0] == "--config" for text in arguments):
        EarlyReload.watch()
    try:
        exit_code = cli.main(arguments, prog_name="edge-audio", standalone_mode=False)
        sys.stdout.flush()
        raise SystemExit(exit_code)
    except BrokenPipeError:
        stop_writing()
    except (click.Abort, KeyboardInterrupt):
        raise SystemExit(130) from None
    except Exception as error:
        if "--debug" in arguments:
            raise
        fail_with(error)


def fail_with(error: Exception) -> NoReturn:
    """One line on stderr for any error, and the exit code of its kind."""
    if isinstance(error, click.ClickException):
        fail(usage_message(error), error.exit_code)
    if isinstance(error, EdgeAudioError):
        fail(str(error), 2 if isinstance(error, UsageError) else 1)
    if isinstance(error, OSError) and error.strerror:
        stop_writing()  # it may be what is full
        where = f"{os.fsdecode(error.filename)}: " if _is_name(error.filename) else ""
        fail(f"{where}{error.strerror.lower()}", 1)
    name = type(error).__name__
    fail(f"unexpected {name}: {error} (edge-audio --debug ... shows where)", 1)
