"""Mail that must not arrive twice is not given up for a reason that is none."""

from collections import Counter
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

GREYLISTED = {"stage": "dot", "code": 451, "enhanced": "4.7.1", "text": "not yet", "first_attempts": 1}


def test_a_lost_consumer_connection_leaves_only_what_was_being_sent_unknown(
    system_with_own_broker: System, own_rabbitmq: Any
) -> None:
    """One connection to the mail server: nineteen of the twenty wait for it, and have not begun."""
    system = system_with_own_broker
    system.start_all(senders=1, sender_env={"MAILWARREN_CONNECTIONS": "1"})
    assert system.sink
    system.sink.play({"domains": ["*"], "dot_latency_ms": 500})
    promises = system.send_bulk([f"u{n}@d1.test" for n in range(20)], lane=Lane.NORMAL, on_unknown="fail")
    wait_for(lambda: system.sink.stats()["received"] >= 2, 20, "the first mails")
    at = urlsplit(own_rabbitmq.management_url)
    with httpx.Client(base_url=f"{at.scheme}://{at.hostname}:{at.port}", auth=(at.username, at.password)) as broker:

        def consumers() -> list[str]:
            found = broker.get("/api/connections").json()
            return [one["name"] for one in found if "py-amqp" in str(one.get("client_properties"))]

        wait_for(lambda: bool(consumers()), 20, "the list of connections", every=0.5)
        for name in consumers():
            broker.delete(f"/api/connections/{quote(name)}")
    found = system.settle(promises, timeout=60)
    assert not (found.missing_rows or found.without_end or found.doubled), str(found)
    states = Counter(system.states(promises).values())
    # The mail in flight may be in doubt, and the one whose turn came at that moment.
    assert states["delivered"] >= 18, states


@pytest.mark.parametrize("senders", [1, 3])
def test_a_repeated_call_does_not_give_up_mail_that_its_first_copy_is_sending(system: System, senders: int) -> None:
    system.start_all(senders=senders, sender_env={"MAILWARREN_PREFETCH": "1"})
    assert system.sink
    assert system.api
    system.sink.play({"domains": ["*"], "dot_latency_ms": 1500, "rules": [GREYLISTED]})
    body = {
        "from": "Ada <ada@sender.test>",
        "subject": "Once",
        "text": "Only once.",
        "on_unknown": "fail",
        "recipients": [{"to": f"u{senders}{n}@d{n}.test"} for n in range(8)],
    }
    headers = {"Idempotency-Key": f"on-unknown-{senders}"}
    first = system.api.post("/emails/bulk", json=body, headers=headers)
    wait_for(lambda: system.sink.stats()["received"] > 0, 20, "the first final dot")
    system.query("update idempotency_keys set answer = null, lease_until = now() - interval '1 second'")
    again = system.api.post("/emails/bulk", json=body, headers=headers)
    assert again.json()["data"] == first.json()["data"]
    promises = [system.promise(row["id"], row["to"]) for row in first.json()["data"]]
    found = system.settle(promises, timeout=60)
    assert set(system.states(promises).values()) == {"delivered"}, str(found)
    assert not [pair for _, pair in found.doubled if pair.answered > 1], str(found)


def test_a_sender_killed_between_final_dot_and_reply_leaves_each_mail_to_its_wish(system: System) -> None:
    """Twenty final dots of each wish have come, no reply; ten mails of each have not begun."""
    # Each wish in a lane, and so at a sender, of its own: with twenty connections, and nothing said ahead on them.
    wishes = {"resend": Lane.HIGH, "hold": Lane.NORMAL, "fail": Lane.BULK}
    system.start_sink()
    system.start_ingest(wait=False)
    system.start_tracker(wait=False)
    for wish, lane in wishes.items():
        env = {"MAILWARREN_CONNECTIONS": "20", "MAILWARREN_MAILS_BEHIND": "0"}
        system.start_sender(f"victim-{wish}", [lane], env=env, wait=False)
    system.wait_ready()
    assert system.sink
    system.sink.play({"domains": ["*"], "dot_latency_ms": 8000})
    promises = {
        wish: system.send_bulk([f"{wish}{n}@d1.test" for n in range(30)], lane=lane, on_unknown=wish)
        for wish, lane in wishes.items()
    }
    wait_for(lambda: int(system.sink.stats()["pending"]) == 60, 20, "sixty final dots")
    for wish in wishes:
        system.services[f"victim-{wish}"].kill()
    system.sink.play({"domains": ["*"]})
    system.start_sender("heir")
    everything = [promise for those in promises.values() for promise in those]
    found = system.settle(everything, timeout=60)
    assert found.balanced, str(found)
    states = {wish: Counter(system.states(those).values()) for wish, those in promises.items()}
    assert states == {
        "resend": {"delivered": 30},
        "hold": {"held": 20, "delivered": 10},
        "fail": {"failed": 20, "delivered": 10},
    }
    assert len(found.doubled) == 20
    assert all(
        promise.address.startswith("resend") and (pair.answered, pair.unanswered) == (1, 1)
        for promise, pair in found.doubled
    )
    # Who looks at one of them reads why.
    reasons = system.query("select distinct kind, reason from events where kind in ('held', 'failed') order by kind")
    assert [(row["kind"], "a sender died while it was being sent" in row["reason"]) for row in reasons] == [
        ("failed", True),
        ("held", True),
    ]
