"""The API dies between two publishes, or between the last publish and its answer."""

import sys
from pathlib import Path

import httpx
import pytest

from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.loopback import no_tls
from mailwarren.devstack.ports import free_ports

pytestmark = pytest.mark.e2e

CRASHING = Path(__file__).parent / "crashing"


@pytest.fixture(scope="module")
def standing(module_system: System) -> System:
    """Everything but the API that dies, and one that lives on."""
    module_system.start_all(senders=1)
    return module_system


@pytest.mark.parametrize("place", ["before_publish:1", "before_publish:2", "after_publish:1", "after_publish:3"])
def test_an_api_that_dies_there_makes_no_second_mail_when_the_call_is_repeated(standing: System, place: str) -> None:
    system = standing
    assert system.api
    (port,) = free_ports(1)
    env = {
        "MAILWARREN_API_HOST": "127.0.0.1",
        "MAILWARREN_API_PORT": str(port),
        "PYTHONPATH": str(CRASHING),
        "CRASH_AT": place,
    }
    victim = system._start("victim", [sys.executable, str(CRASHING / "crashing_ingest.py")], env)
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: _ready(url), 45, "the API", victim.check)
    body = {
        "from": "Ada <ada@sender.test>",
        "subject": "Once",
        "text": "Only once.",
        "recipients": [{"to": f"u{n}@d{n}.test"} for n in range(30)],
    }
    headers = {"Authorization": f"Bearer {system.token}", "Idempotency-Key": f"only-once-{place}"}
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{url}/v1/emails/bulk", json=body, headers=headers, timeout=30)
    wait_for(lambda: not victim.alive, 10, "the crash")
    during_the_lease = system.api.post("/emails/bulk", json=body, headers=headers)
    assert (during_the_lease.status_code, during_the_lease.json()["name"]) == (409, "concurrent_idempotent_requests")
    # The dead call's lease is 30 s; the clock is put forward instead of waited for.
    system.query("update idempotency_keys set lease_until = now() - interval '1 second' where answer is null")
    answer = system.api.post("/emails/bulk", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    promises = [system.promise(row["id"], row["to"]) for row in answer.json()["data"]]
    assert len(promises) == 30
    found = system.settle(promises, timeout=30)
    found.strangers_at_sink.clear()  # the other cases' mail
    assert found.balanced, str(found)
    assert not found.doubled
    assert system.api.post("/emails/bulk", json=body, headers=headers).json() == answer.json()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1, verify=no_tls()).status_code == 200
    except httpx.HTTPError:
        return False
