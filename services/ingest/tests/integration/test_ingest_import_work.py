"""Imports that are cut short anywhere: whoever goes on finds what is left, and the counts are right in the end."""

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import pytest

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.order import Order, Work
from mailwarren.devstack.databases import run_apart
from mailwarren.ingest.adapters import import_work
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.import_work import ImportWork
from mailwarren.ingest.ops import importing
from mailwarren.ingest.ops.bench import REPEATED, Bench
from mailwarren.ingest.ops.jobs import retention
from mailwarren.ingest.settings import OpsSettings

COUNTS = ("created", "updated", "skipped", "failed")
DONE = "completed", None


class Died(BaseException):
    """What a kill is to the code that runs: nothing after it happens."""


@dataclass
class Uploads:
    """Makes imports over the API, and looks at them in the database."""

    client: Any
    place: Any

    def make(self, file: bytes, **query: str) -> UUID:
        answer = self.client.post("/contacts/imports", content=file, params=query, headers={"content-type": "text/csv"})
        assert answer.status_code == 201, answer.text
        return UUID(answer.json()["id"])

    def row(self, ident: UUID) -> Any:
        return self.place.sql("SELECT * FROM contact_imports WHERE id = $1", ident)[0]

    def ended(self, ident: UUID) -> tuple[str, str | None]:
        row = self.row(ident)
        return row["state"], row["error"]

    def counts(self, ident: UUID) -> tuple[int, ...]:
        row = self.row(ident)
        return tuple(row[name] for name in COUNTS)

    def contacts(self, tenant: UUID) -> dict[str, str | None]:
        rows = self.place.sql("SELECT email_key, first_name FROM contacts WHERE tenant = $1", tenant)
        return {row["email_key"]: row["first_name"] for row in rows}

    def overdue(self, ident: UUID) -> None:
        """As if the lease, or the patience, had run out."""
        self.place.sql("UPDATE contact_imports SET due_at = now() WHERE id = $1", ident)


@pytest.fixture
def uploads(client, place, workers) -> Uploads:
    return Uploads(client, place)


@pytest.fixture
def small(monkeypatch):
    """Batches of seven rows."""
    monkeypatch.setattr(importing, "BATCH", 7)


def people(count: int) -> bytes:
    return b"email,first_name\n" + b"".join(b"p%d@example.org,P%d\n" % (n, n) for n in range(count))


def dying(monkeypatch: pytest.MonkeyPatch, when: dict[int, str]) -> None:
    """The worker dies at its n-th batch, before or after it is committed."""
    plain, written = ImportWork.write, Counter[str]()

    async def write(self: ImportWork, *arguments: Any) -> Any:
        written["batches"] += 1
        place = when.get(written["batches"])
        if place == "before":
            raise Died
        found = await plain(self, *arguments)
        if place == "after":
            raise Died
        return found

    monkeypatch.setattr(ImportWork, "write", write)


def carried_on(workers: Any, uploads: Uploads, ident: UUID) -> int:
    """Give it to workers until one comes to the end; how many died."""
    died = 0
    while uploads.row(ident)["state"] in {"queued", "in_progress"}:
        for order in workers.orders():
            while True:
                try:
                    workers.carry_out(order)
                    break
                except Died:
                    died += 1
                    if died % 2:
                        # The order is lost, and the scheduler gives another. Else the broker gives it to the next.
                        uploads.overdue(ident)
                        break
    return died


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("on_conflict", "seed"), [("skip", 1), ("upsert", 2), ("upsert", 3)])
def test_a_worker_may_die_anywhere_and_the_end_is_as_if_none_had(
    monkeypatch, workers, uploads, caller, on_conflict: str, seed: int
) -> None:
    dice = random.Random(seed)
    rows = [
        (dice.choice(["%s@example.org", "%s@EXAMPLE.org", "%s"]) % f"p{dice.randrange(30)}", f"N{n}")
        for n in range(120)
    ]
    wanted: dict[str, str] = {}
    counted = Counter[str]()
    for address, name in rows:
        key = address.lower()
        kind = "failed" if "@" not in key else "created" if key not in wanted else "updated" if (
            on_conflict == "upsert"
        ) else "skipped"  # fmt: skip
        counted[kind] += 1
        if kind in {"created", "updated"}:
            wanted[key] = name
    dying(monkeypatch, {dice.randrange(1, 30): dice.choice(["before", "after"]) for _ in range(9)})
    file = b"email,first_name\n" + "".join(f"{address},{name}\n" for address, name in rows).encode()
    ident = uploads.make(file, on_conflict=on_conflict)
    assert carried_on(workers, uploads, ident) > 0
    assert uploads.ended(ident) == DONE
    assert uploads.counts(ident) == tuple(counted[name] for name in COUNTS)
    assert uploads.contacts(caller.tenant) == wanted
    numbers = uploads.place.sql("SELECT number FROM contact_import_errors WHERE import_id = $1 ORDER BY number", ident)
    assert [row["number"] for row in numbers] == [n for n, (address, _) in enumerate(rows, 1) if "@" not in address]


@pytest.mark.usefixtures("small")
def test_who_was_taken_over_from_writes_nothing_more(workers, uploads, caller) -> None:
    ident = uploads.make(people(50))
    [order] = workers.orders()
    other: list[str] = []

    def another_takes_it() -> bool:
        if not other:
            # The broker lost sight of this worker, and gave the same order to another.
            other.append(workers.carry_out(order))
        return False

    assert workers.carry_out(order, another_takes_it) == "nothing more: it was canceled, or another worker has it"
    assert other == ["50 rows, 0 failed"]
    assert uploads.counts(ident) == (50, 0, 0, 0)
    assert len(uploads.contacts(caller.tenant)) == 50
    assert workers.carry_out(order) == REPEATED
    assert uploads.counts(ident) == (50, 0, 0, 0)


def test_only_the_order_that_the_row_names_is_carried_out(workers, uploads, caller) -> None:
    ident = uploads.make(people(3))
    stranger = Order(id=new_id(), work=Work.IMPORT, due_at=0, subject=ident)
    assert workers.carry_out(stranger) == REPEATED
    [lost] = workers.orders()
    assert workers.orders() == [], "it was just given out"
    uploads.overdue(ident)
    [order] = workers.orders()
    assert (order.subject, order.id != lost.id) == (ident, True)
    assert workers.carry_out(lost) == REPEATED
    assert uploads.contacts(caller.tenant) == {}
    assert workers.carry_out(order) == "3 rows, 0 failed"
    nobody = Order(id=order.id, work=Work.IMPORT, due_at=0, subject=new_id())
    assert workers.carry_out(nobody) == REPEATED


@pytest.mark.usefixtures("small")
def test_a_worker_that_stops_leaves_the_rest_to_the_next_at_once(workers, uploads) -> None:
    ident = uploads.make(people(20))
    [order] = workers.orders()
    assert workers.carry_out(order, lambda: True) == "7 rows; stopped before the end"
    row = uploads.row(ident)
    assert (row["state"], row["created"], row["position"] < row["size"]) == ("in_progress", 7, True)
    shown = uploads.client.get(f"/contacts/imports/{ident}").json()
    assert (shown["status"], shown["counts"]["total"], 0 < shown["percent"] < 100) == ("in_progress", 7, True)
    assert workers.settle() == ["20 rows, 0 failed"]
    assert uploads.counts(ident) == (20, 0, 0, 0)


@pytest.mark.usefixtures("small")
def test_an_import_that_is_canceled_stops_after_its_batch(workers, uploads, caller) -> None:
    ident = uploads.make(people(40))
    [order] = workers.orders()

    def cancel() -> bool:
        uploads.client.post(f"/contacts/imports/{ident}/cancel")
        return False

    assert workers.carry_out(order, cancel).startswith("nothing more")
    assert uploads.ended(ident) == ("canceled", "Canceled.")
    assert len(uploads.contacts(caller.tenant)) == uploads.counts(ident)[0] == 7


@pytest.mark.usefixtures("small")
def test_a_property_that_is_deleted_meanwhile_ends_it(workers, uploads, caller) -> None:
    made = uploads.client.post("/contact-properties", json={"key": "plan", "type": "string"}).json()["id"]
    file = b"email,plan\n" + b"".join(b"p%d@example.org,gold\n" % n for n in range(30))
    ident = uploads.make(file)
    later = uploads.make(file)
    [order] = workers.orders()

    def delete() -> bool:
        uploads.client.delete(f"/contact-properties/{made}")
        return False

    said = "The contact property `plan` was deleted."
    assert workers.carry_out(order, delete) == said
    assert uploads.ended(ident) == ("failed", said)
    assert len(uploads.contacts(caller.tenant)) == uploads.counts(ident)[0] == 7
    assert workers.settle() == [said]
    assert uploads.ended(later) == ("failed", said)


def test_a_tenants_imports_follow_each_other_and_others_have_their_turn(workers, uploads, server, new_caller) -> None:
    first, second = uploads.make(people(3)), uploads.make(people(5))
    with server.client(new_caller().token) as client:
        other = Uploads(client, uploads.place).make(people(3))
    [order] = workers.orders(at_once=1)
    assert order.subject == first
    assert workers.orders(at_once=1) == [], "one is in hand"
    [another] = workers.orders(at_once=2)
    assert another.subject == other
    assert workers.orders() == [], "the second waits for the first"
    assert workers.states()[:2] == (3, 0)
    workers.carry_out(order)
    [order] = workers.orders()
    assert order.subject == second
    workers.carry_out(order)
    assert uploads.counts(second) == (2, 0, 3, 0)


def test_an_import_that_nobody_can_go_on_with_fails_in_the_end(monkeypatch, workers, uploads) -> None:
    ident = uploads.make(people(3))
    monkeypatch.setattr(import_work, "MOST_TRIES", 3)
    dying(monkeypatch, dict.fromkeys(range(1, 100), "before"))
    for _ in range(import_work.MOST_TRIES):
        uploads.overdue(ident)
        [order] = workers.orders()
        with pytest.raises(Died):
            workers.carry_out(order)
    uploads.overdue(ident)
    [order] = workers.orders()
    assert workers.carry_out(order) == REPEATED
    assert uploads.ended(ident) == ("failed", "No worker could go on with it; tell us.")
    assert workers.orders() == []


def test_a_bug_waits_for_the_next_try_of_its_order_and_ends_with_the_last(monkeypatch, workers, uploads) -> None:
    ident = uploads.make(people(3))
    [order] = workers.orders()

    async def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(ImportWork, "declared", broken)
        with pytest.raises(RuntimeError, match="a bug"):
            workers.carry_out(order)
    assert workers.orders() == [], "the order has its own next try"
    uploads.overdue(ident)
    [newer] = workers.orders()
    workers.give_up(order)
    assert uploads.row(ident)["state"] == "in_progress", "it is another order's by now"
    workers.give_up(newer)
    assert uploads.ended(ident) == ("failed", "It failed on our side; what was imported stays.")
    assert workers.carry_out(order) == REPEATED


def test_a_file_with_nothing_but_empty_lines_beyond_its_beginning_fails(workers, uploads) -> None:
    ident = uploads.make(b"email\n" + b"\n" * 1_100_000)
    assert "has no rows" in workers.settle()[0]
    assert uploads.ended(ident)[0] == "failed"


def test_a_file_that_lost_a_piece_is_not_taken_for_a_shorter_one(workers, uploads) -> None:
    ident = uploads.make(people(60_000))
    uploads.place.sql(
        "DELETE FROM contact_import_chunks WHERE import_id = $1 AND starts = (SELECT min(starts) FROM "
        "contact_import_chunks WHERE import_id = $1 AND starts > 0)", ident,
    )  # fmt: skip
    [order] = workers.orders()
    with pytest.raises(importing.FileGone):
        workers.carry_out(order)
    assert uploads.row(ident)["state"] == "in_progress"


def test_rows_as_long_as_they_may_be_go_through_windows(workers, uploads, caller) -> None:
    wide = ",".join(["x" * 100_000] * 9)
    names = ",".join(f"c{n}" for n in range(9))
    file = f"email,{names}\n" + "".join(f"w{n}@example.org,{wide}\n" for n in range(6)) + "".join(
        f"n{n}@example.org{',' * 9}\n" for n in range(2_500)
    )  # fmt: skip
    ident = uploads.make(file.encode())
    workers.settle()
    assert uploads.counts(ident) == (2_506, 0, 0, 0)
    assert len(uploads.contacts(caller.tenant)) == 2_506


def test_failed_rows_beyond_a_bound_are_counted_only(monkeypatch, workers, uploads) -> None:
    monkeypatch.setattr(import_work, "KEPT", 10)
    monkeypatch.setattr(importing, "BATCH", 7)
    ident = uploads.make(b"email\n" + b"nobody\n" * 30)
    workers.settle()
    assert uploads.counts(ident) == (0, 0, 0, 30)
    kept = uploads.place.sql("SELECT number FROM contact_import_errors WHERE import_id = $1 ORDER BY number", ident)
    assert [row["number"] for row in kept] == list(range(1, 11))


def forget(place: Any, **settings: Any) -> str:
    async def run() -> str:
        asked = OpsSettings(**({"emails_days": 0, "stats_days": 0, "attachments_days": 0} | settings))
        async with Database(place.database_url, 2) as database:
            return await retention(Bench(database, asked, lambda: False))

    return run_apart(run())


def test_files_go_when_they_are_done_with_and_reports_after_their_days(workers, uploads) -> None:
    place = uploads.place
    # In several pieces: cells that are not imported make it long.
    long = b"".join(b"p%d@example.org,%s\n" % (n, b"x" * 4_000) for n in range(200))
    ended = uploads.make(b"email,note\n" + long + b"nobody,x\n")
    workers.settle()
    waiting = uploads.make(people(3))
    broken = new_id()
    place.sql(
        "INSERT INTO contact_imports (tenant, id, state, filename, due_at, created_at, updated_at) "
        "VALUES ($1, $2, 'uploading', '', now(), now() - interval '25 hours', now())", new_id(), broken,
    )  # fmt: skip
    place.sql("INSERT INTO contact_import_chunks SELECT tenant, id, 0, 'x' FROM contact_imports WHERE id = $1", broken)

    def left(table: str) -> set[UUID]:
        column = "id" if table == "contact_imports" else "import_id"
        return {row[0] for row in place.sql(f"SELECT {column} FROM {table}")}

    assert "import_uploads" in forget(place, imports_days=2, retention_batch=1)
    assert left("contact_import_chunks") == {waiting}
    assert left("contact_imports") == {ended, waiting}
    assert left("contact_import_errors") == {ended}
    place.sql("UPDATE contact_imports SET ended_at = now() - interval '49 hours' WHERE id = $1", ended)
    assert "imports" not in forget(place, imports_days=0)
    assert "1 import_errors, 1 imports" in forget(place, imports_days=2)
    assert left("contact_imports") == {waiting}
    assert workers.settle() == ["3 rows, 0 failed"]


def test_what_is_stored_of_a_plan_is_what_is_read(workers, uploads) -> None:
    ident = uploads.make("E-Mail;Größe\nzoe@example.org;1\n".encode("utf-16"))
    plan = msgspec.json.decode(uploads.row(ident)["plan"])
    assert (plan["encoding"], plan["delimiter"], plan["names"]) == ("utf-16", ";", ["E-Mail", "Größe"])
    assert workers.settle() == ["1 rows, 0 failed"]
