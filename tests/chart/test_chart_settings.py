"""What the chart tells the services: settings that they have, secrets only out of Secrets, each queue to one fleet."""

import json
import re
from collections import Counter
from typing import Any

from pydantic_settings import BaseSettings

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import SHARDS
from mailwarren.contracts.topology import Topology, send_queue_names
from mailwarren.devstack.cluster.manifests import Workload, environment, of_kind, queues_of, strings, workloads
from mailwarren.flower.settings import FlowerSettings
from mailwarren.ingest.settings import OpsSettings
from mailwarren.sender.settings import SenderSettings
from mailwarren.tracker.settings import WebhookSettings

SETTINGS: dict[str, type[BaseSettings]] = {
    "flower": FlowerSettings,
    "ingest": OpsSettings,  # the API's, and those of worker and scheduler
    "sender": SenderSettings,
    "tracker": WebhookSettings,  # its own, and those of the webhooks
}
SECRET = {
    "MAILWARREN_AMQP_URL",
    "MAILWARREN_DATABASE_URL",
    "MAILWARREN_MANAGEMENT_URL",
    "MAILWARREN_SMTP_URL",
    "MAILWARREN_FLOWER_AUTH",
    "MAILWARREN_BROKER_ADMIN_URL",
    "SENTRY_DSN",
}
# Of setup and of the release's test, which are commands and no services.
SETUP = {
    "MAILWARREN_BROKER_ADMIN_URL", "MAILWARREN_INGEST_PASSWORD", "MAILWARREN_SENDER_PASSWORD",
    "MAILWARREN_TRACKER_PASSWORD", "MAILWARREN_FLOWER_PASSWORD", "MAILWARREN_API_URL", "MAILWARREN_API_KEY",
    "MAILWARREN_SINK_URL",
}  # fmt: skip
CREDENTIALS = re.compile(r"://[^/@:$\s]*:(?!\$\()[^@\s]+@")
"""A URL with a password in clear; ``$(NAME)`` is filled in by Kubernetes from a Secret."""


def variables(settings: type[BaseSettings]) -> set[str]:
    return {f"MAILWARREN_{name.upper()}" for name in settings.model_fields}


def unknown(workload: Workload) -> set[str]:
    named = {name for name in environment(workload.containers[0]) if name.startswith("MAILWARREN_")}
    known = variables(SETTINGS[workload.service or ""])
    return named - known - (SETUP if workload.kind in {"Job", "CronJob", "Pod"} else set())


def test_every_variable_is_a_setting_of_its_service(render, profile) -> None:
    found = {
        one.name: unknown(one)
        for one in workloads(render(profile, upgrade=True))
        if one.service in SETTINGS and unknown(one)
    }
    assert found == {}


def test_an_unknown_variable_is_named() -> None:
    container = {
        "image": "mailwarren-sender:1",
        "env": [{"name": "MAILWARREN_DATABASE_URL"}, {"name": "MAILWARREN_PREFETCH"}],
    }
    pod = {"metadata": {}, "spec": {"containers": [container]}}
    made = Workload({"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": pod}})
    assert unknown(made) == {"MAILWARREN_DATABASE_URL"}


def test_values_are_ones_that_the_service_takes(render, profile) -> None:
    """Each service's own settings are made from what the chart says in clear."""
    for one in workloads(render(profile)):
        if one.service in SETTINGS:
            plain = {
                name.removeprefix("MAILWARREN_").lower(): entry["value"]
                for name, entry in environment(one.containers[0]).items()
                if name.startswith("MAILWARREN_") and "value" in entry and name not in SECRET | SETUP
            }
            login = {"flower_auth": "somebody:something"} if one.service == "flower" else {}
            SETTINGS[one.service].model_validate(plain | login)


def test_no_secret_is_a_plain_value(render, profile) -> None:
    for manifests in (render(profile), render(profile, upgrade=True, setup__beforeUpgrade="always")):
        for one in workloads(manifests):
            for name, entry in environment(one.containers[0]).items():
                if name in SECRET or name.endswith("PASSWORD"):
                    assert "valueFrom" in entry or "$(" in entry["value"], (one.name, name)
        for manifest in manifests:
            if manifest["kind"] != "Secret":
                assert [text for text in strings(manifest) if CREDENTIALS.search(text)] == [], manifest["metadata"][
                    "name"
                ]


def test_a_password_in_clear_is_found() -> None:
    assert CREDENTIALS.search("amqp://a:b@host")
    assert not CREDENTIALS.search("amqp://mailwarren-ingest:$(INGEST_PASSWORD)@host")
    assert not CREDENTIALS.search("http://mw-ingest.mail.svc:80/v1")


def test_what_is_referred_to_is_there(render, profile) -> None:
    """A Secret or ConfigMap of the release is rendered, with the key; others are named in the values."""
    manifests = render(profile)
    made = {
        one["metadata"]["name"]: set(one.get("data") or {}) | set(one.get("stringData") or {})
        for one in of_kind(manifests, "Secret", "ConfigMap")
    }
    for one in workloads(manifests):
        for entry in environment(one.containers[0]).values():
            reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
            if reference and reference["name"].startswith("mw-") and reference["name"] in made:
                assert reference["key"] in made[reference["name"]] or reference.get("optional"), (one.name, reference)


def test_the_sender_and_the_sink_hear_of_no_database(render) -> None:
    for one in workloads(render("trial")):
        if one.service in {"sender", "sink"}:
            assert "MAILWARREN_DATABASE_URL" not in environment(one.containers[0])
            assert not [text for text in strings(one.pod) if "postgres" in text]


def consumed(manifests: list[dict[str, Any]]) -> Counter[str]:
    return Counter(queue for one in workloads(manifests) if one.service == "sender" for queue in queues_of(one))


def test_each_send_queue_is_consumed_by_exactly_one_fleet(render, profile) -> None:
    manifests = render(profile)
    prefixes = {
        str(environment(one.containers[0]).get("MAILWARREN_AMQP_PREFIX", {}).get("value", ""))
        for one in workloads(manifests)
        if one.service == "sender"
    }
    (prefix,) = prefixes
    expected = {queue.name for queue in Topology(prefix=prefix).send_queues}
    assert consumed(manifests) == Counter(expected)


def test_a_fleet_takes_its_lanes_and_shards(render) -> None:
    fleets = [
        {"name": "sender-google", "lanes": ["high", "bulk"], "shards": ["google"]},
        {"name": "sender-rest", "lanes": ["high", "bulk"], "shards": [shard for shard in SHARDS if shard != "google"]},
        {"name": "sender-normal", "lanes": ["normal"]},
    ]
    manifests = render(senders=fleets)
    queues = {one.name: queues_of(one) for one in workloads(manifests) if one.service == "sender"}
    assert set(queues["mw-sender-google"]) == set(send_queue_names([Lane.HIGH, Lane.BULK], ["google"]))
    assert consumed(manifests) == Counter(send_queue_names())


def test_each_worker_has_a_name_of_its_fleet(render) -> None:
    for one in workloads(render()):
        if one.service == "sender":
            words = one.words
            assert words[words.index("-n") + 1] == f"{one.name.removeprefix('mw-')}@%h"


def test_the_chart_knows_the_lanes_and_shards_of_the_contracts(render, chart) -> None:
    (default,) = [queues_of(one) for one in workloads(render()) if one.name == "mw-sender-high"]
    assert [name.rpartition(".")[2] for name in default] == list(SHARDS)
    schema = json.loads((chart / "values.schema.json").read_text())
    enums = [tuple(found) for found in listed(schema, "enum")]
    assert tuple(SHARDS) in enums
    assert tuple(lane.value for lane in Lane) in enums


def listed(value: Any, key: str) -> list[list[Any]]:
    """Every list under a key, at any depth."""
    if isinstance(value, dict):
        own = [value[key]] if isinstance(value.get(key), list) else []
        return own + [found for inner in value.values() for found in listed(inner, key)]
    return [found for inner in value for found in listed(inner, key)] if isinstance(value, list) else []
