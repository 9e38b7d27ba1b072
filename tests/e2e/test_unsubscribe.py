"""Leaving a list through the whole system: the link is in the mail that arrives, and who follows it gets no more."""

import email
import email.policy
import re
from email.message import EmailMessage
from urllib.parse import urlsplit

import httpx
import pytest

from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

LINKS = {"MAILWARREN_PUBLIC_URL": "https://mail.example.org", "MAILWARREN_LINK_KEYS": "secret-of-the-system-under-test"}
NEWSLETTER = {
    "from": "Ada <ada@sender.test>",
    "subject": "News for {{ name }}",
    "html": '<p>Hello {{ name }}</p><p><a href="{{{RESEND_UNSUBSCRIBE_URL}}}">Leave</a></p>',
    "text": "Hello {{ name }}\n{{{UNSUBSCRIBE_URL}}}",
}


class Sent:
    """All that was accepted so far: the sink has that and nothing else."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.promises: list[Promise] = []

    def settle(self, promises: list[Promise]) -> None:
        self.promises += promises
        found = self.system.settle(self.promises)
        assert found.balanced, str(found)


@pytest.fixture(scope="module")
def sent(whole: System) -> Sent:
    return Sent(whole)


@pytest.fixture(scope="module")
def whole(module_system: System) -> System:
    """Everything runs, and links are made."""
    module_system.start_sink()
    module_system.start_ingest(wait=False, **LINKS)
    module_system.start_tracker(wait=False)
    module_system.start_sender("sender0", wait=False)
    module_system.wait_ready()
    return module_system


def post(system: System, *to: str) -> list[Promise]:
    """A bulk call, as far as the API's yes."""
    assert system.api
    rows = [{"to": address, "variables": {"name": address.partition("@")[0]}} for address in to]
    answer = system.api.post("/emails/bulk", json=NEWSLETTER | {"recipients": rows}).raise_for_status().json()
    assert answer["errors"] == []
    return [system.promise(row["id"], row["to"]) for row in answer["data"]]


def arrived(system: System, to: str) -> list[EmailMessage]:
    assert system.sink
    raws = [system.sink.raw(one["n"]) for one in system.sink.messages(to=to)]
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


def test_the_link_of_a_mail_leaves_the_list_and_nothing_else(whole: System, sent: Sent) -> None:
    sent.settle(post(whole, "Bob@d1.test", "eve@d1.test"))
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
    again = post(whole, "bob@d1.test", "eve@d1.test")
    sent.settle(again)
    assert whole.states(again)[again[0].email_id, "bob@d1.test"] == "suppressed"
    # The sink knows an address in any letter case.
    assert [len(arrived(whole, to)) for to in ("bob@d1.test", "eve@d1.test")] == [1, 2]
    sent.settle([whole.promise(whole.send("bob@d1.test").raise_for_status().json()["id"], "bob@d1.test")])
    links = [mail["List-Unsubscribe"] for mail in arrived(whole, "bob@d1.test")]
    assert links.count(None) == 1, "the receipt has none"
    assert len(links) == 2


def test_who_leaves_while_a_mail_waits_gets_none_of_it(whole: System, sent: Sent) -> None:
    """Accepted before, and sent after: also by a sender that was started later."""
    assert whole.api
    sent.settle(post(whole, "ada@d2.test", "max@d2.test"))
    link = link_of(arrived(whole, "ada@d2.test")[0])
    whole.services["sender0"].stop()
    promises = post(whole, "ada@d2.test", "max@d2.test")
    wait_for(lambda: list(whole.states(promises).values()) == ["accepted"] * 2, 20, "the acceptances")
    assert follow(whole, link).status_code == 200
    whole.start_sender("sender1")
    sent.settle(promises)
    states = {address: state for (_, address), state in whole.states(promises).items()}
    assert states == {"ada@d2.test": "suppressed", "max@d2.test": "delivered"}
    assert [len(arrived(whole, to)) for to in ("ada@d2.test", "max@d2.test")] == [1, 2]
    email_id = next(promise.email_id for promise in promises if promise.address == "ada@d2.test")
    entries = whole.api.get(f"/emails/{email_id}/timeline").json()["data"]
    assert "after the mail was accepted" in str(entries[-1]["reason"])
    assert whole.api.get(f"/emails/{email_id}").json()["last_event"] == "suppressed"
