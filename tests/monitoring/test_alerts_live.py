"""A real Prometheus with every rule scrapes a real system: rules find their metrics, and healthy it alerts nobody."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.cluster.chart import NAMESPACE, Render
from mailwarren.devstack.cluster.scraping import scrape_jobs
from mailwarren.devstack.cluster.tools import HELM4, find
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
SERVICES = ("ingest", "sender", "tracker", "webhooks", "worker", "scheduler")
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
        system.start_webhooks(wait=False)
        system.start_sender(wait=False)
        system.start_worker(wait=False)
        system.wait_ready()
        system.start_scheduler()
        scrape = service_targets({name: system.metrics_url(name) for name in SERVICES})
        scrape += broker_targets(rabbitmq.metrics, "mailwarren")
        prometheus = Prometheus(root / "prometheus", scrape=scrape, rules=GLOBS, interval=0.5)
        prometheus.start()
        yield system, prometheus
    finally:
        if prometheus is not None:
            prometheus.stop()
        system.close()


@pytest.fixture(scope="module")
def in_a_cluster(running: tuple[System, Prometheus], rabbitmq: Any) -> Iterator[Prometheus]:
    """A second Prometheus, which the chart's own objects tell what to scrape and what to evaluate."""
    system, plain = running
    on = dict.fromkeys(("monitoring.prometheusRule", "flower", "sink"), '{"enabled": true}')
    on["monitoring.podMonitor"] = '{"enabled": true, "interval": "500ms"}'
    # One sender has all queues here.
    on["senders"] = '[{"name": "sender-all", "lanes": ["high", "normal", "bulk"]}]'
    manifests = Render(find(HELM4), settings=on).manifests()
    (rules,) = [one for one in manifests if one["kind"] == "PrometheusRule"]
    server = Prometheus(
        plain.home.parent / "in-a-cluster",
        scrape=scrape_jobs(
            manifests,
            {
                ("rabbitmq", "metrics"): rabbitmq.metrics,
                ("sink", "http"): urlsplit(json.loads((system.root / "sink.json").read_text())["http"]).netloc,
                **{(name, "metrics"): urlsplit(system.metrics_url(name)).netloc for name in SERVICES},
            },
        ),
        rules=["rules.yaml"],
        interval=0.5,
    )
    server.home.mkdir()
    (server.home / "rules.yaml").write_text(json.dumps(rules["spec"]))
    server.start()
    try:
        yield server
    finally:
        server.stop()


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
    return system.metrics(name)


def send_until_recorded(system: System, prometheus: Prometheus) -> None:
    """Sends until every recording rule has a sample: a ratio needs two of a counter that grows in between."""
    recorded = {rule["record"] for rule in rules_of("record")}
    end = time.monotonic() + 30
    while (missing := {name for name in recorded if not prometheus.query(name)}) and time.monotonic() < end:
        send_to_domains(system, 60, 100_000, 20)
        time.sleep(1)
    assert missing == set()


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
    wait_for(lambda: len(prometheus.query("up == 1")) == len(SERVICES) + 2, 20, "the first scrape", every=0.2)
    send_until_recorded(system, prometheus)
    groups = prometheus.get("/rules")["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
    assert len([rule for group in groups for rule in group["rules"]]) == len(rules_of("record")) + len(ALERTS)
    assert prometheus.query('ALERTS{alertstate="firing"}') == []
    for lane in Lane:
        (p95,) = prometheus.query(f'lane:mailwarren_accept_to_250_seconds:p95_5m{{lane="{lane}"}}')
        assert 0 < float(p95["value"][1]) < 10


def test_what_an_operator_makes_of_the_chart_fits_every_rule(
    running: tuple[System, Prometheus], in_a_cluster: Prometheus
) -> None:
    system, _ = running
    found = in_a_cluster
    wait_for(lambda: len(found.query("up == 1")) == len(SERVICES) + 3, 20, "the first scrape", every=0.2)
    send_until_recorded(system, found)
    groups = found.get("/rules")["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
    assert len([rule for group in groups for rule in group["rules"]]) == len(rules_of("record")) + len(ALERTS)
    assert found.query('ALERTS{alertstate="firing"}') == []
    for rule in rules_of("record"):
        expected = NAMESPACE if "namespace" in rule["expr"] else None
        assert {one["metric"].get("namespace") for one in found.query(rule["record"])} == {expected}, rule
    components = {one["metric"]["app_kubernetes_io_component"] for one in found.query("mailwarren_service_info")}
    assert components == set(SERVICES)
    # Ours, which a target's own label of this name must not hide.
    assert found.query('mailwarren_ingest_request_seconds_count{endpoint="send_bulk"}')
    assert found.query("mailwarren_sink_mails_total")
    # What MailwarrenTargetDown joins, and what the dashboards' variables list.
    joined = found.query("up == 1 and on (namespace, job, instance) max_over_time(mailwarren_service_info[1h])")
    assert len(joined) == len(SERVICES)
    assert {one["metric"]["job"] for one in found.query("up")} == {
        f"{NAMESPACE}/{name}" for name in ("mw", "mw-sink", "mw-rabbitmq", "mw-rabbitmq-queues")
    }
    for path in GRAFANA.glob("dashboards/*.json"):
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                listed = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
                assert listed is not None
                assert found.query(f"count by ({listed[2]}) ({listed[1]}{{{listed[2]}!=''}})"), (path.stem, listed)
