"""A tenant whose mail bounces, through the whole system and the official SDK: counts, kept calls, pause, resumption."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import resend
from kombu import Connection

from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import SHAPING_KEY, Override, Scope
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

NOBODY = {"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "no such user"}
LEAST = 20


@pytest.fixture(scope="module")
def whole(module_system: System) -> Iterator[System]:
    """Everything runs, :data:`LEAST` mails are enough to tell, and the command and the SDK know where the API is."""
    system = module_system
    system.start_sink().play({"domains": ["gone.test"], "rules": [NOBODY]})
    system.start_ingest(wait=False)
    system.start_tracker(wait=False, env={"MAILWARREN_BREAKER_LEAST": str(LEAST)})
    system.start_sender("sender0", wait=False)
    system.wait_ready()
    assert system.api
    resend.api_url = system.env["MAILWARREN_API_URL"] = str(system.api.base_url).rstrip("/")
    resend.api_key = system.env["MAILWARREN_API_KEY"] = system.token
    yield system
    del system.env["MAILWARREN_API_URL"], system.env["MAILWARREN_API_KEY"]


def post(system: System, priority: str, to: str) -> httpx.Response:
    assert system.api
    body = {"from": "Ada <ada@sender.test>", "to": to, "subject": "Hello", "text": "Hello", "priority": priority}
    return system.api.post("/emails", json=body)


def arrives(system: System, email_id: str, to: str, seconds: float = 60.0) -> None:
    found = system.settle([system.promise(email_id, to)], seconds)
    assert not (found.missing_rows or found.without_end), str(found)


def quiet(system: System) -> None:
    """Nothing is on its way any more."""
    wait_for(
        lambda: not system.query("SELECT FROM deliveries WHERE ended_at IS NULL LIMIT 1"),
        60,
        "an end of every delivery",
    )


def breaker(system: System) -> Any:
    assert system.api
    return system.api.get("/breaker").raise_for_status().json()


def state_of(system: System, email_id: str) -> str:
    (row,) = system.query("SELECT state FROM deliveries WHERE email_id = $1", email_id)
    return str(row["state"])


def test_queued_bulk_mail_is_held_and_other_mail_is_not(whole: System) -> None:
    system = whole
    sender = system.services["sender0"]
    sender.stop()
    queued = post(system, "bulk", "waits@there.test").json()["id"]
    tenant = str(system.query("SELECT tenant FROM api_keys LIMIT 1")[0]["tenant"])
    now = system.query("SELECT extract(epoch FROM now())::float8 AS now")[0]["now"]
    pause = Override(
        id=new_id(), scope=Scope.TENANT, name=tenant, since=now - 1, until=now + 3600, suspend=True, cause="bounces",
        sample="a test", lane=Lane.BULK,
    )  # fmt: skip
    # As the tracker writes it.
    with Connection(system.env["MAILWARREN_AMQP_URL"]) as connection:
        producer = connection.Producer()
        producer.publish(
            encode(pause),
            exchange=Topology(system.prefix).control_log.name,
            routing_key=SHAPING_KEY,
            headers=headers_of(pause),
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
        )
    wait_for(lambda: post(system, "bulk", "refused@there.test").status_code == 403, 20, "the refusal")
    system.start_sender("sender1")
    high = post(system, "high", "now@there.test").json()["id"]
    arrives(system, high, "now@there.test")
    assert state_of(system, queued) == "accepted"
    assert system.command("mailwarren", "breaker", "resume").startswith("bulk mail goes on")
    arrives(system, queued, "waits@there.test")
    assert state_of(system, queued) == "delivered"


def test_counts_kept_calls_a_pause_and_its_end(whole: System) -> None:
    system = whole
    assert system.api
    taken: list[str] = []

    def goes_on() -> bool:
        answer = post(system, "bulk", "first@there.test")
        taken.extend([answer.json()["id"]] if answer.status_code == 200 else [])
        return bool(taken)

    wait_for(goes_on, 20, "the end of the pause before")
    arrives(system, taken[0], "first@there.test")
    quiet(system)
    before = resend.Emails.metrics()["totals"]
    sent = system.send_bulk([f"u{number}@there.test" for number in range(16)] + [f"u{n}@gone.test" for n in range(8)])
    found = system.settle(sent)
    assert not (found.missing_rows or found.without_end), str(found)

    # Counts, exact to the ledger, by both of the SDK's ways.
    totals = resend.Emails.metrics()["totals"]
    grown = {
        name: totals[name] - before[name] for name in ("received", "sent", "bounced_permanent", "bounced_transient")
    }
    assert grown == {"received": 24, "sent": 24, "bounced_permanent": 8, "bounced_transient": 0}
    states = {row["state"]: row["n"] for row in system.query("SELECT state, count(*) AS n FROM deliveries GROUP BY 1")}
    again = asyncio.run(resend.Emails.metrics_async({"metrics": ["delivered", "bounced"]}))["totals"]
    assert again == {"delivered": states["delivered"], "bounced": states["bounced"]}
    rows = resend.Emails.metrics({"metrics": ["received"], "dimensions": ["period", "domain"]})["data"]
    assert sum(row["received"] for row in rows) == totals["received"]
    assert {row["domain_name"] for row in rows} == {"sender.test"}

    # What was asked.
    def kept() -> list[Any]:
        return [one for one in resend.Logs.list()["data"] if one["endpoint"] == "/emails/bulk"]

    wait_for(lambda: bool(kept()), 10, "the kept call")
    call = asyncio.run(resend.Logs.get_async(kept()[0]["id"]))
    assert call["response_status"] == 202
    assert call["request_body"]["recipients"][0]["to"] == "u…@there.test"

    # The breaker: a third of it bounced.
    wait_for(lambda: breaker(system)["state"] == "paused", 60, "the pause")
    wait_for(lambda: post(system, "bulk", "refused@there.test").status_code == 403, 10, "the refusal")
    assert "bounced or drew complaints" in post(system, "bulk", "refused@there.test").json()["message"]
    assert "bulk mail is paused since" in system.command("mailwarren", "breaker", "show")
    high = post(system, "high", "goes-on@there.test").json()["id"]
    arrives(system, high, "goes-on@there.test")

    # A person goes on.
    assert system.command("mailwarren", "breaker", "resume").startswith("bulk mail goes on")
    wait_for(lambda: post(system, "bulk", "after@there.test").status_code == 200, 20, "bulk mail")
    wait_for(lambda: breaker(system)["ended_by"] == "person:test", 60, "the tracker's note of it")
