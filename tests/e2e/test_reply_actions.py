"""What a provider says to one sender is obeyed by all of them within two seconds, until a person ends it."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from mailwarren.devstack.harness.system import wait_for

pytestmark = pytest.mark.e2e

DOMAINS = ["a.test", "b.test"]
"""Two companies whose mail one provider takes."""
ZONE = "".join(
    f"{domain}. 60 IN MX 10 mx{n}.provider.test.\nmx{n}.provider.test. 60 IN A 127.0.0.1\n"
    for n, domain in enumerate(DOMAINS)
)
ZONE += "quick.test. 60 IN MX 10 mx.quick.test.\nmx.quick.test. 60 IN A 127.0.0.1\n"

ROWS = """
[sites.yahoo]
mx = [".provider.test"]
rate = 40
"""
SAYS = "[TSS04] Mail from 127.0.0.1 waits"
WITHIN = 2.0


def test_a_reply_to_one_sender_stops_all_of_them_and_a_person_ends_that(direct: Callable[..., Any]) -> None:
    it = direct(ROWS, ZONE)
    system, sink = it.system, it.system.sink
    assert sink is not None
    for number in range(2):
        it.sender(f"sender{number}")
    system.wait_ready()
    promises = it.send_all(240, DOMAINS)
    wait_for(lambda: sink.stats()["mails"] >= 40, 20, "the first mails")

    rule = {"stage": "rcpt", "code": 451, "enhanced": "4.7.0", "text": SAYS}
    sink.play({"domains": DOMAINS, "rules": [rule]})

    def told() -> int:
        return int(sink.stats()["by_code"].get("451", 0))

    wait_for(lambda: told() > 0, 10, "the provider's word")
    time.sleep(WITHIN)
    heard = told()
    delivered = len([one for one in sink.records() if one.rcpt.endswith(tuple(DOMAINS))])
    # Others go on.
    promises += it.send_all(50, ["quick.test"])
    wait_for(lambda: len([one for one in sink.records() if one.rcpt.endswith("@quick.test")]) == 50, 15, "other mail")
    time.sleep(WITHIN)
    assert told() == heard, "somebody tried after two seconds"

    sink.play()
    assert system.api is not None
    (found,) = system.api.get("/shaping").json()["data"]
    assert (found["scope"], found["name"], found["cause"]) == ("site", "yahoo", "rule:rate_limited")
    assert SAYS in found["sample"]
    time.sleep(1.0)
    assert len([one for one in sink.records() if one.rcpt.endswith(tuple(DOMAINS))]) == delivered
    system.api.delete(f"/shaping/{found['id']}").raise_for_status()
    ended = time.time()
    wait_for(lambda: any(one.received_at > ended for one in sink.records()), 4, "mail after the end")
    # What was not tried meanwhile has lost no attempt; only mails that heard the reply are at their second.
    settled = system.settle(promises, timeout=90)
    assert settled.balanced, str(settled)
    rows = system.query("select attempt, count(*) as count from deliveries where state = 'delivered' group by attempt")
    attempts = {row["attempt"]: row["count"] for row in rows}
    assert attempts == {1: len(promises) - heard, 2: heard}
