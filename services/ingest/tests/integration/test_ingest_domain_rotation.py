"""Keys take each other's place when the DNS shows it; the periodic job that looks; the keys that keys are kept with."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import resend
from private_dns import PrivateDns, private_dns
from prometheus_client import REGISTRY

from mailwarren.contracts.dkim import decode_keys
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.dns import Dns
from mailwarren.ingest.adapters.domains import Domains, Row
from mailwarren.ingest.adapters.retention import Retention
from mailwarren.ingest.cli import main
from mailwarren.ingest.domain.dns_records import Site
from mailwarren.ingest.internal.keys import key_routes
from mailwarren.ingest.ops.jobs import Bench, domains
from mailwarren.ingest.scheduler import DomainStates
from mailwarren.ingest.settings import OpsSettings
from mailwarren.ingest.verifying import Verifier, verify_due
from mailwarren.runtime.vault import Vault, new_key, read_vault


@pytest.fixture(scope="module")
def dns() -> Iterator[PrivateDns]:
    with private_dns() as running:
        yield running


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory) -> Any:
    file = tmp_path_factory.mktemp("data-keys") / "keys"
    file.write_text(new_key())
    return file


@pytest.fixture(scope="module")
def server(place, dns, keys_file):
    from conftest import Server

    settings = {"data_keys": keys_file, "internal_token": "internal-token-of-a-test", "resolver": dns.address}
    running = Server(place.settings(**settings))
    yield running
    running.stop()


@pytest.fixture
def published(server, sdk, dns) -> dict[str, Any]:
    """A verified domain, of the only tenant that the SDK is told of."""
    made = resend.Domains.create({"name": f"r{uuid4().hex[:8]}.test"})
    dns.publish(made["records"])
    assert resend.Domains.verify(made["id"])["status"] == "verified"
    return made


@pytest.fixture
def rotate(server, caller):
    with server.client(caller.token) as client:
        yield lambda made: client.post(f"/domains/{made['id']}/rotate")


def selectors(domain: dict[str, Any]) -> dict[str, set[str]]:
    """Selectors of the RSA keys by what they are for."""
    found: dict[str, set[str]] = {}
    for record in domain["records"]:
        if record["record"] == "DKIM" and "k=rsa" in record["value"]:
            found.setdefault(record["key"], set()).add(record["name"].partition(".")[0])
    return found


def run_job(place, dns, *, stopping=lambda: False) -> str:
    settings = OpsSettings(**place.settings(resolver=dns.address).model_dump())

    async def work() -> str:
        async with Database(place.database_url, 2) as database:
            return await domains(Bench(database, settings, stopping))

    return asyncio.run(work())


def test_a_new_key_signs_when_its_record_is_seen_and_the_old_record_stays_named(
    server, place, caller, dns, published, rotate
):
    (old,) = selectors(published)["active"]
    rotating = rotate(published).json()
    (new,) = selectors(rotating)["next"]
    assert selectors(rotating)["active"] == {old}
    # Nobody published it yet: the old one signs on, however often somebody looks.
    looked = resend.Domains.verify(published["id"])
    assert looked["status"] == "verified"
    assert (selectors(looked)["active"], selectors(looked)["next"]) == ({old}, {new})
    answer = rotate(published)
    assert (answer.status_code, f"{new}._domainkey" in answer.json()["message"]) == (422, True)

    dns.publish([one for one in rotating["records"] if one["key"] == "next"])
    swapped = resend.Domains.verify(published["id"])
    assert selectors(swapped) == {"active": {new}, "retired": {old}}
    (kept,) = [one for one in swapped["records"] if one["name"].startswith(old)]
    assert kept["keep_until"] is not None
    assert (kept["needed"], kept["status"]) == (False, "verified")
    rows = place.sql("SELECT selector, state, private, named_until - retired_at AS overlap FROM domain_keys "
                     "WHERE tenant = $1 AND algorithm = 'rsa-sha256'", caller.tenant)  # fmt: skip
    by_selector = {row["selector"]: row for row in rows}
    assert by_selector[old]["private"] is None
    assert by_selector[old]["overlap"] == timedelta(days=7)
    assert by_selector[new]["private"] is not None

    # The overlap is over.
    place.sql("UPDATE domain_keys SET named_until = now() WHERE tenant = $1 AND state = 'retired'", caller.tenant)
    assert selectors(resend.Domains.verify(published["id"])) == {"active": {new}}
    # And once more.
    assert rotate(published).status_code == 200


def test_many_looks_at_once_swap_a_key_once(server, place, caller, dns, published, rotate):
    dns.publish(rotate(published).json()["records"])

    async def looks() -> list[Any]:
        return await asyncio.gather(*(resend.Domains.verify_async(published["id"]) for _ in range(5)))

    asyncio.run(looks())
    states = [row["state"] for row in place.sql("SELECT state FROM domain_keys WHERE tenant = $1", caller.tenant)]
    assert sorted(states) == ["active", "active", "retired", "retired"]


def test_the_job_looks_at_what_is_due_and_at_nothing_else(server, place, caller, dns, published, rotate):
    (old,) = selectors(published)["active"]
    rotating = rotate(published).json()
    dns.publish(rotating["records"])
    # Of other tests' tenants nothing is due.
    place.sql("UPDATE domains SET next_check_at = now() + interval '1 hour' WHERE tenant <> $1", caller.tenant)
    assert run_job(place, dns) == "looked at 1 domains"
    assert selectors(resend.Domains.get(published["id"]))["retired"] == {old}
    assert run_job(place, dns) == "looked at 0 domains"
    (row,) = place.sql("SELECT next_check_at - now() AS wait FROM domains WHERE tenant = $1", caller.tenant)
    assert timedelta(minutes=55) < row["wait"] <= timedelta(hours=1)
    place.sql("UPDATE domains SET next_check_at = now() WHERE tenant = $1", caller.tenant)
    assert run_job(place, dns, stopping=lambda: True) == "looked at 0 domains"


def test_a_domain_without_its_records_fails_after_three_days_and_recovers(server, place, caller, dns, published):
    key = next(one for one in published["records"] if one["key"] == "active")
    dns.remove(key["name"])
    place.sql("UPDATE domains SET next_check_at = now() + interval '1 hour' WHERE tenant <> $1", caller.tenant)

    def due(**changes: str) -> dict[str, Any]:
        sets = "".join(f", {column} = {value}" for column, value in changes.items())
        place.sql(f"UPDATE domains SET next_check_at = now() {sets} WHERE tenant = $1", caller.tenant)
        run_job(place, dns)
        return resend.Domains.get(published["id"])

    assert due()["status"] == "temporary_failure"
    assert due(failing_since="now() - interval '71 hours'")["status"] == "temporary_failure"
    assert due(failing_since="now() - interval '73 hours'")["status"] == "failed"
    dns.publish([key])
    assert due()["status"] == "verified"
    (row,) = place.sql("SELECT failing_since FROM domains WHERE tenant = $1", caller.tenant)
    assert row["failing_since"] is None


def test_the_scheduler_shows_how_it_stands(server, place, caller, dns, published):
    def shown(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    async def look() -> None:
        async with Database(place.database_url, 2) as database:
            source = DomainStates(Domains(database))
            assert [await source.release(), await source.release()] == [False, False]

    asyncio.run(look())
    broken, verified = shown("mailwarren_ops_domains_broken"), shown("mailwarren_ops_domains", state="verified")
    assert verified >= 1
    dns.remove(next(one["name"] for one in published["records"] if one["key"] == "active"))
    resend.Domains.verify(published["id"])
    asyncio.run(look())
    assert shown("mailwarren_ops_domains_broken") == broken + 1
    assert shown("mailwarren_ops_domains", state="verified") == verified - 1


class Poisoned(Verifier):
    """Meets a bug with one domain."""

    poison = ""

    async def verify(self, row: Row) -> Row | None:
        if row.name == self.poison:
            raise ZeroDivisionError
        return await super().verify(row)


def test_a_bug_with_one_domain_keeps_no_other_waiting(server, place, caller, dns, published):
    other = resend.Domains.create({"name": f"r{uuid4().hex[:8]}.test"})
    place.sql("UPDATE domains SET next_check_at = now() + interval '1 hour' WHERE tenant <> $1", caller.tenant)
    place.sql("UPDATE domains SET next_check_at = now() WHERE tenant = $1", caller.tenant)

    async def work() -> int:
        async with Database(place.database_url, 2) as database:
            table = Domains(database)
            verifier = Poisoned(table, Dns(dns.address), Site(), 7)
            verifier.poison = published["name"]
            return await verify_due(table, verifier, lambda: False)

    assert asyncio.run(work()) == 2
    assert resend.Domains.get(other["id"])["status"] == "pending"
    assert run_job(place, dns) == "looked at 0 domains"


def test_findings_of_another_release_are_looked_for_anew(server, place, caller, published):
    place.sql("UPDATE domains SET findings = $2 WHERE tenant = $1", caller.tenant, '{"records": [{"state": "new"}]}')
    read = resend.Domains.get(published["id"])
    assert {one["status"] for one in read["records"]} == {"not_started"}
    assert resend.Domains.verify(published["id"])["status"] == "verified"


def test_deleted_domains_are_forgotten_after_a_month(server, place, caller, published):
    resend.Domains.remove(published["id"])
    assert place.sql("SELECT FROM domain_keys WHERE tenant = $1", caller.tenant) == []

    async def forget() -> None:
        async with Database(place.database_url, 2) as database:
            await Retention(database, 1000).domains()

    def rows() -> int:
        return len(place.sql("SELECT FROM domains WHERE tenant = $1", caller.tenant))

    place.sql("UPDATE domains SET deleted_at = now() - interval '29 days' WHERE tenant = $1", caller.tenant)
    asyncio.run(forget())
    assert rows() == 1
    place.sql("UPDATE domains SET deleted_at = now() - interval '31 days' WHERE tenant = $1", caller.tenant)
    asyncio.run(forget())
    assert rows() == 0


# Data keys


@pytest.fixture
def command(server, place, caller, monkeypatch, capsys):
    """``mailwarren …``: status, what it printed, and its errors."""
    monkeypatch.setenv("MAILWARREN_DATABASE_URL", place.database_url)
    monkeypatch.setenv("MAILWARREN_API_URL", server.url)
    monkeypatch.setenv("MAILWARREN_API_KEY", caller.token)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(arguments)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def test_data_keys_are_changed_without_losing_a_key(
    place, caller, dns, published, command, keys_file, tmp_path, monkeypatch
):
    # Other tests' rows are of other files.
    place.sql("DELETE FROM domain_keys WHERE tenant <> $1", caller.tenant)
    place.sql("DELETE FROM webhooks")
    file = tmp_path / "keys"
    monkeypatch.setenv("MAILWARREN_DATA_KEYS", str(file))
    assert "FileNotFoundError" in command("data-keys", "renew")[2]
    old, new = keys_file.read_text().strip(), command("data-keys", "new")[1].strip()

    def signed_with(*keys: str) -> list[bytes]:
        vault = Vault(list(keys))
        rows = place.sql("SELECT private FROM domain_keys WHERE tenant = $1 ORDER BY selector", caller.tenant)
        return [vault.open(bytes(row["private"])) for row in rows]

    before = signed_with(old)
    file.write_text(f"{old}\n{new}\n")
    assert json.loads(command("data-keys", "renew")[1]) == {"looked_at": 2, "renewed": 0}
    file.write_text(f"{new}\n{old}\n")
    assert json.loads(command("data-keys", "renew")[1]) == {"looked_at": 2, "renewed": 2}
    assert json.loads(command("data-keys", "renew")[1]) == {"looked_at": 2, "renewed": 0}
    assert signed_with(new) == before
    file.write_text(f"{old}\n")
    status, _, error = command("data-keys", "renew")
    assert (status, "none of the keys decrypts 2 of 2" in error) == (1, True)
    assert signed_with(new) == before

    # The secrets of webhooks are renewed too, with the ones before them.
    place.sql(
        "INSERT INTO webhooks (tenant, id, endpoint, events, status, secret, previous_secret, previous_until, "
        "enabled_at, created_at, updated_at) VALUES ($1, $2, 'https://hooks.test', '{email.sent}', 'enabled', $3, $4, "
        "now(), now(), now(), now())",
        caller.tenant, uuid4(), Vault([old]).close(b"now"), Vault([old]).close(b"before"),
    )  # fmt: skip
    file.write_text(f"{new}\n{old}\n")
    assert json.loads(command("data-keys", "renew")[1]) == {"looked_at": 4, "renewed": 2}
    (row,) = place.sql("SELECT secret, previous_secret FROM webhooks WHERE tenant = $1", caller.tenant)
    assert [Vault([new]).open(bytes(one)) for one in row.values()] == [b"now", b"before"]

    # The new file serves senders.
    async def ask() -> bytes:
        async with Database(place.database_url, 2) as database:
            (route,) = key_routes(Domains(database), read_vault(file), "").routes
            return (await route.endpoint(published["name"], UUID(str(caller.tenant)))).body  # type: ignore[attr-defined]

    file.write_text(f"{new}\n")
    assert sorted(key.private for key in decode_keys(asyncio.run(ask())).keys) == sorted(before)


def test_renewing_without_a_file_says_what_to_set(command, monkeypatch):
    monkeypatch.delenv("MAILWARREN_DATA_KEYS", raising=False)
    status, _, error = command("data-keys", "renew")
    assert (status, "MAILWARREN_DATA_KEYS" in error) == (1, True)


def test_domains_on_the_command_line(dns, command):
    name = f"c{uuid4().hex[:8]}.test"
    status, said, _ = command("domains", "add", name.upper())
    assert status == 0
    assert said.startswith(f"{name}: not_started\n")
    assert "._domainkey." in said
    assert "(active key): not_started" in said
    assert "(next key, optional)" in said
    status, said, _ = command("domains", "verify", name)
    assert (status, said.startswith(f"{name}: pending\n")) == (0, True)
    assert "There is no TXT record at" in said
    listed = command("domains", "list")[1].splitlines()
    assert [line.split()[1:] for line in listed] == [[name, "pending"]]
    (row,) = [json.loads(line) for line in command("domains", "list", "--json")[1].splitlines()]
    dns.publish(json.loads(command("domains", "verify", row["id"], "--json")[1])["records"])
    assert command("domains", "verify", name)[1].startswith(f"{name}: verified\n")
    assert "next key" in command("domains", "rotate", name)[1]
    status, _, error = command("domains", "rotate", name)
    assert (status, "A rotation is under way" in error) == (1, True)
    status, _, error = command("domains", "verify", "nobody.test")
    assert (status, "mailwarren domains add nobody.test" in error) == (1, True)
