"""What the chart tells Prometheus: all rules and alerts, from one source, and where each part's metrics are."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailwarren.devstack.cluster.chart import Manifest, run_helm
from mailwarren.devstack.cluster.manifests import of_kind, workloads
from mailwarren.devstack.cluster.scraping import monitored, scrape_jobs
from mailwarren.devstack.prometheus import BROKER_FAMILIES

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
FILES = {
    path.name: path
    for folder in ("rules", "alerts")
    for path in (GRAFANA / folder).glob("*.yaml")
    if not path.name.endswith(".test.yaml")
}
TESTS = sorted(GRAFANA.glob("alerts/*.test.yaml"))
RULES = {"monitoring__prometheusRule__enabled": True, "monitoring__ruleFiles__enabled": True}
MONITORS = {"monitoring__podMonitor__enabled": True, "flower__enabled": True}
TARGETS = ["rabbit-0.example:15692", "rabbit-1.example:15692"]
EXTERNAL = {
    "rabbitmq__mode": "external",
    "rabbitmq__external__url": "amqp://admin:secret@rabbit.example/orders%2Fmail",
    "postgresql__mode": "external",
    "postgresql__external__url": "postgresql://owner:secret@db.example/mailwarren",
}


def source() -> dict[str, list[dict[str, Any]]]:
    """The groups of each file."""
    return {name: yaml.safe_load(path.read_text())["groups"] for name, path in FILES.items()}


def operators_rule(manifests: list[Manifest]) -> Manifest:
    (found,) = of_kind(manifests, "PrometheusRule")
    return found


def files_of(manifests: list[Manifest]) -> Manifest:
    (found,) = [one for one in of_kind(manifests, "ConfigMap") if one["metadata"]["name"] == "mw-prometheus-rules"]
    return found


def promtool(cwd: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lay_out(texts: dict[str, str], folder: Path) -> Path:
    """Rules as the repository has them, with its promtool tests beside them; returns the folder of alerts."""
    alerts = folder / "alerts"
    for place in (alerts, folder / "rules"):
        place.mkdir()
    for name, text in texts.items():
        (folder / FILES[name].parent.name / name).write_text(text)
    for path in TESTS:
        (alerts / path.name).write_bytes(path.read_bytes())
    return alerts


def test_the_copies_are_those_of_deploy_grafana() -> None:
    program = ROOT / "bin" / "chart-rules"
    done = subprocess.run([sys.executable, str(program), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_both_helms_hand_on_every_group_as_it_is(render, helm) -> None:
    manifests = render(helm=helm, **RULES)
    groups = [group for name in sorted(FILES) for group in source()[name]]
    found = operators_rule(manifests)["spec"]["groups"]
    assert sorted(found, key=lambda group: group["name"]) == sorted(groups, key=lambda group: group["name"])
    assert {name: yaml.safe_load(text)["groups"] for name, text in files_of(manifests)["data"].items()} == source()
    assert len({group["name"] for group in found}) == len(found) > 45


@pytest.mark.parametrize("kind", ["PrometheusRule", "ConfigMap"])
def test_promtool_sees_every_alert_of_the_chart_fire(render, tmp_path: Path, kind: str) -> None:
    manifests = render(**RULES)
    texts = files_of(manifests)["data"]
    if kind == "PrometheusRule":
        by_name = {group["name"]: group for group in operators_rule(manifests)["spec"]["groups"]}
        texts = {
            name: yaml.safe_dump({"groups": [by_name[group["name"]] for group in groups]})
            for name, groups in source().items()
        }
    alerts = lay_out(texts, tmp_path)
    promtool(tmp_path, "check", "rules", *(f"{FILES[name].parent.name}/{name}" for name in texts))
    said = promtool(alerts, "test", "rules", *(path.name for path in TESTS))
    assert said.count("SUCCESS") == len(TESTS) == len(FILES) - len(list((GRAFANA / "rules").glob("*.yaml")))


def test_a_base_and_labels_are_put_on_every_alert_and_nothing_else(render, tmp_path: Path) -> None:
    base = "https://git.example/mailwarren/docs/runbooks"
    values = {"monitoring__alerts__runbooks": f"{base}/", "monitoring__alerts__labels": {"team": "mail", "tier": "1"}}
    groups = operators_rule(render(**RULES, **values))["spec"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    before = {rule.get("alert") or rule["record"]: rule for groups in source().values() for one in groups
              for rule in one["rules"]}  # fmt: skip
    for rule in rules:
        was = before[rule.get("alert") or rule["record"]]
        if "alert" in rule:
            page = f"{base}/{rule['alert']}.md"
            was = {
                **was,
                "labels": {**was["labels"], "team": "mail", "tier": "1"},
                "annotations": {**was["annotations"], "runbook_url": page},
            }
            assert (ROOT / "docs" / "runbooks" / Path(page).name).exists()
        assert rule == was
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({"groups": groups}))
    promtool(tmp_path, "check", "rules", "all.yaml")


def test_templates_of_alerts_are_not_helms(render) -> None:
    text = files_of(render(**RULES))["data"]["MailwarrenShardStuck.yaml"]
    assert "{{ $labels.lane }}" in text
    assert '"(?:.+[.])?send[.]([a-z]+)[.]([a-z0-9]+)"' in files_of(render(**RULES))["data"]["queues.yaml"]


def test_a_prometheus_selects_them_by_labels_and_mounts_them_in_its_namespace(render) -> None:
    values = {
        "monitoring__prometheusRule__labels": {"release": "prometheus"},
        "monitoring__ruleFiles__labels": {"prometheus_rules": "1"},
        "monitoring__ruleFiles__namespace": "monitoring",
    }
    manifests = render(**RULES, **values)
    assert operators_rule(manifests)["metadata"]["labels"]["release"] == "prometheus"
    assert files_of(manifests)["metadata"]["labels"]["prometheus_rules"] == "1"
    assert files_of(manifests)["metadata"]["namespace"] == "monitoring"
    assert "namespace" not in operators_rule(manifests)["metadata"]


def test_nothing_is_made_unless_asked_for(render) -> None:
    manifests = render("trial")
    assert of_kind(manifests, "PrometheusRule", "PodMonitor", "ScrapeConfig") == []
    assert [one for one in of_kind(manifests, "ConfigMap") if "prometheus" in one["metadata"]["name"]] == []


def test_the_notes_say_how_to_mount_the_files(helm4, chart) -> None:
    install = ["install", "mw", str(chart), "--namespace", "mail", "--dry-run=client"]
    on = ["--set", "monitoring.ruleFiles.enabled=true", "--set", "monitoring.ruleFiles.namespace=monitoring"]
    notes = run_helm(helm4, [*install, *on]).partition("NOTES:")[2]
    assert "ConfigMap mw-prometheus-rules in monitoring" in notes
    values = yaml.safe_load(notes[notes.index("  server:") : notes.index("Pods are scraped")])
    (mount,) = values["server"]["extraConfigmapMounts"]
    assert mount["configMap"] == "mw-prometheus-rules"
    assert f"{mount['mountPath']}/*.yaml" in values["serverFiles"]["prometheus.yml"]["rule_files"]
    added = yaml.safe_load(notes[notes.index("  extraScrapeConfigs:") :].partition("\n\n")[0])
    (job,) = yaml.safe_load(added["extraScrapeConfigs"])
    assert job["params"] == {"vhost": ["mailwarren"], "family": list(BROKER_FAMILIES)}
    assert job["static_configs"] == [{"targets": ["mw-rabbitmq.mail.svc:15692"]}]
    assert "prometheus-rules" not in run_helm(helm4, install)


# Where metrics are


def test_each_part_with_metrics_is_scraped_once(render) -> None:
    manifests = render("sink", **MONITORS)
    pods = workloads(manifests)
    found: dict[str, list[tuple[str, int]]] = {}
    for monitor in of_kind(manifests, "PodMonitor"):
        for pod, _, port in monitored(monitor, pods):
            found.setdefault(pod.name, []).append((monitor["metadata"]["name"], port))
    ours = {
        "flower",
        "ingest",
        "scheduler",
        "sender-bulk",
        "sender-high",
        "sender-normal",
        "tracker",
        "webhooks",
        "worker",
    }
    assert {name: places for name, places in found.items() if name != "mw-rabbitmq"} == {
        **{f"mw-{name}": [("mw", 9464)] for name in ours},
        "mw-sink": [("mw-sink", 8025)],
    }
    assert sorted(found["mw-rabbitmq"]) == [("mw-rabbitmq", 15692), ("mw-rabbitmq-queues", 15692)]


def test_every_port_that_is_named_metrics_has_a_monitor_and_annotations(render, profile) -> None:
    manifests = render(profile, monitoring__podMonitor__enabled=True, sink__enabled=profile in ("trial", "sink"))
    pods = workloads(manifests)
    seen = {pod.name for monitor in of_kind(manifests, "PodMonitor") for pod, _, _ in monitored(monitor, pods)}
    for pod in pods:
        named = [port for one in pod.containers for port in one.get("ports") or [] if port["name"] == "metrics"]
        if named:
            assert pod.name in seen
            assert pod.template["metadata"]["annotations"]["prometheus.io/port"] == str(named[0]["containerPort"])


def test_the_sinks_annotations_lead_to_its_metrics(render) -> None:
    (sink,) = [one for one in workloads(render("sink")) if one.name == "mw-sink"]
    annotations = sink.template["metadata"]["annotations"]
    assert (annotations["prometheus.io/port"], annotations["prometheus.io/path"]) == ("8025", "/metrics")


@pytest.mark.parametrize(("values", "labels", "port"), [
    ({}, {"app.kubernetes.io/name": "mailwarren", "app.kubernetes.io/instance": "mw",
          "app.kubernetes.io/component": "rabbitmq"}, "metrics"),
    # What the RabbitMQ cluster operator gives its pods.
    ({"rabbitmq__mode": "operator"}, {"app.kubernetes.io/name": "mw-rabbitmq",
                                      "app.kubernetes.io/component": "rabbitmq"}, "prometheus"),
])  # fmt: skip
def test_a_broker_of_the_release_shows_nodes_and_queues(render, values, labels, port: str) -> None:
    monitors = {one["metadata"]["name"]: one["spec"] for one in of_kind(render(**MONITORS, **values), "PodMonitor")}
    nodes, queues = monitors["mw-rabbitmq"], monitors["mw-rabbitmq-queues"]
    assert nodes["selector"] == queues["selector"] == {"matchLabels": labels}
    (node,), (queue,) = nodes["podMetricsEndpoints"], queues["podMetricsEndpoints"]
    assert node == {"port": port, "path": "/metrics", "interval": "15s"}
    assert queue["path"] == "/metrics/detailed"
    assert queue["params"] == {"vhost": ["mailwarren"], "family": list(BROKER_FAMILIES)}


def test_an_external_broker_is_scraped_at_the_addresses_given(render) -> None:
    manifests = render(**MONITORS, **EXTERNAL, monitoring__podMonitor__rabbitmqTargets=TARGETS,
                       monitoring__podMonitor__labels={"release": "prometheus"})  # fmt: skip
    assert {one["metadata"]["name"] for one in of_kind(manifests, "PodMonitor")} == {"mw"}
    assert all(one["apiVersion"] == "monitoring.coreos.com/v1alpha1" for one in of_kind(manifests, "ScrapeConfig"))
    assert all(one["metadata"]["labels"]["release"] == "prometheus" for one in of_kind(manifests, "ScrapeConfig"))
    jobs = {job["job_name"]: job for job in scrape_jobs(manifests, {}) if job["job_name"].startswith("scrapeConfig")}
    assert {name: job["metrics_path"] for name, job in jobs.items()} == {
        "scrapeConfig/mail/mw-rabbitmq": "/metrics",
        "scrapeConfig/mail/mw-rabbitmq-queues": "/metrics/detailed",
    }
    params = jobs["scrapeConfig/mail/mw-rabbitmq-queues"]["params"]
    assert params == {"vhost": ["orders/mail"], "family": list(BROKER_FAMILIES)}
    assert all(job["static_configs"] == [{"targets": TARGETS}] for job in jobs.values())


def test_nobody_is_asked_about_an_external_broker_without_addresses(render) -> None:
    manifests = render(**MONITORS, **EXTERNAL)
    assert of_kind(manifests, "ScrapeConfig") == []
