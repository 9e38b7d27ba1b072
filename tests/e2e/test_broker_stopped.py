"""The broker is away for 20 seconds in the middle of a run."""

import threading
import time
from typing import Any

import httpx
import pytest

from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.doubles import unexcused
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

AWAY = 20.0


def test_calls_get_503_and_everything_accepted_is_delivered(system_with_own_broker: System, own_rabbitmq: Any) -> None:
    system = system_with_own_broker
    # Few parcels in hand: a sender that forgets to ack after the outage comes to a halt at once.
    system.start_all(senders=2, sender_env={"MAILWARREN_PREFETCH": "2"})
    assert system.sink
    system.sink.play({"domains": ["e1*.test"], "dot_latency_ms": 1500})
    promises: list[Promise] = []
    answers: list[tuple[float, int, str | None]] = []
    stop = threading.Event()

    def post() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                answer = system.send(f"u{number}@d{number % 30}.test")
            except httpx.HTTPError:
                continue
            answers.append((time.monotonic(), answer.status_code, answer.headers.get("retry-after")))
            if answer.status_code == 200:
                promises.append(system.promise(answer.json()["id"], f"u{number}@d{number % 30}.test"))
            time.sleep(0.01)

    poster = threading.Thread(target=post)
    poster.start()
    try:
        bulk = system.send_bulk([f"b{n}@e{n % 30}.test" for n in range(1500)])
        wait_for(lambda: system.sink.stats()["accepted"] > 300, 30, "the first deliveries")
        away_from = time.monotonic()
        own_rabbitmq.stop()
        time.sleep(max(0.0, AWAY - (time.monotonic() - away_from)))
        back_at = time.monotonic()
        own_rabbitmq.start()
        wait_for(lambda: any(at > back_at and code == 200 for at, code, _ in answers), 40, "the API to recover")
        time.sleep(1)
    finally:
        stop.set()
        poster.join()
    while_away = [(code, retry) for at, code, retry in answers if away_from + 8 < at < back_at]
    assert while_away
    assert {code for code, _ in while_away} == {503}
    assert all(retry for _, retry in while_away)
    found = system.settle([*bulk, *promises], timeout=120)
    # Mail whose 503 was an honest "unknown" may have been stored and sent: strangers to the promises, not lost ones.
    assert not (found.missing_rows or found.without_end or found.delivered_but_not_at_sink), str(found)
    assert not found.at_sink_but_not_delivered, str(found)
    print(f"{len(promises)} single and {len(bulk)} bulk mails promised, {len(found.doubled)} doubled")
    # The senders lived on and knew what they had sent: only a dot that nobody answered may come again.
    assert unexcused([promise for promise, _ in found.doubled], system.sink.records()) == []
    assert system.left_in_broker() == {}
