"""A service's package says what can fail and who tries again; test modules have names of their own."""

import ast
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

FAILS = re.compile(r"\b(fail|lost|dies?|down|refused|cannot|crash)", re.IGNORECASE)
RETRIES = re.compile(r"\b(retr|again|repeat)", re.IGNORECASE)


def silent(packages: Iterable[Path]) -> list[str]:
    wrong = []
    for init in packages:
        text = ast.get_docstring(ast.parse(init.read_text())) or ""
        for missing, there in (
            ("is a line long at most", len(text.splitlines()) > 1),
            ("does not say what fails", FAILS.search(text)),
            ("does not say who tries again", RETRIES.search(text)),
        ):
            if not there:
                wrong.append(f"{init.parent.name}: {missing}")
    return wrong


def test_every_service_says_what_fails_and_who_tries_again(root) -> None:
    packages = sorted(root.glob("services/*/src/mailwarren/*/__init__.py"))
    assert {path.parent.name for path in packages} >= {"ingest", "sender", "tracker"}
    assert silent(packages) == []


def test_every_other_package_says_more_than_its_name(root) -> None:
    packages = [
        *root.glob("libs/*/src/mailwarren/*/__init__.py"),
        *root.glob("loadtest/*/src/mailwarren/*/__init__.py"),
        *root.glob("deploy/*/src/mailwarren/*/__init__.py"),
    ]
    assert [line for line in silent(packages) if "line long" in line] == []


def test_a_silent_package_is_named(tmp_path) -> None:
    quiet, talks = tmp_path / "quiet" / "__init__.py", tmp_path / "talks" / "__init__.py"
    for path, text in ((quiet, '"""Sends mail."""'), (talks, '"""Sends.\n\nThe broker fails: tried again by us.\n"""')):
        path.parent.mkdir()
        path.write_text(text)
    assert silent([quiet, talks]) == [
        "quiet: is a line long at most",
        "quiet: does not say what fails",
        "quiet: does not say who tries again",
    ]


def repeated(paths: Iterable[Path]) -> list[str]:
    return [name for name, count in Counter(path.name for path in paths).items() if count > 1]


def test_no_two_test_modules_share_a_name(files) -> None:
    """A failure names its module; two of a name send the reader to the wrong one."""
    assert repeated(path for path in files if path.name.startswith("test_") and path.suffix == ".py") == []


def test_a_repeated_name_is_named() -> None:
    assert repeated([Path("a/test_x.py"), Path("b/test_x.py"), Path("b/test_y.py")]) == ["test_x.py"]
