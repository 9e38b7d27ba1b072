"""What the demo needs to know, and when it refuses to run at all."""

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import Topology
from mailwarren.devstack import demo
from mailwarren.devstack.demo.queues import queue_names
from mailwarren.devstack.demo.targets import Targets
from mailwarren.devstack.errors import DevstackError

ENVIRONMENT = {
    "MAILWARREN_API_URL": "http://127.0.0.1:1/v1",
    "MAILWARREN_API_KEY": "mw_secret",
    "MAILWARREN_SINK_URL": "http://127.0.0.1:2/",
    "MAILWARREN_AMQP_URL": "amqp://u:p%40ss@127.0.0.1:3/mail%2Fwarren",
    "MAILWARREN_DATABASE_URL": "postgresql+asyncpg://u:hidden@127.0.0.1:4/x",
    "MAILWARREN_MANAGEMENT_URL": "http://u:p%40ss@127.0.0.1:5/",
    "MAILWARREN_AMQP_PREFIX": "t1.",
    "MAILWARREN_RETRY_SCALE": "0.01",
}


def test_the_environment_is_read() -> None:
    targets = Targets.of(ENVIRONMENT)

    assert (targets.site, targets.sink_url) == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert targets.vhost == "mail/warren"
    assert targets.management == ("http://127.0.0.1:5", ("u", "p@ss"))
    assert targets.topology == Topology("t1.", 0.01)
    assert Targets.of({**ENVIRONMENT, "MAILWARREN_MANAGEMENT_URL": ""}).management is None


def test_no_secret_is_shown() -> None:
    shown = repr(Targets.of(ENVIRONMENT))

    assert not any(secret in shown for secret in ("mw_secret", "p%40ss", "hidden"))


@pytest.mark.parametrize("name", ["SMTP_URL", "MAILWARREN_SMTP_URL"])
def test_a_real_relay_is_refused(name: str) -> None:
    with pytest.raises(DevstackError, match=f"^{name} is set"):
        Targets.of({**ENVIRONMENT, name: "smtp://relay.example:25"})


def test_what_is_missing_is_named() -> None:
    with pytest.raises(DevstackError, match=r"^MAILWARREN_API_KEY, MAILWARREN_AMQP_URL not set"):
        Targets.of({**ENVIRONMENT, "MAILWARREN_API_KEY": "", "MAILWARREN_AMQP_URL": ""})


@pytest.mark.parametrize(("name", "value"), [("DATABASE_URL", "mysql://x"), ("RETRY_SCALE", "fast")])
def test_what_cannot_be_used_is_refused(name: str, value: str) -> None:
    with pytest.raises(DevstackError, match="MAILWARREN_DATABASE_URL or MAILWARREN_RETRY_SCALE"):
        Targets.of({**ENVIRONMENT, f"MAILWARREN_{name}": value})


def test_a_demo_that_cannot_begin_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run({}) == demo.NOT_RUN
    assert "not set: `make up` writes them to .local/env" in capsys.readouterr().err


def test_every_queue_that_mail_waits_in_is_counted_once() -> None:
    topology = Topology("t1.", 0.01)

    names = queue_names(topology)

    # People look after what is parked, and the control log is a stream that keeps what was read.
    orders = {topology.ops_queue.name, topology.ops_dead_queue.name}
    orders |= {queue.name for queue in topology.ops_retry_queues}
    slots = {queue.name for queue in (*topology.slot_queues, topology.keeper_queue)}
    apart = orders | slots | {topology.dead_queue.name, topology.unrouted_queue.name, topology.control_log_queue.name}
    assert set(names) == {queue.name for queue in topology.all_queues} - apart
    assert names["t1.send.high.google"] is Lane.HIGH
    assert names["t1.tracker.accepted.bulk"] is Lane.BULK
    assert names["t1.tracker.events.3"] is None
