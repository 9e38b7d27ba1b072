"""One mail of each lane through the whole system, and what can be seen of it afterwards."""

import re
import time

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

LATER = {"stage": "rcpt", "code": 451, "enhanced": "4.3.0", "text": "not now", "first_attempts": 1}
UNKNOWN = {"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "no such user"}


def metric(text: str, name: str, **labels: str) -> float:
    total = 0.0
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
            total += float(line.rpartition(" ")[2])
    return total


def test_every_lane_delivers_and_everything_can_be_read_afterwards(system: System) -> None:
    system.start_all(senders=1)
    assert system.sink
    assert system.api
    system.sink.play({"domains": ["later.test"], "rules": [LATER]}, {"domains": ["no.test"], "rules": [UNKNOWN]})
    promises = []
    for lane in Lane:
        promises += system.send_bulk([f"{lane}{n}@d{n}.test" for n in range(20)], lane=lane)
        promises += system.send_bulk([f"{lane}@later.test", f"{lane}@no.test"], lane=lane)
    several = system.api.post(
        "/emails",
        json={
            "from": "Ada <ada@sender.test>",
            "to": ["Bob <bob@one.test>", "eve@two.test"],
            "cc": "zoe@three.test",
            "bcc": "hidden@four.test",
            "subject": "Grüße",
            "html": "<p>{{ literal }}</p>",
            "priority": "high",
            "tags": [{"name": "kind", "value": "test"}],
        },
    ).json()["id"]
    promises += [
        system.promise(several, to) for to in ("bob@one.test", "eve@two.test", "zoe@three.test", "hidden@four.test")
    ]
    found = system.settle(promises, timeout=60)
    assert found.balanced, str(found)
    assert not found.doubled
    counts = dict.fromkeys(("delivered", "bounced"), 0)
    for state in system.states(promises).values():
        counts[state] += 1
    assert counts == {"delivered": 3 * 21 + 4, "bounced": 3}

    deferred = next(promise for promise in promises if promise.address == "high@later.test")
    events = system.api.get(f"/emails/{deferred.email_id}/timeline").json()["data"]
    assert [event["kind"] for event in events] == ["accepted", "deferred", "delivered"]
    assert events[1]["reply"]["code"] == 451
    assert events[2]["reply"]["code"] == 250

    shown = system.api.get(f"/emails/{several}").json()
    assert shown["last_event"] == "delivered"
    assert shown["bcc"] == ["hidden@four.test"]
    (mail,) = system.sink.messages(to="hidden@four.test")
    raw = system.sink.raw(mail["n"]).decode()
    assert "hidden@four.test" not in raw
    assert "{{ literal }}" in raw
    assert re.search(r"^To: Bob <bob@one.test>,\r?\n eve@two.test", raw, re.MULTILINE)

    stats = system.sink.stats()
    assert stats["protocol_errors"] == {}
    assert stats["faults"] == {}
    text = system.metrics("sender0")
    assert metric(text, "mailwarren_sender_attempts_total", lane="high", result="delivered") == 21 + 4
    assert metric(text, "mailwarren_sender_attempts_total", result="bounced", bounce_class="invalid_recipient") == 3
    assert metric(text, "mailwarren_sender_accept_to_delivered_seconds_count", lane="bulk") == 21
    for service in system.services.values():
        log = service.log.read_text()
        assert "later.test" not in log
        assert "yours alone" not in log


def test_an_address_that_does_not_exist_gets_no_second_mail(system: System) -> None:
    system.start_all(senders=1)
    assert system.sink
    assert system.api
    system.sink.play({"domains": ["gone.test"], "rules": [UNKNOWN]})
    first = system.promise(system.send("a@gone.test").json()["id"], "a@gone.test")
    system.settle([first], timeout=20)
    refused = system.sink.stats()["refused"]
    second = system.send("A@gone.test").json()["id"]
    wait_for(lambda: system.api.get(f"/emails/{second}").json()["last_event"] == "suppressed", 10, "the suppression")
    time.sleep(0.3)
    assert system.sink.stats()["refused"] == refused
