"""Resources of operators: their fields by hand, and against their definitions where those are at hand."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from mailwarren.devstack.cluster.definitions import Definitions, is_custom
from mailwarren.devstack.cluster.manifests import of_kind, queues_of, workloads

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(os.environ.get("SCHEMAS") or ROOT.parent / "shared" / "schemas")
OPERATORS = {"rabbitmq__mode": "operator", "postgresql__mode": "cloudnativepg"}
KEDA = {
    "smtp__url": "smtp+starttls://user:pass@relay.example:587",
    "senderDefaults__autoscaling": {"type": "keda", "min": 0, "max": 8, "parcels": 40, "scaleDownSeconds": 300},
}


def only(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = of_kind(manifests, kind)
    return found


def test_every_custom_resource_is_what_its_definition_says(render, profile) -> None:
    if not SCHEMAS.is_dir():
        pytest.skip(f"no definitions at {SCHEMAS}: make check-schemas SCHEMAS=<dir>")
    definitions = Definitions.read(SCHEMAS)
    custom = [one for one in render(profile) if is_custom(one)]
    assert [line for one in custom for line in definitions.problems(one)] == []


def test_the_profiles_have_every_kind(render, all_profiles) -> None:
    kinds = {one["kind"] for profile in all_profiles for one in render(profile) if is_custom(one)}
    assert kinds >= {
        *("RabbitmqCluster", "Cluster", "ScaledObject", "TriggerAuthentication"),
        *("HTTPRoute", "PodMonitor", "PrometheusRule"),
    }


def test_the_broker_of_the_operator_has_three_nodes_and_our_setting(render) -> None:
    cluster = only(render(**OPERATORS), "RabbitmqCluster")
    assert cluster["apiVersion"] == "rabbitmq.com/v1beta1"
    spec = cluster["spec"]
    assert spec["replicas"] == 3
    assert spec["image"] == "docker.io/library/rabbitmq:4.1-management"
    assert spec["persistence"]["storage"] == "20Gi"
    assert spec["resources"]["limits"]["memory"] == "2Gi"
    assert "dead_letter_worker_publisher_confirm_timeout, 10000" in spec["rabbitmq"]["advancedConfig"]


def test_the_database_of_the_operator_has_three_instances_and_our_roles(render) -> None:
    cluster = only(render(**OPERATORS), "Cluster")
    assert cluster["apiVersion"] == "postgresql.cnpg.io/v1"
    spec = cluster["spec"]
    assert spec["instances"] == 3
    assert spec["storage"]["size"] == "20Gi"
    assert spec["bootstrap"]["initdb"]["database"] == "mailwarren"
    roles = {role["name"]: role for role in spec["managed"]["roles"]}
    assert set(roles) >= {"mailwarren_ingest", "mailwarren_tracker"}
    for role in roles.values():
        assert role["login"] is True
        assert not role.get("superuser")
        assert not role.get("createrole")
    assert "mailwarren_sender" not in roles


def test_keda_scales_each_fleet_by_its_own_queues(render) -> None:
    manifests = render(**KEDA)
    fleets = {one.name: queues_of(one) for one in workloads(manifests) if one.service == "sender"}
    scaled = {one["spec"]["scaleTargetRef"]["name"]: one["spec"] for one in of_kind(manifests, "ScaledObject")}
    assert set(scaled) == set(fleets)
    for name, spec in scaled.items():
        assert (spec.get("minReplicaCount"), spec["maxReplicaCount"]) == (0, 8)
        rabbit = [trigger for trigger in spec["triggers"] if trigger["type"] == "rabbitmq"]
        assert rabbit, name
        assert all(trigger["authenticationRef"]["name"] for trigger in rabbit)
        for trigger in rabbit:
            assert trigger["metadata"]["protocol"] == "http"
            assert not any("://" in str(value) for value in trigger["metadata"].values())
        assert {value for trigger in rabbit for value in covered(trigger["metadata"], fleets[name])} == set(
            fleets[name]
        )


def covered(metadata: dict[str, str], queues: list[str]) -> set[str]:
    """Queues that a trigger counts: one by name, or those that a regular expression matches."""
    if metadata.get("useRegex") == "true":
        everything = re.compile(metadata["queueName"])
        return {queue for queue in queues if everything.search(queue)}
    return {metadata["queueName"]}


def test_keda_counts_no_queue_of_another_fleet(render) -> None:
    manifests = render(**KEDA)
    fleets = {one.name: queues_of(one) for one in workloads(manifests) if one.service == "sender"}
    everything = [queue for queues in fleets.values() for queue in queues]
    others = ["tracker.accepted.bulk", "ladder.bulk.5s", "mail.dead", "xsend.bulk.google", "send.bulk.google.x"]
    for one in of_kind(manifests, "ScaledObject"):
        name = one["spec"]["scaleTargetRef"]["name"]
        for trigger in one["spec"]["triggers"]:
            if trigger["type"] == "rabbitmq":
                assert covered(trigger["metadata"], everything + others) <= set(fleets[name])


def test_fleets_grow_fast_and_shrink_slowly(render) -> None:
    kinds = {
        "ScaledObject": lambda one: one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        "HorizontalPodAutoscaler": lambda one: one["spec"]["behavior"],
    }
    hpa = {"senderDefaults__autoscaling": {"type": "hpa", "max": 4}, "smtp__url": KEDA["smtp__url"]}
    for kind, values in (("ScaledObject", KEDA), ("HorizontalPodAutoscaler", hpa)):
        for one in of_kind(render(**values), kind):
            behavior = kinds[kind](one)
            assert behavior["scaleUp"].get("stabilizationWindowSeconds", 0) == 0
            assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 300


def test_a_route_leads_to_the_api(render) -> None:
    parents = [{"name": "gateway", "namespace": "infra"}]
    manifests = render(gateway__enabled=True, gateway__parentRefs=parents, gateway__hostnames=["mail.example"])
    route = only(manifests, "HTTPRoute")
    assert route["spec"]["parentRefs"] == parents
    assert route["spec"]["hostnames"] == ["mail.example"]
    (service,) = [one for one in of_kind(manifests, "Service") if one["metadata"]["name"] == "mw-ingest"]
    ports = [port["port"] for port in service["spec"]["ports"]]
    for rule in route["spec"]["rules"]:
        for backend in rule["backendRefs"]:
            assert backend["name"] == "mw-ingest"
            assert backend["port"] in ports


def test_an_unknown_field_is_found_where_definitions_are(render) -> None:
    if not SCHEMAS.is_dir():
        pytest.skip(f"no definitions at {SCHEMAS}: make check-schemas SCHEMAS=<dir>")
    cluster = only(render(**OPERATORS), "RabbitmqCluster")
    broken = {**cluster, "spec": {**cluster["spec"], "replicsa": 3}}
    assert any("replicsa" in line for line in Definitions.read(SCHEMAS).problems(broken))
