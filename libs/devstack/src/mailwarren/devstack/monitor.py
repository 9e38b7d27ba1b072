"""``make monitor``: a private Prometheus on the system that runs, with every recording rule and alert."""

import time

import msgspec

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.prometheus import Prometheus, broker_targets, service_targets
from mailwarren.devstack.rabbitmq import VHOST, Broker
from mailwarren.devstack.stack import Stack
from mailwarren.devstack.terminal import say

_LOOK_SECONDS = 1.0


def monitor(stack: Stack) -> int:
    """Watches the running system until ^C; samples stay for the next time.

    Raises:
        DevstackError: nothing runs, or Prometheus ended.
    """
    at = stack.addresses()
    if at is None or not stack.supervisor.is_running():
        raise DevstackError("monitor needs a running system: make up")
    scrape = service_targets({name: f"http://127.0.0.1:{port}" for name, port in at.metrics.items()})
    account = stack.local.path / "rabbitmq" / "broker.json"
    if account.exists():
        port = msgspec.json.decode(account.read_bytes(), type=Broker).prometheus
        scrape += broker_targets(f"127.0.0.1:{port}", VHOST)
    else:
        say("The broker is not a private one here: its queues are not watched.")
    grafana = stack.local.path.parent / "deploy" / "grafana"
    alerts = [path for path in sorted(grafana.glob("alerts/*.yaml")) if not path.name.endswith(".test.yaml")]
    server = Prometheus(
        stack.local.path / "prometheus", scrape=scrape, rules=[*sorted(grafana.glob("rules/*.yaml")), *alerts]
    )
    server.start()
    try:
        say(f"Prometheus  {server.url}/targets   (queries: /graph, alerts: /alerts); ^C ends it")
        while server.pid is not None:
            time.sleep(_LOOK_SECONDS)
        raise DevstackError(f"Prometheus ended; its log is {server.log}")
    finally:
        server.stop()
