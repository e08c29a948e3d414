"""Claims of SECURITY.md: what the source of `edge_audio` must not contain, what a run must not do.

That bundles cannot lead out of their folder is in tests/edge_audio/bundle.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import edge_audio
from tests.support.command_line import listening
from tests.support.paths import REPOSITORY

PACKAGE = Path(edge_audio.__file__).parent
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
UNSAFE_NAMES = {"eval", "exec", "__import__"}
UNSAFE_CALLS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "tempfile.mktemp",
}
AUDIT_S = 60
Audit = Callable[..., subprocess.CompletedProcess[str]]


def findings(source: str) -> Iterator[str]:
    """Each use of something that runs, or unpacks anywhere, what a stranger wrote."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = {alias.name.partition(".")[0] for alias in node.names}
            yield from modules & UNSAFE_MODULES
        elif isinstance(node, ast.ImportFrom):
            yield from {(node.module or "").partition(".")[0]} & UNSAFE_MODULES
            yield from {f"{node.module}.{alias.name}" for alias in node.names} & UNSAFE_CALLS
        elif isinstance(node, ast.Call):
            yield from _of_call(node)


def _of_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    method = name.rpartition(".")[2]
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in UNSAFE_NAMES | UNSAFE_CALLS:
        yield name
    if keywords.get("shell", "False") != "False":
        yield "shell"
    if keywords.get("allow_pickle", "False") != "False":
        yield "allow_pickle"
    if name in ("np.load", "numpy.load") and "allow_pickle" not in keywords:
        yield name
    if method in ("extractall", "extract") and keywords.get("filter") != "'data'":
        yield method


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", "pickle"),
        ("from yaml import load", "yaml"),
        ("def f():\n import dill.source", "dill"),
        ("eval(text)", "eval"),
        ("from os import system", "os.system"),
        ("os.popen(text)", "os.popen"),
        ("subprocess.run(text, shell=True)", "shell"),
        ("subprocess.run(text, shell=wanted)", "shell"),
        ("np.load(file)", "np.load"),
        ("np.load(file, allow_pickle=True)", "allow_pickle"),
        ("tar.extractall(folder)", "extractall"),
        ("np.load(file, allow_pickle=False)", None),
        ("subprocess.run(['a'], shell=False)", None),
        ("tar.extractall(folder, filter='data')", None),
        ("model.eval(); re.compile(text)", None),
    ],
)
def test_the_search_sees_what_it_looks_for(source: str, found: str | None) -> None:
    assert list(findings(source)) == ([found] if found else [])


def test_nothing_in_the_package_runs_or_unpacks_what_a_stranger_wrote() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 30
    found = {str(f.relative_to(PACKAGE)): [*findings(f.read_text("utf-8"))] for f in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_nothing_listens_to_the_network_while_the_microphone_is_heard() -> None:
    arguments = ("--source", "demo", "--format", "jsonl", "--top", "1", "--duration", "60")
    with listening(*arguments) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())  # everything is set up by now
        root = psutil.Process(process.pid)
        family = [root, *root.children(recursive=True)]
        sockets = [socket for member in family for socket in member.net_connections("inet")]
    assert sockets == []


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Runs .ci/audit on what a stand-in for pip-audit reports about the installed packages."""
    program = tmp_path / "bin" / "pip-audit"
    program.parent.mkdir()

    def run(report: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "report").write_text(report)
        # the file after --output is the last argument
        program.write_text(f'#!/bin/sh\nfor last; do :; done\ncat "{tmp_path}/report" > "$last"\n')
        program.chmod(0o755)
        return subprocess.run(
            [REPOSITORY / ".ci" / "audit", sys.executable],
            env={**os.environ, "AUDIT_VENV": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=AUDIT_S,
            check=False,
        )

    return run


SAFE = {"name": "numpy", "version": "2.4.6", "vulns": []}
VULNERABLE = {"name": "rich", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}
OWN = {"name": "edge-audio", "skip_reason": "distribution marked as editable"}


@pytest.mark.parametrize(
    ("packages", "exit_code", "said"),
    [
        ([SAFE, OWN], 0, "1 of 1 packages looked up, 0 known"),
        ([SAFE, VULNERABLE, UNKNOWN], 1, "rich 1: CVE-1, fixed in 2"),
        ([SAFE, UNKNOWN], 3, "NOT AUDITED"),
        ([], 3, "NOT AUDITED"),
        (None, 3, "NOT AUDITED"),
    ],
)
def test_an_audit_is_clean_only_if_every_package_was_looked_up(
    audit: Audit, packages: list[object] | None, exit_code: int, said: str
) -> None:
    done = audit("" if packages is None else json.dumps({"dependencies": packages}))
    assert done.returncode == exit_code, done.stderr
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize(("packages", "exit_code"), [([UNKNOWN], 0), ([VULNERABLE, UNKNOWN], 1)])
def test_an_optional_audit_forgives_what_was_not_looked_up_but_says_so(
    audit: Audit, packages: list[object], exit_code: int
) -> None:
    done = audit(json.dumps({"dependencies": packages}), AUDIT_OPTIONAL="1")
    assert done.returncode == exit_code
    assert ("NOT AUDITED" in done.stderr) == (exit_code == 0)
