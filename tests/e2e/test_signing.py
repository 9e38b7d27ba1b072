"""Signed mail through the whole system: what the sink has verifies elsewhere, and nothing goes out unsigned, ever."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from kombu import Connection

from mailwarren.contracts.codec import encode_parcel, parcel_headers
from mailwarren.contracts.dkim import ED25519
from mailwarren.contracts.parcel import Parcel, Syntax
from mailwarren.contracts.testing import a_content, a_delivery, a_parcel
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.dkim import KeyServer, dkimpy_says, make_pair, opendkim_says, zone
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.ports import free_ports

pytestmark = pytest.mark.e2e

TOKEN = "token-of-the-key-server"
PAIRS = (make_pair("mw1"), make_pair("mw1e", ED25519))
RECORDS = zone("sender.test", *PAIRS)


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    (port,) = free_ports(1)
    with KeyServer(port, TOKEN, {"sender.test": tuple(pair.key for pair in PAIRS)}) as server:
        yield server


def start_sender(system: System, keys: KeyServer) -> None:
    env = {"MAILWARREN_INTERNAL_URL": keys.url, "MAILWARREN_INTERNAL_TOKEN": TOKEN}
    system.start_sender(env=env)


def accept(system: System, *parcels: Parcel) -> list[Promise]:
    """What an API publishes that has decided for which domain mail is signed."""
    topology = Topology(system.prefix, 0.01)
    with Connection(system.amqp_url) as connection:
        channel = connection.default_channel
        for parcel in parcels:
            message = channel.prepare_message(encode_parcel(parcel), headers=parcel_headers(parcel))
            channel.basic_publish(message, topology.accept.name, f"{parcel.lane}.{parcel.shard}")
    return [Promise(str(one.email_id), one.to, one.message_id) for parcel in parcels for one in parcel.deliveries]


def parcel(tenant: UUID, count: int, name: str, **content: Any) -> Parcel:
    deliveries = tuple(a_delivery(f"{name}{n}@example.test", variables={"name": f"N{n}"}) for n in range(count))
    return a_parcel(tenant=tenant, deliveries=deliveries, content=a_content(signing="sender.test", **content))


def send_unsigned(system: System, to: str) -> Promise:
    return system.promise(system.send(to).raise_for_status().json()["id"], to)


def at_the_sink(system: System) -> list[tuple[str, bytes]]:
    """Envelope sender and raw mail of all that arrived."""
    assert system.sink
    return [(one["from"], system.sink.raw(one["n"])) for one in system.sink.messages(limit=1000)]


def ladder_for_keys(system: System) -> float:
    lines = system.metrics("sender").splitlines()
    found = [line for line in lines if line.startswith("mailwarren_sender_ladder_total{") and 'wait="keys"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_what_arrives_verifies_and_comes_from_the_return_path(system: System, keys: KeyServer) -> None:
    keys.start()
    system.start_sink()
    system.start_tracker()
    start_sender(system, keys)
    tenant = UUID(int=1)
    promises = accept(
        system,
        parcel(tenant, 50, "literal", html="<p>The same for all</p>", envelope_sender="bounces@send.sender.test"),
        parcel(tenant, 50, "own", text="Hello {{ name }}\n", syntax=Syntax.TEMPLATE),
    )
    found = system.settle(promises)
    assert found.balanced, str(found)
    mails = at_the_sink(system)
    assert len(mails) == 100
    assert [dkimpy_says(raw, RECORDS) for _, raw in mails] == [[True, True]] * 100
    assert all(opendkim_says(raw, RECORDS) for _, raw in mails[::20])
    senders = sorted(sender for sender, _ in mails)
    assert senders == ["ada@sender.test"] * 50 + ["bounces@send.sender.test"] * 50
    assert keys.asked == ["sender.test"]


def test_mail_waits_for_keys_that_are_away_and_never_goes_unsigned(system: System, keys: KeyServer) -> None:
    system.start_sink()
    api = system.start_ingest()
    system.start_tracker()
    start_sender(system, keys)
    others = [send_unsigned(system, "first@example.test")]
    assert system.settle(others).balanced
    (row,) = system.query("SELECT tenant FROM emails WHERE id = $1", others[0].email_id)
    promises = accept(system, parcel(row["tenant"], 20, "u"))
    wait_for(lambda: ladder_for_keys(system) >= 3, 20, "the parcel to go round")
    # Other mail goes meanwhile, and what waits says why.
    others.append(send_unsigned(system, "second@example.test"))
    assert system.settle(others).balanced
    assert [raw.startswith(b"DKIM-Signature:") for _, raw in at_the_sink(system)] == [False, False]
    explained = f"/emails/{promises[0].email_id}/explain"

    def why() -> dict[str, Any]:
        (only,) = api.get(explained).raise_for_status().json()["data"]
        return dict(only)

    wait_for(lambda: why()["waits_for"] == "keys", 10, "the explanation")
    assert "DKIM keys of sender.test (ConnectError" in why()["summary"]
    keys.start()
    found = system.settle([*promises, *others])
    assert found.balanced, str(found)
    assert not found.doubled
    asked = "SELECT DISTINCT state, attempt FROM deliveries WHERE email_id = ANY($1)"
    rows = system.query(asked, [promise.email_id for promise in promises])
    assert [(row["state"], row["attempt"]) for row in rows] == [("delivered", 1)]
    signed = [raw for _, raw in at_the_sink(system) if raw.startswith(b"DKIM-Signature:")]
    assert len(signed) == 20
    assert all(dkimpy_says(raw, RECORDS) == [True, True] for raw in signed)
    wait_for(lambda: why()["waits_for"] == "nothing", 10, "its end")
