"""Who is slowed down, what waits, what was set aside: through the API and the command, with the whole system behind."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection

from mailwarren.contracts.codec import encode_parcel, parcel_headers
from mailwarren.contracts.testing import a_parcel
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

NOT_YET = {"stage": "rcpt", "code": 451, "enhanced": "4.7.1", "text": "not yet"}


@pytest.fixture(scope="module")
def running(module_system: System) -> Iterator[System]:
    """All services, and the command told where the API is."""
    system = module_system
    system.start_all(senders=1)
    assert system.api
    system.env["MAILWARREN_API_URL"] = str(system.api.base_url).rstrip("/")
    system.env["MAILWARREN_API_KEY"] = system.token
    yield system
    del system.env["MAILWARREN_API_URL"], system.env["MAILWARREN_API_KEY"]


def of_api(system: System, path: str) -> Any:
    assert system.api
    return system.api.get(path).raise_for_status().json()


def test_a_suspension_is_seen_in_the_list_and_in_postgres_and_ended(running: System) -> None:
    assert running.api
    wish = {"scope": "site", "name": "d.test", "suspend": True, "for": "1h", "reason": "they called"}
    made = running.api.post("/shaping", json=wish).raise_for_status().json()
    wait_for(lambda: [row["id"] for row in of_api(running, "/shaping")["data"]] == [made["id"]], 10, "the suspension")
    (row,) = running.query("SELECT scope, name, suspend, cause, sample, ended_at FROM shaping_overrides")
    assert dict(row) == {
        "scope": "site", "name": "d.test", "suspend": True, "cause": "person:test", "sample": "they called",
        "ended_at": None,
    }  # fmt: skip
    shown = running.command("mailwarren", "shaping", "list")
    assert made["id"] in shown
    assert running.command("mailwarren", "shaping", "end", made["id"]) == f"ended {made['id']}\n"
    wait_for(lambda: of_api(running, "/shaping")["data"] == [], 10, "its end")
    (row,) = running.query("SELECT ended_by, ended_at < until AS early FROM shaping_overrides")
    assert dict(row) == {"ended_by": "person:test", "early": True}
    assert running.api.delete(f"/shaping/{made['id']}").status_code == 422
    [past] = of_api(running, "/shaping?past=true")["data"]
    assert (past["id"], past["in_force"]) == (made["id"], False)


def test_dead_letters_are_replayed_over_http_and_by_the_command(running: System) -> None:
    assert running.api
    topology = Topology(running.prefix, 0.01)
    parcels = [a_parcel(to=(f"p{number}@d1.test",)) for number in range(2)]
    with Connection(running.amqp_url) as connection:
        channel = connection.default_channel
        for parcel in parcels:
            key = f"{parcel.lane}.{parcel.shard}"
            why = {"mw-reason": "tried", "mw-from": f"{running.prefix}send.{key}", "mw-key": key}
            headers = parcel_headers(parcel) | why | {"mw-exchange": topology.accept.name}
            message = channel.prepare_message(encode_parcel(parcel), headers=headers)
            channel.basic_publish(message, topology.dead.name, key)
    wait_for(lambda: len(of_api(running, "/dead")["data"]) == 2, 10, "the dead letters")
    listed = [json.loads(line) for line in running.command("mailwarren", "dead", "list").splitlines()]
    assert [row["parcel"] for row in listed] == [str(parcel.id) for parcel in parcels]
    shown = json.loads(running.command("mailwarren", "dead", "show", "2"))
    assert shown["to"][0]["to"] == "p1@d1.test"
    answer = running.api.post("/dead/replay", json={"ids": [listed[0]["id"]]}).raise_for_status().json()
    assert (answer["replayed"], answer["left"]) == (1, 1)
    assert running.command("mailwarren", "dead", "replay", "1") == "replayed 1\n"
    assert running.sink
    sink = running.sink
    wait_for(lambda: {"p0@d1.test", "p1@d1.test"} <= {to for _, to in sink.pairs()}, 20, "both mails at the sink")
    assert of_api(running, "/dead")["data"] == []


def test_queues_say_who_takes_from_them(running: System) -> None:
    rows = {row["name"]: row for row in of_api(running, "/queues")["data"]}
    send = rows[f"{running.prefix}send.high.google"]
    assert (send["consumers"], send["state"]) == (1, "flowing")
    assert {row["state"] for row in rows.values()} == {"flowing", "waiting"}
    assert "send.high.google" in running.command("mailwarren", "queues")
    assert running.command("mailwarren", "senders").startswith("host")


def test_a_mail_is_explained_wherever_it_is(running: System) -> None:
    """The last of the module: it stops the sender."""
    assert running.api
    assert running.sink
    running.sink.play({"domains": ["later.test"], "rules": [NOT_YET]})

    def explained(email: str) -> Any:
        [found] = of_api(running, f"/emails/{email}/explain")["data"]
        return found

    delivered = running.send("bob@d1.test").json()["id"]
    wait_for(lambda: explained(delivered)["state"] == "delivered", 15, "the delivery")
    assert explained(delivered)["waits_for"] == "nothing"
    assert "250" in explained(delivered)["summary"]

    deferred = running.send("bob@later.test").json()["id"]
    wait_for(lambda: explained(deferred)["waits_for"] == "retry", 15, "the deferral")
    found = explained(deferred)
    assert (found["ladder"], found["last_attempt"]["reply"]["code"]) == ("deferred", 451)
    assert "451 4.7.1 not yet" in found["summary"]

    site = found["site"]
    running.api.post("/shaping", json={"name": site, "suspend": True, "for": "10m"}).raise_for_status()
    wait_for(lambda: explained(deferred)["waits_for"] == "shaping", 15, "the suspension")
    found = explained(deferred)
    assert f"The site {site} is suspended" in found["summary"]
    assert found["overrides"][0]["cause"] == "person:test"

    assert running.services["sender0"].stop() == 0
    queued = running.send("bob@d7.test").json()["id"]
    wait_for(lambda: explained(queued)["waits_for"] in ("queue", "sender", "shaping"), 20, "the queued mail")
    assert explained(queued)["queue"].startswith(f"{running.prefix}send.normal.h")
