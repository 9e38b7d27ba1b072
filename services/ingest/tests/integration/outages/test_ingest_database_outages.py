"""What goes on without Postgres, and what waits for it."""

import time

import httpx
import pytest
from prometheus_client import REGISTRY


def unchecked():
    return REGISTRY.get_sample_value("mailwarren_ingest_suppression_unchecked_total")


def suppress(place, caller):
    place.sql(
        "INSERT INTO suppressions (tenant, address, reason, origin, created_at) VALUES "
        "($1, 'bob@example.test', 'invalid_recipient', 'bounce', now())",
        caller.tenant,
    )


def test_mail_goes_on_and_what_needs_the_database_says_503(start, wire, place, caller, queues, mail, wait_until):
    line = wire(place.database_url)
    server = start(database_url=line.url)
    suppress(place, caller)
    with server.client(caller.token) as client:
        assert client.post("/emails", json=mail).status_code == 200
        line.cut()
        before = unchecked()
        for _ in range(5):
            assert client.post("/emails", json=mail).status_code == 200
        assert unchecked() == before + 5
        for method, path, body in (
            ("POST", "/emails", mail),
            ("GET", "/emails", None),
            ("GET", f"/emails/{caller.key}", None),
            ("POST", f"/emails/{caller.key}/cancel", None),
            ("POST", "/api-keys", {"name": "x"}),
            ("GET", "/api-keys", None),
            ("DELETE", f"/api-keys/{caller.key}", None),
        ):
            answer = client.request(method, path, json=body, headers={"Idempotency-Key": "k"})
            assert (answer.status_code, answer.json()["name"]) == (503, "internal_server_error"), path
            assert answer.headers["retry-after"]
        unknown = client.post("/emails", json=mail, headers={"Authorization": "Bearer mw_unknown"})
        assert unknown.status_code == 503
        assert [p.deliveries[0].suppressed for p in queues.parcels()] == [True, *[False] * 5]
        line.mend()
        wait_until(lambda: client.post("/emails", json=mail, headers={"Idempotency-Key": "k"}).status_code == 200)
        wait_until(
            lambda: (
                client.post("/emails", json=mail).status_code == 200 and queues.parcels()[-1].deliveries[0].suppressed
            )
        )


def test_a_database_that_does_not_answer_costs_mail_a_moment_only(start, wire, place, caller, queues, mail):
    line = wire(place.database_url)
    server = start(database_url=line.url)
    with server.client(caller.token) as client:
        assert client.post("/emails", json=mail).status_code == 200
        line.swallow = True
        start_at = time.monotonic()
        for _ in range(5):
            assert client.post("/emails", json=mail).status_code == 200
        assert time.monotonic() - start_at < 3
    assert len(queues.parcels()) == 6


def test_on_a_read_only_standby_mail_goes_on_and_keyed_calls_say_503(start, place, caller, queues, mail):
    # As after a failover to a standby that was not promoted yet: SQLSTATE 25006.
    server = start(database_url=f"{place.database_url}?default_transaction_read_only=on")
    with server.client(caller.token) as client:
        assert client.post("/emails", json=mail).status_code == 200
        assert client.get("/emails").status_code == 200
        answer = client.post("/emails", json=mail, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["name"]) == (503, "internal_server_error")
        assert answer.headers["retry-after"]
        assert client.post("/api-keys", json={"name": "x"}).status_code == 503
    assert len(queues.parcels()) == 1


def test_a_process_that_starts_without_a_database_waits_for_it(start, wire, place, caller, mail, wait_until):
    line = wire(place.database_url)
    line.cut()
    server = start(ready=False, database_url=line.url)
    wait_until(lambda: httpx.get(f"{server.root}/readyz", verify=False).json()["keys"] is False)
    assert httpx.get(f"{server.root}/readyz", verify=False).status_code == 503
    assert httpx.get(f"{server.root}/healthz", verify=False).status_code == 200
    with server.client(caller.token) as client:
        assert client.post("/emails", json=mail).status_code == 503
        line.mend()
        wait_until(lambda: httpx.get(f"{server.root}/readyz", verify=False).status_code == 200)
        assert client.post("/emails", json=mail).status_code == 200


def test_a_deleted_key_is_refused_by_every_process_within_two_seconds(start, new_caller, mail):
    here, there = start(), start()
    boss, caller = new_caller(), new_caller()
    other = new_caller(tenant=caller.tenant)
    with here.client(caller.token) as first, there.client(caller.token) as second:
        assert first.post("/emails", json=mail).status_code == second.post("/emails", json=mail).status_code == 200
        with here.client(boss.token) as stranger:
            assert stranger.delete(f"/api-keys/{caller.key}").status_code == 404
        with here.client(other.token) as colleague:
            assert colleague.delete(f"/api-keys/{caller.key}").json() == {
                "object": "api_key", "id": str(caller.key), "deleted": True,
            }  # fmt: skip
        deleted = time.monotonic()
        assert first.post("/emails", json=mail).status_code == 403
        while second.post("/emails", json=mail).status_code == 200:
            assert time.monotonic() - deleted < 2
            time.sleep(0.05)


def test_the_use_of_a_key_is_saved(server, client, caller, mail):
    assert client.get("/api-keys").json()["data"][0]["last_used_at"] is None
    server.run(server.api.keys.save_use())
    assert client.get("/api-keys").json()["data"][0]["last_used_at"] is not None


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"name": "x" * 51}, {"domains": []}, {"domains": ["a b"]}, {"domain_id": "x"}]
)
def test_a_key_that_cannot_be_made(client, change):
    assert client.post("/api-keys", json={"name": "x"} | change).status_code == 422
    assert len(client.get("/api-keys").json()["data"]) == 1
