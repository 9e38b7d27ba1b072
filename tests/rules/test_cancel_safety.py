"""No ``asyncio.wait_for``: in Python 3.11 it loses a cancel that arrives as its awaitable ends.

A service that is cancelled at that moment never stops (seen: a link to the broker that could not be closed).
``asyncio.timeout`` does the same without losing anything.
"""

import ast
from collections.abc import Iterable
from pathlib import Path


def waits(modules: Iterable[Path]) -> list[str]:
    return [
        f"{module.name}:{node.lineno}: use asyncio.timeout"
        for module in modules
        for node in ast.walk(ast.parse(module.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr == "wait_for" and ast.unparse(node.value) == "asyncio")
        or (
            isinstance(node, ast.ImportFrom) and node.module == "asyncio" and "wait_for" in [a.name for a in node.names]
        )
    ]


def test_nothing_waits_with_wait_for(sources) -> None:
    assert waits(sources) == []


def test_a_wait_for_is_named(tmp_path) -> None:
    module = tmp_path / "waits.py"
    module.write_text(
        "import asyncio\nfrom asyncio import wait_for\n\nasync def f(e, c):\n    await asyncio.wait_for(e, 1)\n"
        "    await c.wait_for(e)\n"
    )
    assert waits([module]) == ["waits.py:2: use asyncio.timeout", "waits.py:5: use asyncio.timeout"]
