"""Every table says how long it is kept, and what export and erasure of an address do with it; a page says the same."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import mailwarren.store.tables
from mailwarren.ingest.domain.privacy import ERASED, EXPORTED
from mailwarren.ingest.ops.metrics import KINDS
from mailwarren.ingest.settings import OpsSettings
from mailwarren.store.metadata import metadata
from mailwarren.store.retention import RETENTION, Forgets, Rule
from mailwarren.tracker.settings import WebhookSettings

PREFIX = "MAILWARREN_"
NOT_PERSONAL = "nothing personal"

for module in pkgutil.iter_modules(mailwarren.store.tables.__path__):
    importlib.import_module(f"{mailwarren.store.tables.__name__}.{module.name}")


def unnamed(tables: set[str], rules: set[str]) -> set[str]:
    return tables ^ rules


def test_every_table_has_its_retention() -> None:
    """A new table goes into ``mailwarren.store.retention``, with what export and erasure do about it."""
    assert unnamed(set(metadata.tables), set(RETENTION)) == set()


def test_a_table_without_one_is_named() -> None:
    assert unnamed({"emails", "new"}, {"emails", "gone"}) == {"new", "gone"}


@pytest.mark.parametrize(("table", "rule"), sorted(RETENTION.items()), ids=sorted(RETENTION))
def test_who_forgets_it_and_the_setting_are_there(table: str, rule: Rule) -> None:
    if rule.by is Forgets.WORKER:
        assert rule.kind in KINDS, f"ops.retention counts no {rule.kind}"
    else:
        assert rule.kind is None
    if rule.setting is not None:
        fields = {*OpsSettings.model_fields, *WebhookSettings.model_fields}
        assert rule.setting.removeprefix(PREFIX).lower() in fields
        assert rule.by in {Forgets.WORKER, Forgets.TRACKER}


@pytest.mark.parametrize(("table", "rule"), sorted(RETENTION.items()), ids=sorted(RETENTION))
def test_what_is_exported_is_erased(table: str, rule: Rule) -> None:
    if rule.export is not None:
        assert rule.export in EXPORTED
        assert rule.erasure != NOT_PERSONAL


@pytest.mark.parametrize("table", sorted(name for name, found in metadata.tables.items() if "address" in found.c))
def test_a_column_for_addresses_is_personal(table: str) -> None:
    assert RETENTION[table].erasure != NOT_PERSONAL


def test_each_file_of_an_export_has_a_table() -> None:
    assert {rule.export for rule in RETENTION.values()} - {None} == set(EXPORTED)
    assert len(set(ERASED)) == len(ERASED)


def test_the_page_shows_this_table(root: Path) -> None:
    lines = [line for line in (root / "docs" / "privacy.md").read_text().splitlines() if line.startswith("| `")]
    shown = {line.split("`")[1]: line for line in lines if not line.split("`")[1].endswith(".jsonl")}
    assert set(shown) == set(RETENTION)
    for table, rule in RETENTION.items():
        cells = [cell.strip().strip("`") for cell in shown[table].strip("|").split("|")]
        assert cells == [table, rule.kept, rule.setting or "", rule.by.value, rule.export or "", rule.erasure]
