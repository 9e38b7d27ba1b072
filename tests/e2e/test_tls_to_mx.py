"""TLS from the API to the mail host and back: asked for with a mail, shown in its timeline, counted in reports."""

from collections.abc import Callable
from typing import Any

import pytest

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

ZONE = """
good.test.      60 IN MX 10 mx.good.test.
mx.good.test.   60 IN A  127.0.0.1
"""


def test_a_mail_that_asks_for_tls_waits_until_it_can_have_it_and_reports_tell(
    system: System, name_server: Callable[[str], str]
) -> None:
    sink = system.start_sink("--tls")
    sink.play({"hosts": ["127.0.0.1"], "tls": "none"})
    system.start_tracker(wait=False)
    direct = {
        "MAILWARREN_SMTP_URL": "",
        "MAILWARREN_RESOLVER": name_server(ZONE),
        "MAILWARREN_MX_PORT": system.smtp_url.rpartition(":")[2],
        "MAILWARREN_PRIVATE_MX": "true",
    }
    system.start_sender(wait=False, env=direct)
    api = system.start_ingest()

    def sent(to: str, **fields: str) -> str:
        answer = system.send(to, **fields)
        assert answer.status_code == 200, answer.text
        ident: str = answer.json()["id"]
        return ident

    def attempts(ident: str, count: int) -> list[dict[str, Any]]:
        """So many first attempts, or more, of the timeline."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            data = api.get(f"/emails/{ident}/timeline").json().get("data", [])
            found[:] = [one for one in data if one["attempt"]]
            return len(found) >= count

        wait_for(there, 40, f"{count} attempts")
        return found

    any_way, needs = sent("a@good.test"), sent("b@good.test", tls="required")
    (plain, *_) = attempts(any_way, 1)
    (first, *_) = attempts(needs, 1)
    assert (plain["kind"], plain["tls"], plain["tls_policy"]) == ("delivered", None, None)
    assert (first["kind"], first["tls_policy"]) == ("deferred", "required")
    assert (first["reply"]["bounce_class"], first["reply"]["trouble"]) == (
        "tls_not_offered", "tls: STARTTLS is not offered",
    )  # fmt: skip

    sink.play()
    wait_for(lambda: attempts(needs, 1)[-1]["kind"] == "delivered", 40, "the mail under TLS")
    last = attempts(needs, 2)[-1]
    assert (last["tls"].partition(" ")[0], last["tls_policy"]) == ("TLSv1.3", "required")

    (policy,) = api.get("/tls-reports").json()["policies"]
    assert policy["policy"] == {"policy-type": "no-policy-found", "policy-domain": "good.test"}
    assert policy["summary"]["total-successful-session-count"] == 1
    (failure,) = policy["failure-details"]
    assert failure["result-type"] == "starttls-not-supported"
    assert failure["failed-session-count"] == policy["summary"]["total-failure-session-count"] >= 2
