"""kill -9 of the broker while the ladder drains: dead-lettering may double messages, mail must not double."""

from typing import Any

import pytest

from mailwarren.devstack.harness.doubles import unexcused
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_every_retry_still_happens_once(system_with_own_broker: System, own_rabbitmq: Any) -> None:
    system = system_with_own_broker
    system.start_all(senders=2)
    assert system.sink
    once = {"stage": "rcpt", "code": 451, "enhanced": "4.7.1", "text": "not yet", "first_attempts": 1}
    system.sink.play({"domains": ["*"], "rules": [once]})
    promises = system.send_bulk([f"u{n}@d{n % 40}.test" for n in range(2000)])
    wait_for(lambda: system.sink.stats()["accepted"] > 100, 60, "the first retries")
    own_rabbitmq.kill()
    own_rabbitmq.start()
    found = system.settle(promises, timeout=150)
    assert found.balanced, str(found)
    print(f"{len(found.doubled)} doubled")
    assert unexcused([promise for promise, _ in found.doubled], system.sink.records()) == []
    assert system.left_in_broker() == {}
