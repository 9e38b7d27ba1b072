"""Without a smarthost, mail goes to the recipients' own mail hosts, found through the resolver of the settings."""

from collections.abc import Callable

import pytest

from mailwarren.devstack.harness.system import System

pytestmark = pytest.mark.e2e

ZONE = """
good.test.      60 IN MX 10 mx.good.test.
mx.good.test.   60 IN A  127.0.0.1
bare.test.      60 IN A  127.0.0.1
null.test.      60 IN MX 0 .
"""


def test_each_domain_gets_what_its_dns_says(system: System, name_server: Callable[[str], str]) -> None:
    system.start_sink()
    system.start_tracker(wait=False)
    port = system.smtp_url.rpartition(":")[2]
    direct = {
        "MAILWARREN_SMTP_URL": "",
        "MAILWARREN_RESOLVER": name_server(ZONE),
        "MAILWARREN_MX_PORT": port,
        "MAILWARREN_PRIVATE_MX": "true",
    }
    system.start_sender(wait=False, env=direct)
    system.start_ingest()
    promises = system.send_bulk(["a@good.test", "b@bare.test", "c@null.test", "d@nowhere.test"])
    found = system.settle(promises, timeout=40)
    states = {address: state for (_, address), state in system.states(promises).items()}
    assert states == {
        "a@good.test": "delivered",
        "b@bare.test": "delivered",
        "c@null.test": "bounced",
        "d@nowhere.test": "bounced",
    }
    assert found.balanced, str(found)
    hosts = {row["site"] for row in system.query("select site from deliveries where state = 'delivered'")}
    assert hosts == {"good.test", "bare.test"}
    suppressed = {row["address"] for row in system.query("select address from suppressions")}
    assert suppressed == {"c@null.test", "d@nowhere.test"}
    assert system.api
    again = system.send("c@null.test")
    assert again.status_code == 200
    shown = system.api.get(f"/emails/{again.json()['id']}").json()
    assert shown["last_event"] == "suppressed"
