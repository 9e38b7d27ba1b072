"""Who may do what in the database: every table has said so."""

import importlib
import pkgutil
import re

import mailwarren.store.tables
from mailwarren.contracts.access import Service
from mailwarren.store.access import BOOKKEEPING, ROLES, TABLES, table_rights
from mailwarren.store.metadata import metadata

PARTITIONS = {"events_default"}

for module in pkgutil.iter_modules(mailwarren.store.tables.__path__):
    importlib.import_module(f"{mailwarren.store.tables.__name__}.{module.name}")


def test_every_table_says_who_reads_and_writes_it() -> None:
    """A new table goes into ``mailwarren.store.access.TABLES``, or no service can use it."""
    assert set(metadata.tables) - {*TABLES, *BOOKKEEPING} == set()
    assert set(TABLES) - set(metadata.tables) == PARTITIONS


BOTH = {"suppressions"}
"""The tables with two writers: docs/adr/0035."""


def test_only_the_one_writer_of_a_table_changes_it() -> None:
    for name, rights in TABLES.items():
        comment = metadata.tables[name.removesuffix("_default")].comment or ""
        named = re.match(r"Writers: (\w+), (\w+)\." if name in BOTH else r"Writer: (\w+)\.", comment)
        assert named, f"the comment of {name} begins with its writer"
        writers = {service for service, held in rights.items() if held - {"SELECT"}}
        assert writers <= {Service(word) for word in named.groups()}
        assert all("SELECT" in held for held in rights.values())


def test_only_services_that_connect_have_a_role() -> None:
    assert set(ROLES) == {service for rights in TABLES.values() for service in rights}
    assert table_rights(Service.SENDER) == {name: frozenset() for name in TABLES} | dict.fromkeys(
        BOOKKEEPING, frozenset({"SELECT"})
    )
