"""Error reports and spans: off unless a value asks for them, and then every service has the variable and the way."""

from typing import Any

from mailwarren.devstack.cluster.manifests import environment, of_kind, workloads
from mailwarren.devstack.cluster.network import PUBLIC, Network, Peer

OUTSIDE = Peer(address=PUBLIC)
DSN = "https://0123abcd@sentry.example.test/17"
SERVICES = {"ingest", "sender", "tracker", "webhooks", "worker", "scheduler"}
VARIABLES = {"SENTRY_DSN", "SENTRY_RELEASE", "OTEL_EXPORTER_OTLP_ENDPOINT"}


def told(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By component, what its pods are told of Sentry and OpenTelemetry."""
    return {
        one.labels["app.kubernetes.io/component"]: {
            name: entry for name, entry in environment(one.containers[0]).items() if name in VARIABLES
        }
        for one in workloads(manifests)
        if one.containers
    }


def reach(manifests: list[dict[str, Any]], port: int) -> set[str]:
    """The components that reach a port outside."""
    network = Network(manifests)
    return {
        one.labels["app.kubernetes.io/component"]
        for one in workloads(manifests)
        if network.allows(Peer(one.labels), OUTSIDE, port)
    }


def test_nothing_is_told_and_no_way_is_open_unless_asked_for(render) -> None:
    manifests = render("trial")
    assert [name for name, found in told(manifests).items() if found] == []
    assert reach(manifests, 4318) == set()


def test_services_and_only_they_have_the_dsn_out_of_a_secret(render) -> None:
    manifests = render("trial", sentry__dsn=DSN)
    found = told(manifests)
    assert {name for name, variables in found.items() if "SENTRY_DSN" in variables} == SERVICES
    for name in SERVICES:
        reference = found[name]["SENTRY_DSN"]["valueFrom"]["secretKeyRef"]
        assert reference["key"] == "SENTRY_DSN"
        (secret,) = [one for one in of_kind(manifests, "Secret") if one["metadata"]["name"] == reference["name"]]
        assert set(secret["data"]) == {"SENTRY_DSN"}
        assert found[name]["SENTRY_RELEASE"]["value"].startswith("mailwarren@")
    assert DSN not in str([one for one in manifests if one["kind"] != "Secret"])


def test_an_existing_secret_is_used_instead_and_none_is_made(render) -> None:
    manifests = render("trial", sentry__existingSecret="errors")
    assert told(manifests)["tracker"]["SENTRY_DSN"]["valueFrom"]["secretKeyRef"]["name"] == "errors"
    assert [one for one in of_kind(manifests, "Secret") if "SENTRY_DSN" in (one.get("data") or {})] == []


def test_the_collector_is_a_plain_value_and_its_port_is_open_for_services(render) -> None:
    manifests = render("trial", otel__endpoint="http://collector.monitoring:4318")
    assert {name for name, variables in told(manifests).items() if variables} == SERVICES
    assert told(manifests)["sender"]["OTEL_EXPORTER_OTLP_ENDPOINT"]["value"] == "http://collector.monitoring:4318"
    assert reach(manifests, 4318) == SERVICES
    assert reach(manifests, 4319) == set()


def test_peers_and_ports_are_values(render) -> None:
    only = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    values = {"networkPolicy__telemetry__to": only, "networkPolicy__telemetry__ports": [9999]}
    manifests = render("trial", otel__endpoint="http://collector.monitoring:9999", **values)
    network = Network(manifests)
    collector = Peer({"app": "collector"}, namespace="monitoring")
    for one in workloads(manifests):
        if one.labels["app.kubernetes.io/component"] in SERVICES:
            assert network.allows(Peer(one.labels), collector, 9999)
            assert not network.allows(Peer(one.labels), OUTSIDE, 9999)
            assert not network.allows(Peer(one.labels), collector, 4318)
