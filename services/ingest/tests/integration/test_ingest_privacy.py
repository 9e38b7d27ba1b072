"""Exports and erasures of an address: asked for over the API, carried out by a worker, followed and downloaded.

The workers have ingest's own role in the database.
"""

import io
import json
import re
import secrets
import unicodedata
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from mailwarren.contracts.access import Service
from mailwarren.contracts.ids import delivery_id, new_id
from mailwarren.devstack.databases import run_apart
from mailwarren.ingest.adapters import erasing
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.privacy_work import PrivacyWork
from mailwarren.ingest.commands.access import Accounts, apply_database_access, role_name
from mailwarren.ingest.ops import privacy
from mailwarren.ingest.ops.bench import Bench
from mailwarren.ingest.ops.jobs import retention
from mailwarren.ingest.settings import OpsSettings

ADA, BOB, GRADA = "Ada@example.com", "bob@example.com", "grada@example.com"
NOW = datetime.now(UTC)


class Stored:
    """Rows about addresses, of one tenant."""

    def __init__(self, place, tenant):
        self.place, self.tenant = place, tenant

    def email(self, *to, variables=None, state="delivered", reply=None, html="<p>Hello Ada</p>", broadcast=None):
        email, digest = new_id(), secrets.token_bytes(32)
        syntax = "literal" if variables is None else "template"
        self.place.sql(
            "INSERT INTO contents (digest, tenant, sender, subject, html, headers, syntax, first_seen) "
            "VALUES ($1, $2, 's@sender.test', 'Hello', $3, '{}', $4, now())",
            digest, self.tenant, html, syntax,
        )  # fmt: skip
        self.place.sql(
            'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
            "reply_to, tags, metadata, variables, message_id, on_unknown) VALUES ($1, $2, $3, 'bulk', 0, $4, "
            "'s@sender.test', 'Hello Ada', $5, '{}', '{}', '{}', '[{\"name\": \"n\", \"value\": \"v\"}]', "
            "'{\"customer\": \"7\"}', $6, 'm', 'resend')",
            email, self.tenant, NOW, digest, [f"A person <{one}>" for one in to], variables,
        )  # fmt: skip
        for one in to:
            ident = delivery_id(email, one)
            self.place.sql(
                "INSERT INTO deliveries (id, email_id, tenant, address, role, lane, state, attempt, accepted_at, "
                "updated_at, ended_at, reply_code, reply_text, broadcast) VALUES "
                "($1, $2, $3, $4, 'to', 'bulk', $5, 1, $6, $6, $7, 250, $8, $9)",
                ident, email, self.tenant, one, state, NOW, None if state == "deferred" else NOW, reply, broadcast,
            )  # fmt: skip
            self.place.sql(
                "INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt, reply_text) "
                "VALUES ($1, $2, $3, $4, $5, 'delivered', 1, $6)",
                NOW, new_id(), ident, email, self.tenant, reply,
            )  # fmt: skip
        return email

    def clicked(self, email, to, endpoint=None):
        """A click of one of its recipients, and what an endpoint was told of it."""
        link, agent, ip = "https://shop.test/?for=Lovelace", "Mozilla/5.0 (of Ada)", "192.0.2.7"
        self.place.sql(
            "INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt, link, agent, ip) "
            "VALUES ($1, $2, $3, $4, $5, 'clicked', 0, $6, $7, $8)",
            NOW, new_id(), delivery_id(email, to), email, self.tenant, link, agent, ip,
        )  # fmt: skip
        click = {"ipAddress": ip, "link": link, "userAgent": agent, "timestamp": "2026-11-22T10:00:00.000Z"}
        self.place.sql(
            "INSERT INTO webhook_deliveries (tenant, endpoint, id, kind, at, data, email_id) "
            "VALUES ($1, $2, $3, 'email.clicked', now(), $4, $5)",
            self.tenant, endpoint or new_id(), new_id(), json.dumps({"to": [to], "click": click}), email,
        )  # fmt: skip

    def everything(self):
        """All rows of this tenant, as text, by table."""
        found = {}
        for row in self.place.sql(
            "SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_name) "
            "WHERE c.column_name = 'tenant' AND c.table_schema = 'public' AND t.table_type = 'BASE TABLE'"
        ):
            name = row["table_name"]
            rows = self.place.sql(f"SELECT to_jsonb(t)::text AS line FROM {name} t WHERE tenant = $1", self.tenant)
            if rows:
                found[name] = "\n".join(one["line"] for one in rows)
        return found

    def naming(self, text):
        """The tables that name it, as a word."""
        word = re.compile(rf"(?<![\w.%+-]){re.escape(text)}", re.IGNORECASE)
        return sorted(name for name, lines in self.everything().items() if word.search(lines))

    def states(self):
        rows = self.place.sql(
            "SELECT state, count(*) AS n FROM deliveries WHERE tenant = $1 GROUP BY state ORDER BY state", self.tenant
        )
        return {row["state"]: row["n"] for row in rows}


@pytest.fixture
def stored(place, caller):
    return Stored(place, caller.tenant)


class Workers:
    """Schedulers and workers for requests; ``settle`` carries out all that is due."""

    def __init__(self, place, url):
        self._place, self._url = place, url

    def settle(self, stopping: Callable[[], bool] = lambda: False):
        async def run():
            said = []
            async with Database(self._url, 2) as database:
                work = PrivacyWork(database)
                while True:
                    async with work.due(5) as due:
                        pass
                    if not due:
                        return said
                    bench = Bench(database, OpsSettings(), stopping)
                    said += [await privacy.carry_out(bench, one.order) for one in due]

        return run_apart(run())

    def once(self, stopping):
        """One order of each that is due."""

        async def run():
            async with Database(self._url, 2) as database:
                async with PrivacyWork(database).due(5) as due:
                    pass
                bench = Bench(database, OpsSettings(), stopping)
                return [await privacy.carry_out(bench, one.order) for one in due]

        return run_apart(run())

    def long_ago(self):
        """What was begun was begun two minutes ago, and what waits is due."""
        self._place.sql(
            "UPDATE privacy_requests SET updated_at = updated_at - interval '2 minutes', due_at = now() "
            "WHERE state IN ('queued', 'in_progress')"
        )

    def erase(self, client, email=ADA):
        made = client.post("/privacy/requests", json={"type": "erasure", "email": email})
        assert made.status_code == 201
        self.settle()
        self.long_ago()
        self.settle()
        return client.get(f"/privacy/requests/{made.json()['id']}").json()


@pytest.fixture(scope="module")
def as_ingest(place):
    """The database as ingest's role."""
    accounts = Accounts({one: secrets.token_hex(16) for one in Service}, f"mwt{secrets.token_hex(4)}")
    run_apart(apply_database_access(place.database_url, accounts, 5))
    parts = urlsplit(place.database_url)
    login = f"{role_name(Service.INGEST, accounts.name)}:{accounts.passwords[Service.INGEST]}"
    yield parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()
    for service in (Service.INGEST, Service.TRACKER):
        place.sql(f"DROP OWNED BY {role_name(service, accounts.name)}")
        place.sql(f"DROP ROLE {role_name(service, accounts.name)}")


@pytest.fixture
def workers(place, as_ingest):
    place.sql("DELETE FROM privacy_requests")
    return Workers(place, as_ingest)


@pytest.fixture
def about_ada(stored, client, place):
    """Something in every place that names people."""
    contact = {"email": ADA, "first_name": "Ada", "last_name": "Lovelace"}
    assert client.post("/contacts", json=contact).status_code == 201
    assert client.post("/contacts", json={"email": GRADA, "first_name": "Grace"}).status_code == 201
    assert client.post("/suppressions", json={"email": ADA}).status_code == 200
    assert client.post("/suppressions", json={"email": ADA, "scope": "lists"}).status_code == 200
    alone = stored.email(ADA, reply=f"550 <{ADA.lower()}>: no")
    shared = stored.email(ADA, BOB, reply="250 ok")
    filled = stored.email(ADA, variables='{"name": "Ada"}', html="<p>{{name}}</p>")
    other = stored.email(GRADA, reply=f"250 {GRADA}")
    tenant = stored.tenant
    for email in (alone, shared):
        place.sql(
            "INSERT INTO email_attachments (tenant, email_id, id, position, digest, filename, content_type, size, "
            "created_at) VALUES ($1, $2, $3, 0, '\\x01', 'ada.pdf', 'application/pdf', 3, now())",
            tenant, email, new_id(),
        )  # fmt: skip
    import_id = new_id()
    place.sql(
        "INSERT INTO contact_imports (tenant, id, state, filename, due_at, created_at, updated_at, ended_at) "
        "VALUES ($1, $2, 'completed', 'f.csv', now(), now(), now(), now())",
        tenant, import_id,
    )  # fmt: skip
    for number, address in enumerate((ADA, GRADA)):
        place.sql(
            "INSERT INTO contact_import_errors (tenant, import_id, number, line, cells, error) "
            "VALUES ($1, $2, $3, $3, $4, 'no')",
            tenant, import_id, number, json.dumps([address, "x"]),
        )  # fmt: skip
    endpoint, told = new_id(), new_id()
    data = {"email": ADA, "first_name": "Ada", "last_name": "Lovelace"}
    place.sql(
        "INSERT INTO webhook_deliveries (tenant, endpoint, id, kind, at, data) "
        "VALUES ($1, $2, $3, 'contact.created', now(), $4)",
        tenant, endpoint, told, json.dumps(data),
    )  # fmt: skip
    place.sql(
        "INSERT INTO webhook_attempts (tenant, endpoint, event, id, sent_at, status, response, duration) "
        "VALUES ($1, $2, $3, $4, now(), 200, 'hello Ada', 0.1)",
        tenant, endpoint, told, new_id(),
    )  # fmt: skip
    place.sql(
        "INSERT INTO idempotency_keys (tenant, key, base, owner, fingerprint, lease_until, answer, status, created_at) "
        "VALUES ($1, 'k', $2, $2, '\\x00', now(), $3, 202, now())",
        tenant, new_id(), json.dumps({"data": [{"to": ADA}, {"to": BOB}]}).encode(),
    )  # fmt: skip
    later = {"from": "s@sender.test", "subject": "S", "text": "T", "scheduled_at": "in 5 days"}
    assert client.post("/emails", json=later | {"to": ADA}).status_code == 200
    assert client.post("/emails", json=later | {"to": [BOB, f"Ada <{ADA}>"]}).status_code == 200
    return {"alone": alone, "shared": shared, "filled": filled, "other": other}


def download(client, ident):
    got = client.get(f"/privacy/requests/{ident}/download")
    assert (got.status_code, got.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
        index = json.loads(archive.read("index.json"))
        files = {
            name.removesuffix(".jsonl"): [json.loads(line) for line in archive.read(name).splitlines()]
            for name in archive.namelist()
            if name != "index.json"
        }
    return index, files


def test_an_export_has_all_that_is_stored_of_an_address(client, workers, about_ada):
    ident = client.post("/privacy/requests", json={"type": "export", "email": "ADA@example.com"}).json()["id"]
    assert client.get(f"/privacy/requests/{ident}").json()["status"] == "queued"
    assert client.get(f"/privacy/requests/{ident}/download").status_code == 422
    workers.settle()
    shown = client.get(f"/privacy/requests/{ident}").json()
    assert (shown["status"], shown["percent"], shown["stage"]) == ("completed", 100.0, None)
    index, files = download(client, ident)
    assert index["email"] == ADA.lower()
    assert {name: len(lines) for name, lines in files.items()} == {
        name: number for name, number in shown["counts"].items() if number
    }
    assert [one["first_name"] for one in files["contacts"]] == ["Ada"]
    assert len(files["suppressions"]) == len(files["unsubscribes"]) == 1
    mails = {one["email_id"]: one for one in files["emails"]}
    assert set(mails) == {str(about_ada[name]) for name in ("alone", "shared", "filled")}
    alone = mails[str(about_ada["alone"])]
    assert (alone["html"], alone["to"], len(alone["events"])) == ("<p>Hello Ada</p>", ADA, 1)
    assert [file["filename"] for file in alone["attachments"]] == ["ada.pdf"]
    assert mails[str(about_ada["filled"])]["variables"] == {"name": "Ada"}
    assert len(files["scheduled"]) == 2
    assert len(files["import_errors"]) == len(files["webhooks"]) == 1
    said = json.dumps(files)
    assert GRADA not in said, "somebody else's"
    assert BOB not in said, "another recipient"


def test_an_erasure_leaves_no_place_that_names_the_address(client, workers, about_ada, stored, place):
    before, others = stored.states(), stored.naming(GRADA)
    assert len(stored.naming(ADA)) >= 8
    shown = workers.erase(client)
    assert (shown["status"], shown["email"], shown["percent"]) == ("completed", None, 100.0)
    assert stored.naming(ADA) == []
    assert stored.naming("Lovelace") == []
    assert stored.states() == before, "the ledger counts what it counted"
    assert stored.naming(GRADA) == others, "a longer address is another"
    assert stored.naming(BOB), "another recipient's"
    got = client.get(f"/emails/{about_ada['alone']}").json()
    assert (got["html"], got["subject"], got["metadata"]) == (None, "", {})
    assert got["to"][0].startswith("erased-")
    shared = client.get(f"/emails/{about_ada['shared']}").json()
    assert shared["html"] == "<p>Hello Ada</p>"
    assert f"A person <{BOB}>" in shared["to"]
    (filled,) = place.sql("SELECT variables FROM emails WHERE id = $1", about_ada["filled"])
    assert filled["variables"] == "{}"
    files = place.sql("SELECT email_id FROM email_attachments WHERE tenant = $1", stored.tenant)
    assert [row["email_id"] for row in files] == [about_ada["shared"]]
    (left,) = place.sql("SELECT mail FROM scheduled WHERE tenant = $1", stored.tenant)
    assert BOB.encode() in left["mail"]
    assert ADA.encode().lower() not in left["mail"].lower()
    (kept,) = place.sql("SELECT answer FROM idempotency_keys WHERE tenant = $1", stored.tenant)
    answered = [one["to"] for one in json.loads(kept["answer"])["data"]]
    assert (answered[0].startswith("erased-"), answered[1]) == (True, BOB)


def test_an_erasure_takes_what_its_reader_clicked_and_with_what(client, workers, stored, place):
    email = stored.email(ADA, BOB)
    stored.clicked(email, ADA)
    stored.clicked(email, BOB)
    ident = client.post("/privacy/requests", json={"type": "export", "email": ADA}).json()["id"]
    workers.settle()
    (mail,) = download(client, ident)[1]["emails"]
    (click,) = [one for one in mail["events"] if one["kind"] == "clicked"]
    assert (click["link"], click["user_agent"], click["ip"]) == (
        "https://shop.test/?for=Lovelace", "Mozilla/5.0 (of Ada)", "192.0.2.7",
    )  # fmt: skip
    assert workers.erase(client)["status"] == "completed"
    left = place.sql(
        "SELECT delivery_id, link, agent, ip FROM events WHERE tenant = $1 AND kind = 'clicked'", stored.tenant
    )
    kept = {row["delivery_id"]: (row["link"], row["agent"], row["ip"]) for row in left}
    assert kept[delivery_id(email, ADA)] == (None, None, None)
    assert kept[delivery_id(email, BOB)][2] == "192.0.2.7", "another recipient's"
    told = place.sql("SELECT data FROM webhook_deliveries WHERE tenant = $1", stored.tenant)
    clicks = {row["to"][0]: row["click"] for row in (json.loads(one["data"]) for one in told)}
    assert clicks.pop(BOB)["ipAddress"] == "192.0.2.7"
    (hers,) = clicks.values()
    assert hers == {"ipAddress": "", "link": "", "userAgent": "", "timestamp": "2026-11-22T10:00:00.000Z"}


def test_an_address_beyond_ascii_is_found_and_erased_as_any(client, workers, stored):
    zoe, longer = "Zoë@example.com", "žzoë@example.com"
    asked = unicodedata.normalize("NFD", "zOË@example.com").replace("E", "e")
    mine = stored.email(zoe, reply=f"550 <{zoe}> is full, „{longer}“ is not")
    stored.email("ZOË@example.com")
    other = stored.email(longer, reply=f"250 {longer}")
    stored.clicked(mine, zoe)
    before = stored.naming(longer)
    assert len(before) >= 3

    listed = client.get("/emails", params={"to": asked}).json()["data"]
    assert [one["id"] for one in listed] == [str(mine)]
    ident = client.post("/privacy/requests", json={"type": "export", "email": asked}).json()["id"]
    workers.settle()
    files = download(client, ident)[1]
    assert [(one["email_id"], one["to"]) for one in files["emails"]] == [(str(mine), zoe)]
    assert len(files["webhooks"]) == 1

    assert workers.erase(client, asked)["status"] == "completed"
    assert stored.naming(zoe) == []
    assert stored.naming(longer) == before
    assert client.get(f"/emails/{other}").json()["to"] == [f"A person <{longer}>"]


def test_an_erased_address_gets_no_mail_until_it_is_admitted(client, workers, queues, mail, stored):
    assert workers.erase(client)["status"] == "completed"

    def suppressed():
        sent = client.post("/emails", json=mail | {"to": [ADA, BOB]})
        assert sent.status_code == 200
        (parcel,) = queues.recorded()
        found = {one.to for one in parcel.deliveries if one.suppressed}
        queues.empty()
        return found

    assert suppressed() == {ADA}
    assert stored.naming(ADA) == []
    for admitted in (True, False):
        answered = client.post("/privacy/admit", json={"email": ADA}).json()
        assert answered == {"object": "privacy_admission", "email": ADA.lower(), "admitted": admitted}
    assert suppressed() == set()


def test_another_tenants_records_stay(client, workers, new_caller, server, place):
    other = Stored(place, new_caller().tenant)
    email = other.email(ADA)
    assert workers.erase(client)["status"] == "completed"
    assert other.naming(ADA) == ["deliveries", "emails"]
    assert email


def test_it_waits_for_mail_that_is_under_way(client, workers, stored, place):
    stored.email(ADA, state="deferred")
    ident = client.post("/privacy/requests", json={"type": "erasure", "email": ADA}).json()["id"]
    workers.settle()
    workers.long_ago()
    assert workers.settle() == ["erasure: nothing; mail to the address is under way"]
    shown = client.get(f"/privacy/requests/{ident}").json()
    assert (shown["status"], shown["stage"]) == ("in_progress", "waited")
    assert workers.settle() == [], "it looks again in a minute"
    place.sql("UPDATE deliveries SET state = 'bounced', ended_at = now() WHERE tenant = $1", stored.tenant)
    workers.long_ago()
    workers.settle()
    assert client.get(f"/privacy/requests/{ident}").json()["status"] == "completed"
    assert stored.naming(ADA) == []


def test_a_stopped_worker_leaves_off_where_the_next_one_goes_on(client, workers, stored, monkeypatch):
    monkeypatch.setattr(erasing, "AT_ONCE", 2)
    for _ in range(5):
        stored.email(ADA)
    ident = client.post("/privacy/requests", json={"type": "erasure", "email": ADA}).json()["id"]
    workers.settle()
    workers.long_ago()
    turns = iter([False, False, False, True])
    (said,) = workers.once(lambda: next(turns))
    assert said.endswith("stopped before the end")
    shown = client.get(f"/privacy/requests/{ident}").json()
    assert (shown["stage"], shown["counts"]["emails"]) == ("emails", 2)
    workers.settle()
    shown = client.get(f"/privacy/requests/{ident}").json()
    assert (shown["status"], shown["counts"]["emails"]) == ("completed", 5)


def test_a_batch_that_fails_changes_nothing_and_comes_again(client, workers, stored, monkeypatch):
    stored.email(ADA)

    async def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setitem(erasing.STEPS, "blocked", broken)
    ident = client.post("/privacy/requests", json={"type": "erasure", "email": ADA}).json()["id"]
    with pytest.raises(ZeroDivisionError):
        workers.settle()
    assert client.get(f"/privacy/requests/{ident}").json()["status"] == "in_progress"
    assert workers.settle() == [], "the order's own next try comes before another order"
    monkeypatch.undo()
    workers.long_ago()
    workers.settle()
    workers.long_ago()
    workers.settle()
    assert client.get(f"/privacy/requests/{ident}").json()["status"] == "completed"


def test_requests_are_listed_and_deleted_when_they_have_ended(client, workers, stored):
    stored.email(ADA)
    body = {"type": "export", "email": ADA}
    ident = client.post("/privacy/requests", json=body).json()["id"]
    assert client.post("/privacy/requests", json=body).json()["id"] == ident, "the one that is under way"
    assert client.delete(f"/privacy/requests/{ident}").status_code == 422
    workers.settle()
    assert [one["id"] for one in client.get("/privacy/requests").json()["data"]] == [ident]
    assert client.delete(f"/privacy/requests/{ident}").json()["deleted"] is True
    assert client.get(f"/privacy/requests/{ident}").status_code == 404
    assert client.get("/privacy/requests").json()["data"] == []


def test_files_of_exports_go_before_the_requests(client, workers, stored, place):
    stored.email(ADA)
    ident = client.post("/privacy/requests", json={"type": "export", "email": ADA}).json()["id"]
    workers.settle()

    def forget(age):
        place.sql("UPDATE privacy_requests SET ended_at = now() - $1 * interval '1 day' WHERE ended_at < now()", age)

        async def run():
            async with Database(place.database_url, 2) as database:
                return await retention(Bench(database, OpsSettings(), lambda: False))

        return run_apart(run())

    forget(6)
    assert client.get(f"/privacy/requests/{ident}/download").status_code == 200
    assert "1 privacy_parts" in forget(8)
    assert client.get(f"/privacy/requests/{ident}/download").status_code == 404
    assert "1 privacy_requests" in forget(401)
    assert client.get(f"/privacy/requests/{ident}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"type": "export"},
        {"type": "forget", "email": ADA},
        {"type": "export", "email": "nobody"},
        {"type": "export", "email": "a\0@b.test"},
        {"type": "export", "email": ADA, "more": 1},
    ],
)
def test_what_cannot_be_asked_for_is_refused(client, body):
    assert client.post("/privacy/requests", json=body).status_code == 422


def test_an_erasure_has_no_file(client, workers):
    ident = client.post("/privacy/requests", json={"type": "erasure", "email": ADA}).json()["id"]
    assert client.get(f"/privacy/requests/{ident}/download").status_code == 422
    workers.settle()
