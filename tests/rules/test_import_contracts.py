"""The import rules cover what there is: a new module falls under them, or this says where to name it.

``lint-imports`` itself is a stage of ``bin/test``.
"""

import configparser
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

SERVICES = ("ingest", "sender", "tracker")
# The modules that may speak Celery.
CELERY = frozenset({"mailwarren.sender.engine", "mailwarren.sender.main"})


@pytest.fixture(scope="module")
def contracts(root) -> dict[str, Mapping[str, str]]:
    parser = configparser.ConfigParser()
    parser.read(root / ".importlinter")
    return {name.rpartition(":")[2]: parser[name] for name in parser.sections()}


def top_modules(root: Path, service: str) -> set[str]:
    """The modules and packages right below a service."""
    folder = root / "services" / service / "src" / "mailwarren" / service
    found = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    found |= {path.parent.name for path in folder.glob("*/__init__.py")}
    return {f"mailwarren.{service}.{name}" for name in found}


def unnamed(modules: Iterable[str], listed: str, but: Iterable[str] = ()) -> list[str]:
    return sorted(set(modules) - set(listed.split()) - set(but))


def test_every_member_is_under_the_rules(root, contracts) -> None:
    packages = [*root.glob("libs/*/src/mailwarren/*"), *root.glob("services/*/src/mailwarren/*")]
    packages += [*root.glob("loadtest/*/src/mailwarren/*"), *root.glob("deploy/*/src/mailwarren/*")]
    members = {f"mailwarren.{path.name}" for path in packages if (path / "__init__.py").exists()}
    assert len(members) >= 8
    assert unnamed(members, contracts["importlinter"]["root_packages"]) == []


def test_every_service_is_independent(root, contracts) -> None:
    members = {f"mailwarren.{path.name}" for path in root.glob("services/*") if (path / "pyproject.toml").exists()}
    assert unnamed(members, contracts["services"]["modules"]) == []


def test_every_module_of_the_sender_is_kept_from_celery(root, contracts) -> None:
    assert unnamed(top_modules(root, "sender"), contracts["celery"]["source_modules"], CELERY) == []


def test_every_module_of_ingest_but_the_worker_is_kept_from_celery(root, contracts) -> None:
    worker = {"mailwarren.ingest.ops", "mailwarren.ingest.main"}
    assert unnamed(top_modules(root, "ingest"), contracts["celery"]["source_modules"], worker) == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_module_of_a_service_is_kept_from_its_domain(root, contracts, service: str) -> None:
    domain = {f"mailwarren.{service}.domain"}
    listed = contracts["domain-of-ours"]["forbidden_modules"]
    assert unnamed(top_modules(root, service), listed, domain) == []


def test_a_module_that_no_rule_names_is_named(tmp_path) -> None:
    folder = tmp_path / "services" / "sender" / "src" / "mailwarren" / "sender"
    (folder / "extra").mkdir(parents=True)
    for path in (folder / "__init__.py", folder / "known.py", folder / "late.py", folder / "extra" / "__init__.py"):
        path.touch()
    assert unnamed(top_modules(tmp_path, "sender"), "\n    mailwarren.sender.known\n") == [
        "mailwarren.sender.extra",
        "mailwarren.sender.late",
    ]
