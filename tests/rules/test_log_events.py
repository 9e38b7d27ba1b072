"""``docs/logs.md`` has every event that the services log, once, with a level that it is logged at."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
# Where the name begins with the service's: two in runtime.health, one in runtime.settings.
OF_A_SERVICE = {"<service>.ready": "info", "<service>.not_ready": "warning", "<service>.settings.wrong": "critical"}


def logged(text: str) -> Iterator[tuple[str | None, str]]:
    """The events of a module's ``log.<level>(…)`` calls with their levels; None for a name that is made up there."""
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "log"):
            continue
        first = node.args[0]
        level = "error" if node.func.attr == "exception" else node.func.attr
        for one in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
            yield (one.value if isinstance(one, ast.Constant) else None), level


def rows(text: str, heading: str) -> list[list[str]]:
    """A table's rows without its head."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "logs.md").read_text()


@pytest.fixture(scope="module")
def events(files: list[Path], root: Path) -> dict[str | None, list[str]]:
    found = defaultdict(list)
    for path in files:
        place = path.relative_to(root).as_posix()
        if (
            path.suffix == ".py"
            and place.startswith(("services/", "libs/runtime/", "libs/store/"))
            and "/src/" in place
        ):
            for event, level in logged(path.read_text()):
                found[event].append(level)
    return found


def test_the_page_lists_every_event_and_no_other(page, events) -> None:
    listed = [row[0].strip("`") for row in rows(page, "Events")]
    assert len(listed) == len(set(listed))
    there = {event for event in events if event is not None} | set(OF_A_SERVICE)
    assert {"missing": there - set(listed), "gone": set(listed) - there} == {"missing": set(), "gone": set()}
    assert len(events[None]) == len(OF_A_SERVICE)
    assert len(listed) > 80


def test_the_page_names_the_levels_and_says_something(page, events) -> None:
    for name, level, meaning in rows(page, "Events"):
        event = name.strip("`")
        assert level in ([OF_A_SERVICE[event]] if event in OF_A_SERVICE else events[event]), event
        assert meaning.endswith("."), event


def test_events_begin_with_who_says_them(events) -> None:
    parts = {event.split(".")[0] for event in events if event is not None}
    assert parts == {"ingest", "worker", "scheduler", "sender", "tracker", "webhooks", "flower", "amqp", "health"}


def test_ids_have_the_names_of_the_page_wherever_they_are_logged(page, files, root) -> None:
    fields = {name.strip("` ") for row in rows(page, "Fields") for name in row[0].split(",")}
    assert {"trace_id", "email_id", "delivery_id", "parcel_id"} <= fields
    wrong = []
    for path in files:
        if path.suffix == ".py" and "/src/mailwarren/" in path.as_posix() and "services/" in path.as_posix():
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id == "log"
                ):
                    names = {keyword.arg for keyword in node.keywords}
                    wrong += [
                        f"{path.name}: {name}" for name in names & {"email", "parcel", "delivery", "trace", "mail_id"}
                    ]
    assert wrong == []


def test_an_event_in_a_conditional_and_one_that_is_made_up_are_seen() -> None:
    code = 'log.warning("a.b" if x else "a.c")\nlog.exception("a.d")\nlog.info(name)\nother.info("no")\n'
    assert list(logged(code)) == [("a.b", "warning"), ("a.c", "warning"), ("a.d", "error"), (None, "info")]
