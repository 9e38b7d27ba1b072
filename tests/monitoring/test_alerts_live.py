"""A real Prometheus with every rule scrapes a real system: rules find their metrics, and healthy it alerts nobody."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.spread import send_to_domains
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.prometheus import Prometheus, broker_targets, service_targets

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
ALERTS = [path for path in sorted(GRAFANA.glob("alerts/*.yaml")) if not path.name.endswith(".test.yaml")]
RULES = [*sorted(GRAFANA.glob("rules/*.yaml")), *ALERTS]
GLOBS = [f"{GRAFANA}/rules/*.yaml", f"{GRAFANA}/alerts/*[^.]????.yaml"]
"""As docs/operations.md gives them."""
SERVICES = ("ingest", "sender", "tracker")
KUBE_STATE_METRICS = {
    "kube_pod_container_info",
    "kube_pod_container_status_restarts_total",
    "kube_pod_status_phase",
    "kube_pod_status_ready",
}
"""What rules need of kube-state-metrics (names of its documentation): no cluster is here to ask."""
KEYWORDS = {"and", "or", "unless", "bool", "offset", "by", "on", "without", "ignoring", "group_left", "group_right"}


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: Any, postgres: Any, amqp_prefix: str
) -> Iterator[tuple[System, Prometheus]]:
    if rabbitmq.metrics is None:
        pytest.skip("the broker is a given one, or in Docker: its metrics port is not known")
    root = tmp_path_factory.mktemp("system")
    system = System(root, amqp_url=rabbitmq.amqp_url, database_url=postgres.database_url, prefix=amqp_prefix)
    prometheus = None
    try:
        system.prepare()
        system.start_sink()
        system.start_ingest(wait=False)
        system.start_tracker(wait=False)
        system.start_sender(wait=False)
        system.wait_ready()
        scrape = service_targets({name: system.metrics_url(name) for name in SERVICES})
        scrape += broker_targets(rabbitmq.metrics, "mailwarren")
        prometheus = Prometheus(root / "prometheus", scrape=scrape, rules=GLOBS, interval=0.5)
        prometheus.start()
        yield system, prometheus
    finally:
        if prometheus is not None:
            prometheus.stop()
        system.close()


def rules_of(kind: str) -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def metrics_in(expression: str) -> set[str]:
    """The names of metrics that an expression asks for."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\w|:|\s*\()", bare)
    return {name for name in names if name not in KEYWORDS}


def exported(text: str) -> set[str]:
    """The names of samples that an endpoint has, or would have with its first count."""
    found = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)", text, flags=re.MULTILINE):
        found |= {name} | ({f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else set())
    return found


def scraped(system: System, name: str) -> str:
    return httpx.get(system.metrics_url(name), timeout=10).raise_for_status().text


def test_names_are_read_from_expressions() -> None:
    text = 'sum by (lane, le) (rate(a_total{b="c_total"}[5m])) > 0.05 and on (job) x:y:rate5m offset 5m unless up == 0'
    assert metrics_in(text) == {"a_total", "x:y:rate5m", "up"}


def test_every_metric_of_a_rule_is_exported(running: tuple[System, Prometheus], rabbitmq: Any) -> None:
    system, _ = running
    there = {"up"} | KUBE_STATE_METRICS | {rule["record"] for rule in rules_of("record")}
    for name in SERVICES:
        there |= exported(scraped(system, name))
    families = "vhost=mailwarren&family=queue_coarse_metrics&family=queue_consumer_count"
    for path in ("/metrics", f"/metrics/detailed?{families}"):
        there |= exported(httpx.get(f"http://{rabbitmq.metrics}{path}", timeout=10).raise_for_status().text)
    asked = {name for kind in ("record", "alert") for rule in rules_of(kind) for name in metrics_in(rule["expr"])}
    assert asked - there == set()
    assert asked >= KUBE_STATE_METRICS


def test_every_metric_that_a_runbook_names_is_exported(running: tuple[System, Prometheus]) -> None:
    system, _ = running
    there = set().union(*(exported(scraped(system, name)) for name in SERVICES))
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "runbooks").glob("*.md"))
    named = set(re.findall(r"(?<![\w:])mailwarren_[a-z0-9_]+", pages))
    assert {name for name in named if not {name, f"{name}_bucket"} & there} == set()


def test_every_recording_rule_has_samples_and_a_healthy_system_alerts_nobody(
    running: tuple[System, Prometheus],
) -> None:
    system, prometheus = running
    recorded = {rule["record"] for rule in rules_of("record")}

    def silent() -> set[str]:
        return {name for name in recorded if not prometheus.query(name)}

    wait_for(lambda: len(prometheus.query("up == 1")) == len(SERVICES) + 2, 20, "the first scrape", every=0.2)
    end = time.monotonic() + 30
    round_ = 0
    # A ratio needs two samples of a counter that grows in between.
    while (missing := silent()) and time.monotonic() < end:
        round_ += 1
        send_to_domains(system, 60, 100_000, 20)
        time.sleep(1)
    assert missing == set()
    groups = prometheus.get("/rules")["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
    assert len([rule for group in groups for rule in group["rules"]]) == len(rules_of("record")) + len(ALERTS)
    assert prometheus.query('ALERTS{alertstate="firing"}') == []
    for lane in Lane:
        (p95,) = prometheus.query(f'lane:mailwarren_accept_to_250_seconds:p95_5m{{lane="{lane}"}}')
        assert 0 < float(p95["value"][1]) < 10
