"""From ``POST /v1/domains`` to the sink: mail of a domain verifies with the records that the API listed for it."""

from typing import Any

import pytest

from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.dkim import dkimpy_says, opendkim_says
from mailwarren.devstack.harness.system import System

pytestmark = pytest.mark.e2e


def records_of(domain: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in domain["records"] if one["record"] == "DKIM"}


def at_the_sink(system: System) -> dict[str, bytes]:
    """Raw mail by recipient."""
    assert system.sink
    return {one["to"][0]: system.sink.raw(one["n"]) for one in system.sink.messages(limit=1000)}


def test_mail_of_a_domain_verifies_with_the_records_that_the_api_lists(system: System) -> None:
    system.start_sink()
    api = system.start_ingest()
    system.start_tracker()
    system.start_scheduler(wait=False)
    system.start_sender()
    made = api.post("/domains", json={"name": "shop.test"}).raise_for_status().json()
    promises: list[Promise] = []

    def send(to: str, domain: str, **fields: Any) -> None:
        answer = system.send(to, **{"from": f"Ada <ada@{domain}>"}, **fields).raise_for_status().json()
        promises.append(system.promise(answer["id"], to, domain))

    send("own@example.test", "shop.test", html="<p>Hello</p>", headers={"X-Order": "7"})
    send("below@example.test", "news.shop.test")
    send("other@example.test", "elsewhere.test")
    send("later@example.test", "shop.test", scheduled_at="in 2 seconds")
    rows = [{"to": f"bulk{n}@example.test", "variables": {"name": f"N{n}"}} for n in range(60)]
    bulk = {"from": "ada@shop.test", "subject": "Hi", "text": "Hello {{ name }}", "recipients": rows}
    sent = api.post("/emails/bulk", json=bulk).raise_for_status().json()["data"]
    promises += [system.promise(one["id"], one["to"], "shop.test") for one in sent]
    found = system.settle(promises)
    assert found.balanced, str(found)
    mails, records = at_the_sink(system), records_of(made)
    assert len(mails) == 64
    unsigned = mails.pop("other@example.test")
    assert b"DKIM-Signature" not in unsigned
    # The Ed25519 key signs when its record was seen.
    assert [dkimpy_says(raw, records) for raw in mails.values()] == [[True]] * 63
    assert all(b"d=shop.test" in raw.partition(b"\r\n\r\n")[0] for raw in mails.values())
    assert opendkim_says(mails["below@example.test"], records)
    changed = mails["own@example.test"].replace(b"Hello", b"Hullo")
    assert dkimpy_says(changed, records) == [False]
    assert not opendkim_says(changed, records)
