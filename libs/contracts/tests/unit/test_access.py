"""Who may do what on the broker, over every name that there is."""

import re
from itertools import product

import pytest

from mailwarren.contracts.access import Service, broker_rights
from mailwarren.contracts.topology import Topology

ANSWERS = f"answers.{'0123456789abcdef' * 2}"
PIDBOX = "celery@a-host.example.celery.pidbox"
ASKER = "0a1b2c3d-0a1b-2c3d-4e5f-0123456789ab"
REPLIES, RECEIVED = f"{ASKER}.reply.celery.pidbox", f"celeryev.{ASKER}"
HEARD = f"control.{'0123456789abcdef' * 2}"
BESIDES = (
    HEARD, ANSWERS, PIDBOX, REPLIES, RECEIVED, "celery.pidbox", "reply.celery.pidbox", "celeryev", "amq.default",
    "amq.topic",
)  # fmt: skip
"""What is not in the topology: exclusive queues, Celery's remote control, and what nobody may touch."""
NEVER = (
    "answers.short", f"{ANSWERS}0", "send.bulk", "xsend.bulk.h1", "send.bulk.h1.x", "tracker.events.1.2", "slots.",
    "control.short",
)  # fmt: skip


def plain_names(scale: float = 1.0) -> set[str]:
    topology = Topology("", scale)
    return {one.name for one in (*topology.all_exchanges, *topology.all_queues)} | {*BESIDES, *NEVER}


def placed(name: str, prefix: str) -> str:
    """A name of a system with this prefix; RabbitMQ's own have none."""
    if name == PIDBOX:
        return f"celery@a-host.example.{prefix}celery.pidbox"
    if name in {"reply.celery.pidbox", REPLIES}:
        return name.replace("celery", f"{prefix}celery")
    return name if name.startswith("amq.") else f"{prefix}{name}"


def family(name: str) -> str:
    """What a name is one of."""
    return re.sub(
        r"^(send|ladder|slots|ops\.retry)\..+|^(tracker\.(?:accepted|events))\..+", lambda m: f"{m[1] or m[2]}.*", name
    )


ALLOWED = {
    (Service.INGEST, "configure"): {HEARD, PIDBOX, "celery.pidbox", "reply.celery.pidbox", "celeryev"},
    (Service.INGEST, "write"): {
        "mail.accept", "mail.events", "mail.control.log", "mail.send", "send.*", "ladder.*",
        "tracker.accepted.*", "tracker.events.*", "tracker.dead", "tracker.shaping", "ops.tasks", "ops.retry",
        "ops.retry.*", HEARD, PIDBOX, "reply.celery.pidbox", "celeryev",
    },
    (Service.INGEST, "read"): {
        "ops.tasks", "mail.control", "mail.dead", "mail.unrouted", "ops.dead", HEARD, PIDBOX, "celery.pidbox",
    },
    (Service.SENDER, "configure"): {ANSWERS, HEARD, PIDBOX, "celery.pidbox", "reply.celery.pidbox"},
    (Service.SENDER, "write"): {
        "mail.events", "mail.defer", "mail.dead", "mail.control.log", "mail.control", "slots", "ladder.*", ANSWERS,
        HEARD, PIDBOX, "reply.celery.pidbox",
    },
    (Service.SENDER, "read"): {
        "send.*", "slots.*", "mail.control.log", "mail.control", "mail.answers", ANSWERS, HEARD, PIDBOX,
        "celery.pidbox",
    },
    (Service.TRACKER, "configure"): set(),
    (Service.TRACKER, "write"): {"mail.answers", "mail.dead", "mail.control.log"},
    (Service.TRACKER, "read"): {"tracker.accepted.*", "tracker.events.*", "tracker.dead", "tracker.shaping"},
    (Service.FLOWER, "configure"): {"celery.pidbox", "reply.celery.pidbox", "celeryev", REPLIES, RECEIVED},
    (Service.FLOWER, "write"): {"celery.pidbox", REPLIES, RECEIVED},
    (Service.FLOWER, "read"): {"reply.celery.pidbox", "celeryev", REPLIES, RECEIVED},
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "t4f.", "a-b_c."])
@pytest.mark.parametrize(("service", "kind"), ALLOWED)
def test_each_account_may_touch_what_it_needs_and_nothing_else(service: Service, kind: str, prefix: str) -> None:
    pattern = getattr(broker_rights(Topology(prefix))[service], kind)
    allowed = {name for name in plain_names() if re.search(pattern, placed(name, prefix))}
    assert {family(name) for name in allowed} == ALLOWED[service, kind]
    assert not allowed & set(NEVER)
    # All of a family or none.
    assert allowed == {name for name in plain_names() - set(NEVER) if family(name) in ALLOWED[service, kind]}


@pytest.mark.parametrize(("service", "kind"), ALLOWED)
def test_a_system_with_another_prefix_is_out_of_reach(service: Service, kind: str) -> None:
    others = ("", "t4fx.", "xt4f.", "t4f", "T4F.", "t4f-")
    pattern = getattr(broker_rights(Topology("t4f."))[service], kind)
    assert [
        placed(name, other) for name, other in product(plain_names(), others) if re.search(pattern, placed(name, other))
    ] == []


def test_another_retry_scale_needs_no_other_permissions() -> None:
    assert broker_rights(Topology("", 0.01)) == broker_rights(Topology("", 1.0))
    pattern = broker_rights(Topology())[Service.SENDER].write
    assert all(re.search(pattern, queue.name) for scale in (1, 0.37, 0.01) for queue in Topology("", scale).rung_queues)


def test_a_sender_writes_only_markers_shaping_and_reservations_into_the_control_log() -> None:
    (topic,) = broker_rights(Topology("t."))[Service.SENDER].topics
    assert topic.exchange == "t.mail.control.log"
    keys = ("marker", "shaping", "warmup", "3", "markers", "a.marker", "shaping.x", "warmups", "")
    assert [key for key in keys if re.search(topic.write, key)] == ["marker", "shaping", "warmup"]
    assert not re.search(topic.read, "marker")


def test_the_tracker_writes_only_shaping_into_the_control_log() -> None:
    (topic,) = broker_rights(Topology("t."))[Service.TRACKER].topics
    assert topic.exchange == "t.mail.control.log"
    keys = ("marker", "shaping", "3", "shaping.x", "")
    assert [key for key in keys if re.search(topic.write, key)] == ["shaping"]
