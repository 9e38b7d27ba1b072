"""What the API says when RabbitMQ is away, full, or not what it should be."""

import math

import pytest
from prometheus_client import REGISTRY

from mailwarren.contracts.codec import decode_tracker
from mailwarren.contracts.events import Kind
from mailwarren.contracts.ids import delivery_id, keyed_id, nth_id, partition_of
from mailwarren.contracts.lanes import Lane

APPLE, GOOGLE = "bob@icloud.com", "bob@gmail.com"
HIGH_APPLE = "high.apple"


def bulk(*addresses, **changes):
    rows = [{"to": address} for address in addresses]
    return {"from": "ada@sender.test", "subject": "x", "text": "x", "recipients": rows} | changes


def count(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


@pytest.fixture
def apple(queues, server, wait_until):
    """The send queue of high.apple, put back as it was."""
    queue = queues.topology.send_queue(Lane.HIGH, "apple")
    yield queue
    queues.channel.queue_delete(queue.name)
    queue(queues.channel).declare()
    queues.channel.queue_bind(queues.topology.accepted_queue(Lane.HIGH).name, queues.topology.accept.name, HIGH_APPLE)
    wait_until(lambda: server.api.depths.state.send.get((Lane.HIGH, "apple")) == 0)


def test_without_the_broker_mail_gets_503_and_afterwards_200(start, wire, place, caller, queues, mail, wait_until):
    line = wire(place.amqp_url)
    server = start(amqp_url=line.url)
    with server.client(caller.token) as client:
        assert client.post("/emails", json=mail).status_code == 200
        line.cut()
        wait_until(lambda: client.post("/emails", json=mail).status_code == 503)
        for path, body in (("/emails", mail), ("/emails/batch", [mail]), ("/emails/bulk", bulk(APPLE))):
            answer = client.post(path, json=body, headers={"Idempotency-Key": path})
            assert (answer.status_code, answer.json()["name"]) == (503, "internal_server_error")
            assert int(answer.headers["retry-after"]) > 0
        # Reads go on, and the process stays in service.
        assert client.get("/emails").status_code == 200
        assert client.get(f"{server.root}/readyz").status_code == 200
        line.mend()
        wait_until(lambda: client.post("/emails", json=mail).status_code == 200)
        # Nothing had been published under this key, so the call is its first; a repeat may be near all the same.
        queues.empty()
        assert client.post("/emails", json=mail, headers={"Idempotency-Key": "/emails"}).status_code == 200
        assert [parcel.settle for parcel in queues.parcels()] == [True]


def test_a_lost_confirm_is_503_and_the_repeat_takes_over(start, wire, place, caller, queues, mail, wait_until):
    line = wire(place.amqp_url)
    server = start(amqp_url=line.url, depth_interval=30)
    key = {"Idempotency-Key": "k"}
    email_id = keyed_id(caller.tenant, "k")
    with server.client(caller.token) as client:
        line.swallow = True
        answer = client.post("/emails", json=mail, headers=key)
        assert (answer.status_code, answer.json()["name"]) == (503, "internal_server_error")
        assert "same Idempotency-Key" in answer.json()["message"]
        [first] = queues.parcels()
        assert first.settle
        assert len(server.api.unconfirmed) == 1
        line.cut()
        line.mend()
        wait_until(lambda: client.post("/emails", json=mail, headers=key).status_code == 200)
        [second] = queues.parcels()
        assert second.settle
        assert second.deliveries == first.deliveries
        assert second.deliveries[0].email_id == email_id
        assert second.partition == first.partition
        # Either told before the repeat, or withdrawn by it.
        wait_until(lambda: len(server.api.unconfirmed) == 0)


def test_a_refused_publish_is_reported_unconfirmed(server, client, caller, queues, apple, mail, wait_until):
    arguments = apple.queue_arguments | {"x-max-length": 1}
    queues.channel.queue_delete(apple.name)
    queues.channel.queue_declare(apple.name, durable=True, auto_delete=False, arguments=arguments)
    queues.channel.queue_bind(apple.name, queues.topology.accept.name, HIGH_APPLE)
    # A quorum queue tells its publishers a moment later that it is full.
    full = mail | {"to": APPLE, "priority": "high"}
    wait_until(lambda: client.post("/emails", json=full).status_code == 503)
    body = bulk(*[APPLE] * 300, GOOGLE, priority="high")
    answer = client.post("/emails/bulk", json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 202
    assert [row["index"] for row in answer.json()["data"]] == [300]
    assert [error["index"] for error in answer.json()["errors"]] == list(range(300))
    base = keyed_id(caller.tenant, "k")
    untold = {delivery_id(nth_id(base, index), APPLE) for index in range(300)}
    for message in queues.follow(queues.topology.events_queue(partition_of(base)).name):
        outcomes = decode_tracker(message.body.encode(), message.headers)
        assert {event.kind for event in outcomes.events} == {Kind.UNCONFIRMED}
        untold -= {event.delivery for event in outcomes.events if event.tenant == caller.tenant}
        if not untold:
            break
    wait_until(lambda: len(server.api.unconfirmed) == 0)
    # Not final: the same call may get the rest through, settled.
    queues.empty()
    queues.channel.queue_delete(apple.name)
    apple(queues.channel).declare()
    again = client.post("/emails/bulk", json=body, headers={"Idempotency-Key": "k"})
    assert (len(again.json()["data"]), again.json()["errors"]) == (301, [])
    assert sum(len(parcel.deliveries) for parcel in queues.parcels() if parcel.settle) == 301


def test_an_unknown_shard_is_refused_and_not_half_recorded(client, queues, apple, mail):
    # As after an upgrade with a new shard, before `topology apply`: no queue has the key.
    accepted = queues.topology.accepted_queue(Lane.HIGH).name
    for name in (apple.name, accepted):
        queues.channel.queue_unbind(name, queues.topology.accept.name, HIGH_APPLE)
    before = count("mailwarren_ingest_publishes_total", result="unroutable")
    answer = client.post("/emails", json=mail | {"to": APPLE, "priority": "high"}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["name"]) == (503, "internal_server_error")
    assert count("mailwarren_ingest_publishes_total", result="unroutable") == before + 1
    answer = client.post("/emails/bulk", json=bulk(APPLE, GOOGLE, priority="high"))
    assert [error["index"] for error in answer.json()["errors"]] == [0]
    assert [row["to"] for row in answer.json()["data"]] == [GOOGLE]
    assert [parcel.shard for parcel in queues.recorded()] == ["google"]


def test_a_missing_send_queue_is_noticed_and_nothing_is_recorded_alone(server, client, queues, apple, mail, wait_until):
    # The tracker's queue still has the key, so the broker would confirm.
    queues.channel.queue_delete(apple.name)
    wait_until(lambda: server.api.depths.state.send.get((Lane.HIGH, "apple")) == math.inf)
    answer = client.post("/emails", json=mail | {"to": [GOOGLE, APPLE], "priority": "high"})
    assert (answer.status_code, answer.json()["name"]) == (503, "internal_server_error")
    assert queues.recorded() == queues.parcels(queues.topology.send_queue(Lane.HIGH, "google").name) == []
    assert client.post("/emails", json=mail | {"to": GOOGLE, "priority": "high"}).status_code == 200


def test_a_full_queue_refuses_its_lane_and_shard_only(start, caller, queues, mail, wait_until):
    server = start(max_depth=2)
    with server.client(caller.token) as client:
        full = mail | {"to": APPLE, "priority": "high"}
        for _ in range(3):
            assert client.post("/emails", json=full).status_code == 200
        wait_until(lambda: server.api.depths.state.send.get((Lane.HIGH, "apple")) == 3)
        answer = client.post("/emails", json=full)
        assert (answer.status_code, answer.json()["name"]) == (503, "internal_server_error")
        assert answer.headers["retry-after"]
        assert client.post("/emails", json=full | {"priority": "normal"}).status_code == 200
        assert client.post("/emails", json=full | {"to": GOOGLE}).status_code == 200
        queues.empty()
        batch = [full | {"to": GOOGLE}, full]
        assert client.post("/emails/batch", json=batch).status_code == 503
        assert queues.parcels() == []
        wait_until(lambda: server.api.depths.state.send.get((Lane.HIGH, "apple")) == 0)


def test_a_depth_that_cannot_be_read_any_more_refuses_nothing(start, wire, place, caller, queues, mail, wait_until):
    line = wire(place.amqp_url)
    server = start(max_depth=0, depth_interval=0.1, amqp_url=line.url)
    with server.client(caller.token) as client:
        assert client.post("/emails", json=mail).status_code == 200
        wait_until(lambda: client.post("/emails", json=mail).status_code == 503)
        assert server.api.depths.state.send
        line.swallow = True
        wait_until(lambda: not server.api.depths.state.send)


def test_tolerant_calls_get_the_rows_through_that_have_room(start, caller, queues, mail, wait_until):
    server = start(max_depth=0)
    with server.client(caller.token) as client:
        full = mail | {"to": APPLE, "priority": "high"}
        assert client.post("/emails", json=full).status_code == 200
        wait_until(lambda: server.api.depths.state.send.get((Lane.HIGH, "apple")) == 1)
        permissive = {"x-batch-validation": "permissive"}
        answer = client.post("/emails/batch", json=[full, full | {"to": GOOGLE}], headers=permissive)
        assert [error["index"] for error in answer.json()["errors"]] == [0]
        wait_until(lambda: server.api.depths.state.send.get((Lane.HIGH, "google")) == 1)
        answer = client.post("/emails/bulk", json=bulk(APPLE, "bob@outlook.com", priority="high"))
        assert answer.status_code == 202
        assert [error["index"] for error in answer.json()["errors"]] == [0]
        assert "again later" in answer.json()["errors"][0]["message"]
        assert client.post("/emails/bulk", json=bulk(APPLE, GOOGLE, priority="high")).status_code == 503
        assert client.post("/emails/batch", json=[full], headers=permissive).status_code == 503


def test_a_backlog_of_the_tracker_refuses_everything(start, caller, queues, mail, wait_until):
    server = start(max_tracker_depth=1)
    with server.client(caller.token) as client:
        for _ in range(2):  # in the high lane, which is accepted up to the mark: the first may have been counted by now
            assert client.post("/emails", json=mail | {"priority": "high"}).status_code == 200
        wait_until(lambda: server.api.depths.state.tracker >= 2)
        assert client.post("/emails", json=mail | {"to": APPLE, "priority": "high"}).status_code == 503
