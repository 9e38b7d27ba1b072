"""A mail that is cancelled while it waits for its next attempt."""

import pytest

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

NOT_YET = {"stage": "rcpt", "code": 451, "enhanced": "4.7.1", "text": "not yet"}


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
