"""A mail that is cancelled while it waits for its next attempt."""

from datetime import UTC, datetime, timedelta

import pytest

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

NOT_YET = {"stage": "rcpt", "code": 451, "enhanced": "4.7.1", "text": "not yet"}


def test_a_mail_that_expires_or_is_cancelled_while_it_waits_for_a_connection_is_not_sent(system: System) -> None:
    system.start_all(senders=1, sender_env={"MAILWARREN_CONNECTIONS": "1"})
    assert system.sink
    assert system.api
    system.sink.play({"domains": ["*"], "dot_latency_ms": 3000})
    first = system.promise(system.send("first@d1.test").json()["id"], "first@d1.test")
    wait_for(lambda: system.sink.stats()["received"] == 1, 10, "the first mail's data")
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    late = system.promise(system.send("late@d1.test", expires_at=soon).json()["id"], "late@d1.test")
    gone = system.promise(system.send("gone@d1.test").json()["id"], "gone@d1.test")
    assert system.api.post(f"/emails/{gone.email_id}/cancel").status_code == 200
    found = system.settle([first, late, gone], timeout=30)
    assert found.balanced, str(found)
    states = {address: state for (_, address), state in system.states([first, late, gone]).items()}
    assert states == {"first@d1.test": "delivered", "late@d1.test": "expired", "gone@d1.test": "canceled"}
    assert system.sink.stats()["received"] == 1


def test_a_cancelled_deferred_mail_is_never_sent_not_even_by_a_sender_started_later(system: System) -> None:
    system.start_all(senders=1)
    assert system.sink
    assert system.api
    system.sink.play({"domains": ["*"], "rules": [NOT_YET]})
    canceled = system.promise(system.send("gone@d1.test").json()["id"], "gone@d1.test")
    kept = system.promise(system.send("kept@d1.test").json()["id"], "kept@d1.test")
    wait_for(lambda: set(system.states([canceled, kept]).values()) == {"deferred"}, 20, "both deferrals")
    answer = system.api.post(f"/emails/{canceled.email_id}/cancel")
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == canceled.email_id
    assert system.services["sender0"].stop() == 0
    system.sink.play()
    system.start_sender("later")
    found = system.settle([canceled, kept], timeout=60)
    assert system.states([canceled, kept]) == {
        (canceled.email_id, canceled.address): "canceled",
        (kept.email_id, kept.address): "delivered",
    }
    assert found.balanced, str(found)
    again = system.api.post(f"/emails/{kept.email_id}/cancel")
    assert again.status_code == 422
