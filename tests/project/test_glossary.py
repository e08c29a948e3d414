"""Words that the glossary has replaced do not come back into names in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from tests.support.floors import modules
from tests.support.paths import REPOSITORY

GLOSSARY = (REPOSITORY / "docs" / "glossary.md").read_text(encoding="utf-8")


@cache
def banned() -> set[str]:
    """What stands between "Never" and the end of the sentence, in backticks."""
    sentences = re.findall(r"\bNever\s+((?:`\w+`,?\s*)+)\.", GLOSSARY)
    return {word for sentence in sentences for word in re.findall(r"`(\w+)`", sentence)}


def words(name: str) -> set[str]:
    """`MqttOutlet` -> mqtt, outlet; `max_off_s` -> max, off, s."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def names(source: str) -> Iterator[str]:
    """Everything that a module gives a name to: classes, functions, parameters, variables."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_names_in_the_code_keep_to_the_glossary() -> None:
    wrong = {
        f"{module}: {name}"
        for module, path in modules().items()
        for name in [*module.split("."), *names(path.read_text(encoding="utf-8"))]
        if words(name) & banned()
    }
    assert not wrong


def test_the_glossary_bans_words_and_names_are_taken_apart() -> None:
    assert {"outlet", "rehearsal", "contender"} <= banned()
    assert words("MqttOutlet") == {"mqtt", "outlet"}
    assert words("on_MQTTLink_s") == {"on", "mqtt", "link", "s"}
    assert set(names("class A:\n  def f(b, c): b.d = e = 1")) == set("Afbcde")
