"""Documents that list what the code has are kept in step with it, and each kind of document keeps its form."""

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Attempt, Wait
from mailwarren.contracts.reply import Command, Reply
from mailwarren.contracts.settle import Verdict
from mailwarren.store.states import State

CHANGES = ("Security", "Removed", "Deprecated", "Added", "Changed", "Fixed")
DECISION = ("Context", "Decision", "Consequences", "Alternatives", "References", "Enforced by")
PAGE = 60
"""Lines of a decision."""


def sections(text: str, level: int = 2) -> dict[str, str]:
    """The text below each heading of a level, by heading."""
    parts = re.split(rf"^{'#' * level} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def first_column(text: str) -> list[str]:
    """The first cells of a table's rows, without backticks; the head and the rule below it are left out."""
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    return [cell.strip("`") for cell in rows[2:]]


def differences(listed: Iterable[str], there: Iterable[str]) -> list[str]:
    listed, there = list(listed), list(there)
    missing = [f"{name} is not listed" for name in there if name not in listed]
    return missing + [f"{name} does not exist" for name in listed if name not in there]


@pytest.fixture(scope="module")
def event_page(root) -> dict[str, str]:
    return sections((root / "docs" / "delivery-event.md").read_text())


@pytest.fixture(scope="module")
def glossary(root) -> dict[str, str]:
    return sections((root / "docs" / "glossary.md").read_text())


@pytest.mark.parametrize(
    ("heading", "there"),
    [
        ("Kinds", [kind.value for kind in Kind]),
        ("Event", Event.__struct_fields__),
        ("Attempt", Attempt.__struct_fields__),
        ("Reply", Reply.__struct_fields__),
    ],
)
def test_the_page_of_the_delivery_event_lists_every_kind_and_field(event_page, heading: str, there: list[str]) -> None:
    assert differences(first_column(event_page[heading]), there) == []


def test_the_page_of_the_delivery_event_names_every_command(event_page) -> None:
    assert [command for command in Command if f"`{command}`" not in event_page["Reply"]] == []


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("States of a delivery", [state.value for state in State]),
        ("Answers to a question (settle)", [verdict.value for verdict in Verdict]),
        ("Why a parcel is on the ladder", [wait.value for wait in Wait]),
    ],
)
def test_the_glossary_has_every_word_that_stands_in_queues_and_tables(glossary, heading: str, words: list[str]) -> None:
    assert differences(first_column(glossary[heading]), words) == []


def test_the_glossary_has_every_lane_and_each_word_once(glossary) -> None:
    text = glossary["Where it goes"]
    assert [lane for lane in Lane if f"`{lane}`" not in text] == []
    words = re.findall(r"^\| \*\*(.+?)\*\*", "".join(glossary.values()), flags=re.MULTILINE)
    assert sorted(words) == sorted(set(words))


def test_a_word_that_is_missing_or_gone_is_named() -> None:
    table = "| kind | meaning |\n|---|---|\n| `started` | Begun. |\n| `vanished` | Gone. |\n"
    assert differences(first_column(table), ["started", "deferred"]) == [
        "deferred is not listed",
        "vanished does not exist",
    ]


# The changelog


def changelog_problems(text: str) -> list[str]:
    wrong = []
    if not text.startswith("# Changelog\n"):
        wrong.append("it does not begin with '# Changelog'")
    versions = list(sections(text))
    if versions[:1] != ["[Unreleased]"]:
        wrong.append("the first section is not [Unreleased]")
    released = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d", name) for name in versions[1:]]
    wrong += [f"not a version and a date: {versions[n + 1]}" for n, match in enumerate(released) if match is None]
    numbers = [tuple(map(int, match.groups())) for match in released if match]
    wrong += [f"not newest first: {later}" for earlier, later in pairwise(numbers) if later >= earlier]
    for version, body in sections(text).items():
        groups = sections(body, level=3)
        known = [name for name in groups if name in CHANGES]
        wrong += [f"{version}: no kind of change: {name}" for name in groups if name not in CHANGES]
        if known != sorted(known, key=CHANGES.index):
            wrong.append(f"{version}: the order is {', '.join(CHANGES)}")
        for name, entries in groups.items():
            lines = entries.strip().splitlines()
            if not lines or any(not line.startswith(("- ", "  ")) for line in lines):
                wrong.append(f"{version}: {name} is not a list")
    return wrong


def test_the_changelog_keeps_its_form(root) -> None:
    text = (root / "CHANGELOG.md").read_text()
    assert changelog_problems(text) == []
    assert "### Added" in sections(text)["[Unreleased]"]


def test_what_is_wrong_in_a_changelog_is_named() -> None:
    text = (
        "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A.\n\n### Security\n\n- S.\n\n## [0.1.0] - 2026-01-01\n\n"
        "### Improved\n\nMuch.\n\n## [0.2.0] - 2026-02-01\n\n## soon\n"
    )
    assert changelog_problems(text) == [
        "not a version and a date: soon",
        "not newest first: (0, 2, 0)",
        "[Unreleased]: the order is Security, Removed, Deprecated, Added, Changed, Fixed",
        "[0.1.0] - 2026-01-01: no kind of change: Improved",
        "[0.1.0] - 2026-01-01: Improved is not a list",
    ]


# Decisions


def decision_problems(path: Path, root: Path) -> list[str]:
    text = path.read_text()
    wrong = []
    number = path.name[:4]
    if not re.match(rf"# {number}\. \S", text):
        wrong.append(f"{path.name}: its title does not begin with {number}")
    if list(sections(text)) != list(DECISION):
        wrong.append(f"{path.name}: its sections are not {', '.join(DECISION)}")
        return wrong
    if not re.search(r"^Area: .+\. Date: \d{4}-\d\d-\d\d\.$", text, flags=re.MULTILINE):
        wrong.append(f"{path.name}: no area and date")
    if len(text.splitlines()) > PAGE:
        wrong.append(f"{path.name}: more than a page")
    checkers = [
        name for name in re.findall(r"`([^`]+)`", sections(text)["Enforced by"]) if "/" in name or name[0] == "."
    ]
    if not checkers:
        wrong.append(f"{path.name}: nothing enforces it")
    return wrong + [f"{path.name}: {name} does not exist" for name in checkers if not (root / name).exists()]


def test_every_decision_is_a_page_in_form_and_something_enforces_it(root) -> None:
    decisions = sorted(path for path in (root / "docs" / "adr").glob("*.md") if not path.name.startswith("0000"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    assert len(decisions) >= 10
    assert [problem for path in decisions for problem in decision_problems(path, root)] == []


def test_the_template_of_decisions_has_their_sections(root) -> None:
    assert list(sections((root / "docs" / "adr" / "0000-template.md").read_text())) == list(DECISION)


def test_what_is_wrong_in_a_decision_is_named(tmp_path) -> None:
    body = "".join(f"## {name}\n\nText.\n\n" for name in DECISION[:-1])
    path = tmp_path / "0007-x.md"
    path.write_text(f"# 0008. X\n\n{body}## Enforced by\n\n`tests/none.py`\n" + "\n" * PAGE)
    assert decision_problems(path, tmp_path) == [
        "0007-x.md: its title does not begin with 0007",
        "0007-x.md: no area and date",
        "0007-x.md: more than a page",
        "0007-x.md: tests/none.py does not exist",
    ]
    path.write_text("# 0007. X\n\n## Context\n")
    assert len(decision_problems(path, tmp_path)) == 1


def test_references_to_decisions_lead_somewhere(files, root) -> None:
    numbers = {path.name[:4] for path in (root / "docs" / "adr").glob("*.md")}
    wrong = []
    for path in files:
        if path.suffix in {".py", ".md", ".toml"} and path.name != Path(__file__).name:
            mentioned = re.findall(r"docs/adr/(\d{4})", path.read_text())
            wrong += [f"{path.name}: docs/adr/{number}" for number in mentioned if number not in numbers]
    assert wrong == []


def test_the_licence_is_apache_2(root) -> None:
    text = (root / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    for project in [*root.glob("libs/*/pyproject.toml"), *root.glob("services/*/pyproject.toml")]:
        assert 'license = "Apache-2.0"' in project.read_text()


def test_every_target_of_the_makefile_is_there_once(root) -> None:
    text = (root / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)[0].split()
    targets = re.findall(r"^([a-z0-9-]+):", text, flags=re.MULTILINE)
    assert sorted(targets) == sorted(phony)
