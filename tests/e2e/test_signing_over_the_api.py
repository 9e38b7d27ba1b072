"""From a domain made over the API to mail at the sink that verifies by the records which the API told to publish."""

import pytest

from mailwarren.devstack.harness.dkim import dkimpy_says, opendkim_says
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e


def add_domain(system: System, name: str) -> dict[str, str]:
    assert system.api
    answer = system.api.post("/domains", json={"name": name}).raise_for_status().json()
    return {one["name"]: one["value"] for one in answer["records"] if one["record"] == "DKIM"}


def arrived(system: System, to: str) -> list[bytes]:
    assert system.sink
    return [system.sink.raw(one["n"]) for one in system.sink.messages(to=to)]


def test_mail_of_a_domain_is_signed_and_waits_while_nobody_hands_out_its_keys(system: System) -> None:
    system.start_sink()
    system.start_ingest()
    system.start_tracker()
    name = "sender.test"
    records = add_domain(system, name)

    def send(to: str) -> str:
        answer = system.send(to, **{"from": f"Ada <ada@news.{name}>", "html": "<p>Hi"}).raise_for_status()
        return str(answer.json()["id"])

    sent = {to: send(to) for to in ("bob@example.test", "eve@example.test")}
    system.services["ingest"].kill()
    # This sender has never seen the domain's keys.
    system.start_sender()
    log = system.services["sender"].log
    wait_for(lambda: "sender.dkim.mail_waits" in log.read_text(), 20, "the sender to miss the keys")
    assert system.sink
    assert system.sink.stats()["received"] == 0
    system.start_ingest()
    promises = [system.promise(email, to, f"news.{name}") for to, email in sent.items()]
    found = system.settle(promises)
    assert found.balanced, str(found)
    for to in sent:
        (mail,) = arrived(system, to)
        assert dkimpy_says(mail, records) == [True]
        assert opendkim_says(mail, records)
        changed = mail.replace(b"Hello, you.", b"Hello, yoU.")
        assert dkimpy_says(changed, records) == [False]
        assert not opendkim_says(changed, records)
