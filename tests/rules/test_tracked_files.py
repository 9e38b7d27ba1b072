"""What no file of the repository may hold: a machine's own paths, a promise to do it later, a private package index."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

MACHINE_PATH = re.compile(r"(?<![\w./~$}-])/(?:home|root|work|Users)/[\w.]")
# Written apart, so that this file keeps its own rule.
LATER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
HOSTS = frozenset({"pypi.org", "files.pythonhosted.org"})


def lines_with(pattern: re.Pattern[str], paths: Iterable[Path]) -> list[str]:
    found = []
    for path in paths:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.name}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    return found


def foreign_hosts(lock: str) -> set[str]:
    """Hosts that a lock file fetches from, beside PyPI's."""

    def urls(value: object) -> Iterable[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in {"url", "registry", "git"} and isinstance(inner, str):
                    yield inner
                yield from urls(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from urls(inner)

    return {host for url in urls(tomllib.loads(lock)) if (host := urlsplit(url).netloc) not in HOSTS}


def test_no_file_names_a_path_of_a_machine(files) -> None:
    assert len(files) > 100
    assert lines_with(MACHINE_PATH, files) == []


def test_nothing_is_left_for_later(files) -> None:
    assert lines_with(LATER, [path for path in files if path.name != "uv.lock"]) == []


def test_packages_come_from_pypi_only(root) -> None:
    assert foreign_hosts((root / "uv.lock").read_text()) == set()


def test_violations_are_named(tmp_path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(
        f'see {"/home"}/ada/x and https://example.org{"/home"}/x\ncd {"/work"}/main\n"{"/root"}/.cache"\n'
        f"a net{'/work'}/x\n# {'TO' + 'DO'}: later\nmastodon\n"
    )
    assert [line.split(":")[1] for line in lines_with(MACHINE_PATH, [path])] == ["1", "2", "3"]
    assert [line.split(":")[1] for line in lines_with(LATER, [path])] == ["5"]


def test_a_foreign_index_is_named() -> None:
    lock = (
        '[[package]]\nsource = { registry = "https://mirror.example/simple" }\nsdist = { url = "https://pypi.org/x" }\n'
    )
    assert foreign_hosts(lock) == {"mirror.example"}
