"""Leaving a list through the whole system: the link is in the mail that arrives, and who follows it gets no more."""

import email
import email.policy
import re
from email.message import EmailMessage
from urllib.parse import urlsplit

import httpx
import pytest

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

LINKS = {"MAILWARREN_PUBLIC_URL": "https://mail.example.org", "MAILWARREN_LINK_KEYS": "secret-of-the-system-under-test"}
NEWSLETTER = {
    "from": "Ada <ada@sender.test>",
    "subject": "News for {{ name }}",
    "html": '<p>Hello {{ name }}</p><p><a href="{{{RESEND_UNSUBSCRIBE_URL}}}">Leave</a></p>',
    "text": "Hello {{ name }}\n{{{UNSUBSCRIBE_URL}}}",
}


@pytest.fixture(scope="module")
def whole(module_system: System) -> System:
    """Everything runs, and links are made."""
    module_system.start_sink()
    module_system.start_ingest(wait=False, **LINKS)
    module_system.start_tracker(wait=False)
    module_system.start_sender("sender0", wait=False)
    module_system.wait_ready()
    return module_system


def post(system: System, *to: str, **more: object) -> str:
    assert system.api
    rows = [{"to": address, "variables": {"name": address.partition("@")[0]}} for address in to]
    answer = system.api.post("/emails/bulk", json=NEWSLETTER | {"recipients": rows} | more).raise_for_status().json()
    assert answer["errors"] == []
    ids = {row["to"]: row["id"] for row in answer["data"]}
    found = system.settle([system.promise(ids[address], address) for address in to])
    assert found.balanced, str(found)
    return str(answer["id"])


def arrived(system: System, to: str) -> list[EmailMessage]:
    assert system.sink
    found = httpx.get(f"{system.sink.url}/messages", params={"to": to}).json()
    raws = [httpx.get(f"{system.sink.url}/messages/{one['n']}/raw").content for one in found]
    return [email.message_from_bytes(raw, policy=email.policy.default) for raw in raws]


def link_of(message: EmailMessage) -> str:
    found = re.fullmatch(r"<(https://mail\.example\.org/u/[A-Za-z0-9_-]+)>", message["List-Unsubscribe"])
    assert found
    return found[1]


def follow(system: System, link: str) -> httpx.Response:
    """As a mail provider does it: RFC 8058 §3.2."""
    assert system.api
    place = system.api.base_url.copy_with(path=urlsplit(link).path)
    return httpx.post(place, data={"List-Unsubscribe": "One-Click"})


def test_the_link_of_a_mail_leaves_the_list_and_nothing_else(whole: System) -> None:
    assert whole.sink
    post(whole, "Bob@d1.test", "eve@d1.test")
    (message,) = arrived(whole, "Bob@d1.test")
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = link_of(message)
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        assert part is not None
        assert link in part.get_content()
    (other,) = arrived(whole, "eve@d1.test")
    assert link_of(other) != link
    assert follow(whole, link).status_code == 200
    post(whole, "bob@D1.test", "eve@d1.test")
    assert [len(arrived(whole, to)) for to in ("Bob@d1.test", "bob@d1.test", "eve@d1.test")] == [1, 0, 2]
    receipt = whole.promise(whole.send("bob@d1.test").raise_for_status().json()["id"], "bob@d1.test")
    assert whole.settle([receipt]).balanced
    (receipt_mail,) = arrived(whole, "bob@d1.test")
    assert receipt_mail["List-Unsubscribe"] is None


def test_who_leaves_while_a_mail_waits_gets_none_of_it(whole: System) -> None:
    """Accepted before, and sent after: also by a sender that was started later."""
    assert whole.api
    post(whole, "ada@d2.test", "max@d2.test")
    link = link_of(arrived(whole, "ada@d2.test")[0])
    whole.services["sender0"].stop()
    rows = [{"to": address, "variables": {"name": "x"}} for address in ("ada@d2.test", "max@d2.test")]
    sent = whole.api.post("/emails/bulk", json=NEWSLETTER | {"recipients": rows}).raise_for_status().json()
    promises = [whole.promise(row["id"], row["to"]) for row in sent["data"]]
    wait_for(lambda: len(whole.states(promises)) == 2, 20, "the acceptances")
    assert set(whole.states(promises).values()) == {"accepted"}
    assert follow(whole, link).status_code == 200
    whole.start_sender("sender1")
    found = whole.settle(promises)
    assert found.balanced, str(found)
    states = {address: state for (_, address), state in whole.states(promises).items()}
    assert states == {"ada@d2.test": "suppressed", "max@d2.test": "delivered"}
    assert [len(arrived(whole, to)) for to in ("ada@d2.test", "max@d2.test")] == [1, 2]
    email_id = next(row["id"] for row in sent["data"] if row["to"] == "ada@d2.test")
    entries = whole.api.get(f"/emails/{email_id}/timeline").json()["data"]
    assert "after the mail was accepted" in str(entries[-1]["reason"])
    assert whole.api.get(f"/emails/{email_id}").json()["last_event"] == "suppressed"
