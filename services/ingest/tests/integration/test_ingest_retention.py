"""What is past its time goes, in batches, and nothing else: by ingest's own role, against a real Postgres."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from mailwarren.contracts.access import Service
from mailwarren.devstack.databases import run_apart
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.commands.access import Accounts, apply_database_access, role_name
from mailwarren.ingest.ops.bench import Bench
from mailwarren.ingest.ops.jobs import retention
from mailwarren.ingest.settings import OpsSettings
from mailwarren.store import migrate
from mailwarren.store.engine import dsn

pytestmark = pytest.mark.postgres

TENANT = uuid4()
GONE, JUST_GONE, KEPT = uuid4(), uuid4(), uuid4()
TOPIC = "name, description, default_subscription, visibility"
DAYS = 30


@dataclass
class Ledger:
    """Rows of certain ages, written by the owner; retention by ingest's role."""

    owner_url: str
    ingest_url: str

    def sql(self, statement: str, *values: object) -> list[Any]:
        return run_apart(self._sql(self.owner_url, statement, *values))

    def as_ingest(self, statement: str, *values: object) -> list[Any]:
        return run_apart(self._sql(self.ingest_url, statement, *values))

    @staticmethod
    async def _sql(url: str, statement: str, *values: object) -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    def content(self, age: float) -> bytes:
        digest = secrets.token_bytes(32)
        self.sql(
            "INSERT INTO contents (digest, tenant, sender, subject, headers, syntax, first_seen, last_seen) "
            "VALUES ($1, $2, 'a@b.test', 's', '{}', 'template', now(), now() - $3::float8 * interval '1 day')",
            digest, TENANT, age,
        )  # fmt: skip
        return digest

    def email(self, age: float, content: bytes, *ended: float | None) -> UUID:
        """An email of an age in days with deliveries that ended so many days ago, or not yet."""
        email = uuid4()
        self.sql(
            'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
            "reply_to, tags, metadata, message_id, on_unknown) VALUES ($1, $2, now() - $3::float8 * interval '1 day', "
            "'bulk', 0, $4, 'a@b.test', 's', '{}', '{}', '{}', '{}', '{}', '{}', 'm', 'resend')",
            email, TENANT, age, content,
        )  # fmt: skip
        for days in ended:
            self.sql(
                "INSERT INTO deliveries (id, email_id, tenant, address, lane, state, updated_at, ended_at) VALUES "
                "($1, $2, $3, 'x@y.test', 'bulk', $4, now(), now() - $5::float8 * interval '1 day')",
                uuid4(), email, TENANT, "delivered" if days is not None else "parked", days,
            )  # fmt: skip
        return email

    def scheduled(self, age: float, state: str, ended: float | None = None) -> UUID:
        """An email that was asked for so many days ago, to be sent later, and released or canceled so many ago."""
        email = uuid4()
        self.sql(
            "INSERT INTO scheduled (id, tenant, base, position, lane, state, due_at, created_at, mail, content, size, "
            "history, ended_at) VALUES ($1, $2, $1, 0, 'bulk', $3, now(), now() - $4::float8 * interval '1 day', '{}', "
            "$1, 1, '[]', now() - $5::float8 * interval '1 day')",
            email, TENANT, state, age, ended,
        )  # fmt: skip
        return email

    def attachment(self, email: UUID, age: float, folder: Path, digest: bytes | None = None) -> Path:
        """A file that an email got so many days ago; where its object is."""
        digest = digest or secrets.token_bytes(32)
        self.sql(
            "INSERT INTO blobs (digest, size, created_at, last_used_at, stored_at) SELECT $1, 1, t, t, t "
            "FROM (SELECT now() - $2::float8 * interval '1 day' AS t) AS times ON CONFLICT DO NOTHING", digest, age,
        )  # fmt: skip
        self.sql(
            "INSERT INTO email_attachments (tenant, email_id, id, position, digest, filename, content_type, size, "
            "created_at) VALUES ($1, $2, $3, 0, $4, 'a', 'a/b', 1, now() - $5::float8 * interval '1 day')",
            TENANT, email, uuid4(), digest, age,
        )  # fmt: skip
        path = folder / digest.hex()[:2] / digest.hex()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        return path

    def ids(self, table: str, column: str = "id") -> set[Any]:
        return {row[0] for row in self.sql(f"SELECT {column} FROM {table}")}

    def run(self, *, stopping: Any = lambda: False, **settings: Any) -> str:
        async def job() -> str:
            asked = OpsSettings(**({"emails_days": DAYS, "retention_batch": 2} | settings))
            async with Database(self.ingest_url, 2) as database:
                return await retention(Bench(database, asked, stopping))

        return run_apart(job())


@pytest.fixture(scope="module")
def place(postgres) -> Iterator[Ledger]:
    run_apart(migrate.upgrade(postgres.database_url))
    accounts = Accounts({one: secrets.token_hex(16) for one in Service}, f"mwt{secrets.token_hex(4)}")
    run_apart(apply_database_access(postgres.database_url, accounts, 5))
    parts = urlsplit(dsn(postgres.database_url))
    login = f"{role_name(Service.INGEST, accounts.name)}:{accounts.passwords[Service.INGEST]}"
    made = Ledger(
        dsn(postgres.database_url), parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()
    )
    made.sql("INSERT INTO tenants VALUES ($1, 'one', now())", TENANT)
    yield made
    for service in (Service.INGEST, Service.TRACKER):
        made.sql(f"DROP OWNED BY {role_name(service, accounts.name)}")
        made.sql(f"DROP ROLE {role_name(service, accounts.name)}")


@pytest.fixture
def ledger(place: Ledger) -> Ledger:
    for table in (
        "contents", "emails", "deliveries", "stats_minute", "idempotency_keys", "contacts", "contact_properties",
        "segments", "topics", "scheduled", "email_attachments", "blobs",
        "broadcasts", "email_metrics", "api_logs",
    ):  # fmt: skip
        place.sql(f"DELETE FROM {table}")
    return place


def test_old_mail_goes_with_its_deliveries_and_contents_and_young_mail_stays(ledger) -> None:
    old, young = ledger.content(DAYS + 5), ledger.content(2)
    for _ in range(5):
        ledger.email(DAYS + 1, old, DAYS + 1, DAYS + 0.5)
    kept = ledger.email(2, young, 1)
    assert ledger.run() == "deleted 5 emails, 10 deliveries, 1 contents"
    assert ledger.ids("emails") == {kept}
    assert len(ledger.ids("deliveries")) == 1
    assert ledger.ids("contents", "digest") == {young}
    assert ledger.run() == "deleted nothing"


@pytest.mark.parametrize("ended", [(None,), (DAYS + 1, None), (DAYS - 1,)], ids=["parked", "one parked", "ended late"])
def test_mail_that_is_not_over_for_that_long_stays_with_its_content(ledger, ended) -> None:
    content = ledger.content(400)
    email = ledger.email(400, content, *ended)
    assert ledger.run() == "deleted nothing"
    assert ledger.ids("emails") == {email}
    assert ledger.ids("contents", "digest") == {content}


def test_a_content_that_was_seen_again_stays(ledger) -> None:
    """The tracker refreshes last_seen before an email that refers to it is recorded, once a day at most."""
    content = ledger.content(DAYS + 0.5)
    ledger.email(DAYS - 0.4, content, 1)
    assert ledger.run() == "deleted nothing"


def test_attachments_go_after_their_days_and_then_their_objects(ledger, tmp_path) -> None:
    old, young, open_ = (ledger.email(100, b"x", ended) for ended in (95, 95, None))
    gone = [ledger.attachment(old, 91, tmp_path) for _ in range(3)]
    kept = [ledger.attachment(young, 89, tmp_path), ledger.attachment(open_, 99, tmp_path)]
    never_published = ledger.attachment(uuid4(), 99, tmp_path)
    assert ledger.run(emails_days=0, blob_url=tmp_path.as_uri()) == "deleted 4 attachments, 4 blobs"
    assert [path.exists() for path in (*gone, never_published)] == [False] * 4
    assert [path.exists() for path in kept] == [True] * 2
    assert ledger.run(emails_days=0, blob_url=tmp_path.as_uri()) == "deleted nothing"


def test_an_object_stays_for_as_long_as_another_email_has_the_file(ledger, tmp_path) -> None:
    digest = secrets.token_bytes(32)
    path = ledger.attachment(ledger.email(100, b"x", 95), 99, tmp_path, digest)
    ledger.attachment(ledger.scheduled(100, "scheduled"), 99, tmp_path, digest)
    assert ledger.run(emails_days=0, blob_url=tmp_path.as_uri()) == "deleted 1 attachments"
    assert path.exists()


@pytest.mark.parametrize(("state", "ended"), [("scheduled", None), ("held", None), ("released", 1), ("canceled", 2)])
def test_scheduled_mail_keeps_its_files_until_it_is_sent_however_long_that_is(ledger, tmp_path, state, ended) -> None:
    path = ledger.attachment(ledger.scheduled(400, state, ended), 400, tmp_path)
    assert ledger.run(emails_days=0, blob_url=tmp_path.as_uri()) == "deleted nothing"
    assert path.exists()
    ledger.sql("UPDATE scheduled SET state = 'canceled', ended_at = now() - interval '4 days'")
    assert ledger.run(emails_days=0, blob_url=tmp_path.as_uri()) == "deleted 1 attachments, 1 blobs"
    assert not path.exists()


def test_broadcasts_go_when_the_ledger_has_no_mail_of_them_any_more(ledger) -> None:
    def broadcast(state: str, ended: float | None) -> UUID:
        ident = uuid4()
        ledger.sql(
            "INSERT INTO broadcasts (id, tenant, state, name, segment, lane, reply_to, preview_text, created_at, "
            "updated_at, ended_at) VALUES ($1, $2, $3, 'n', $2, 'bulk', '{}', '', now(), now(), "
            "now() - $4::float8 * interval '1 day')", ident, TENANT, state, ended,
        )  # fmt: skip
        return ident

    broadcast("sent", DAYS + 1)
    broadcast("canceled", DAYS + 1)
    with_mail = broadcast("sent", DAYS + 1)
    kept = {with_mail, broadcast("sent", DAYS - 1), broadcast("draft", None), broadcast("paused", None)}
    ledger.email(DAYS + 1, ledger.content(1), 1)
    ledger.sql("UPDATE deliveries SET broadcast = $1", with_mail)
    assert ledger.run() == "deleted 2 broadcasts"
    assert ledger.ids("broadcasts") == kept


def test_keys_go_after_a_day_and_counts_after_their_time(ledger) -> None:
    for hours in (23, 25, 26, 27):
        ledger.sql(
            "INSERT INTO idempotency_keys (tenant, key, base, owner, fingerprint, lease_until, created_at) VALUES "
            "($1, $2, $1, $1, '', now(), now() - $3::int * interval '1 hour')", TENANT, f"k{hours}", hours,
        )  # fmt: skip
    for days in (3, 11, 12, 13):
        ledger.sql(
            "INSERT INTO stats_minute VALUES ($1, now() - $2::int * interval '1 day', 'bulk', 'delivered', 1)",
            TENANT, days,
        )  # fmt: skip
    assert ledger.run(stats_days=10) == "deleted 3 idempotency_keys, 3 stats"
    assert ledger.ids("idempotency_keys", "key") == {"k23"}


def test_counters_go_with_the_counts_and_calls_after_their_own_days(ledger) -> None:
    for days in (3, 11, 12):
        ledger.sql(
            "INSERT INTO email_metrics (tenant, quarter, domain, sent) "
            "VALUES ($1, now() - $2::int * interval '1 day', 'a.test', 1)",
            TENANT, days,
        )  # fmt: skip
        ledger.sql(
            "INSERT INTO api_logs (tenant, id, created_at, api_key, method, endpoint, status, user_agent) "
            "VALUES ($1, gen_random_uuid(), now() - $2::int * interval '1 day', $1, 'GET', '/emails', 200, '')",
            TENANT, days,
        )  # fmt: skip
    assert ledger.run(stats_days=10, api_logs_days=11) == "deleted 2 metrics, 2 api_logs"


def test_zero_days_keep_for_ever(ledger) -> None:
    ledger.email(4000, ledger.content(4000), 4000)
    assert ledger.run(emails_days=0, stats_days=0) == "deleted nothing"


def test_a_run_that_is_cut_short_keeps_what_it_did(ledger) -> None:
    for _ in range(5):
        ledger.email(DAYS + 1, b"x", DAYS + 1)
    asked = iter([False, False, True])
    assert ledger.run(stopping=lambda: next(asked)) == "deleted 2 emails, 2 deliveries; stopped before the end"
    assert len(ledger.ids("emails")) == 3
    assert ledger.run() == "deleted 3 emails, 3 deliveries"


@pytest.mark.parametrize("function", ["forget_emails", "forget_contents", "forget_stats", "forget_metrics"])
@pytest.mark.parametrize("before", ["now()", "now() - interval '71 hours'", "NULL"])
def test_the_database_itself_refuses_to_forget_young_rows(ledger, function: str, before: str) -> None:
    with pytest.raises(asyncpg.RaiseError, match="may not be forgotten"):
        ledger.as_ingest(f"SELECT {function}({before}, 10)")


def test_ingest_cannot_delete_mail_by_itself(ledger) -> None:
    for table in ("emails", "deliveries", "contents", "stats_minute"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            ledger.as_ingest(f"DELETE FROM {table}")


def test_what_hung_on_something_deleted_goes_with_it(ledger) -> None:
    """In batches of two, five minutes after the deletion; what is not deleted stays."""
    for table, more in (("contact_properties", "key, type"), ("segments", "name"), ("topics", TOPIC)):
        for ident, minutes in ((GONE, 6), (JUST_GONE, 1), (KEPT, None)):
            values = {"key, type": "$2::text, 'string'", "name": "'s'"}.get(more, "'t', '', 'opt_in', 'private'")
            ledger.sql(
                f"INSERT INTO {table} (tenant, id, created_at, updated_at, deleted_at, {more}) VALUES "
                f"($1, $2::text::uuid, now(), now(), now() - $3::int * interval '1 minute', {values})",
                TENANT, str(ident), minutes,
            )  # fmt: skip
    for number in range(5):
        contact = uuid4()
        values = json.dumps({one.hex: "x" for one in (GONE, JUST_GONE, KEPT)})
        ledger.sql(
            "INSERT INTO contacts (tenant, id, email, email_key, unsubscribed, properties, created_at, updated_at) "
            "VALUES ($1, $2, $3, $3, false, $4, now(), now())", TENANT, contact, f"p{number}@y.test", values,
        )  # fmt: skip
        for one in (GONE, JUST_GONE, KEPT):
            ledger.sql(
                "INSERT INTO contact_segments (tenant, segment, contact) VALUES ($1, $2, $3)", TENANT, one, contact
            )
            ledger.sql(
                "INSERT INTO contact_topics (tenant, topic, contact, subscription, updated_at) "
                "VALUES ($1, $2, $3, 'opt_out', now())", TENANT, one, contact,
            )  # fmt: skip
    assert ledger.run() == (
        "deleted 5 contact_values, 1 contact_properties, 5 contact_segments, 1 segments, 5 contact_topics, 1 topics"
    )
    for table in ("contact_properties", "segments", "topics"):
        assert ledger.ids(table) == {JUST_GONE, KEPT}
    assert ledger.ids("contact_segments", "segment") == ledger.ids("contact_topics", "topic") == {JUST_GONE, KEPT}
    assert {key for (row,) in ledger.sql("SELECT properties FROM contacts") for key in json.loads(row)} == {
        JUST_GONE.hex, KEPT.hex,
    }  # fmt: skip
    assert ledger.run() == "deleted nothing"
