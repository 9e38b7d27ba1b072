"""Values: a wrong one fails with a sentence that names the key, the schema is strict, the README is up to date."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailwarren.devstack.cluster.chart import HelmRefused

ROOT = Path(__file__).parents[2]
ALL = {"name": "a", "lanes": ["high", "normal", "bulk"]}
AMQP = "amqp://admin:secret@broker.example/mailwarren"
WRONG: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"nonsense": 1}, ("nonsense",)),
    ({"sentry__dsn": "https://sentry.example/17"}, ("sentry", "dsn")),
    ({"otel__endpoint": "collector:4317"}, ("otel", "endpoint")),
    ({"ingest__replica": 2}, ("ingest", "replica")),
    ({"ingest__replicas": "two"}, ("ingest", "replicas")),
    ({"ingest__replicas": -1}, ("ingest", "replicas")),
    ({"logLevel": "LOUD"}, ("logLevel", "INFO")),
    ({"retryScale": 2}, ("retryScale",)),
    ({"retryScale": 0}, ("retryScale",)),
    ({"image__pullPolicy": "Sometimes"}, ("pullPolicy", "IfNotPresent")),
    ({"rabbitmq__mode": "cloud"}, ("rabbitmq", "mode", "external")),
    ({"rabbitmq__mode": "external"}, ("rabbitmq.external.url", "needed")),
    ({"rabbitmq__external__url": AMQP}, ("rabbitmq.external", "rabbitmq.mode")),
    ({"rabbitmq__mode": "external", "rabbitmq__external__url": "http://broker"}, ("rabbitmq.external.url", "amqp")),
    ({"postgresql__mode": "external"}, ("postgresql.external.url", "needed")),
    ({"postgresql__mode": "external", "postgresql__external__url": "mysql://a:b@c/d"}, ("postgresql.external.url",)),
    ({"smtp__url": "relay.example:25"}, ("smtp", "url")),
    ({"sink__enabled": True, "smtp__url": "smtp://relay.example:25"}, ("sink.enabled", "smtp.url")),
    ({"smtp__url": "smtp://relay.example:25", "smtp__existingSecret": "x"}, ("smtp.url", "smtp.existingSecret")),
    ({"senders": []}, ("senders",)),
    ({"senders": [{"name": "sender-high", "lanes": ["high"]}]}, ("send.normal", "fleet")),
    ({"senders": [ALL, {"name": "b", "lanes": ["bulk"]}]}, ("senders[1] (b)", "send.bulk.google", "allowSharedQueues")),
    ({"senders": [{"name": "a", "lanes": ["urgent"]}]}, ("senders", "lanes")),
    ({"senders": [{"name": "a", "lanes": ["high", "normal", "bulk"], "shards": ["aol"]}]}, ("senders", "shards")),
    ({"senders": [{"name": "a", "lanes": ["high"], "prefech": 1}]}, ("senders", "prefech")),
    ({"senders": [{"name": "A b", "lanes": ["high", "normal", "bulk"]}]}, ("senders", "name")),
    ({"senders": [{"name": "ingest", "lanes": ["high", "normal", "bulk"]}]}, ("senders[0] (ingest)",)),
    ({"senderDefaults__egress__names": ["out1"]}, ("egress.names", "egress.requireChecks")),
    ({"senderDefaults__egress__names": ["Out 1"]}, ("senderDefaults", "egress", "names")),
    ({"senderDefaults__prefetch": 0}, ("senderDefaults", "prefetch")),
    ({"senderDefaults__drainGrace": 200}, ("drainGrace", "dotTimeout")),
    ({"senderDefaults__terminationGracePeriodSeconds": 100}, ("terminationGracePeriodSeconds", "drainGrace")),
    ({"senderDefaults__autoscaling": {"type": "magic"}}, ("senderDefaults", "autoscaling", "type")),
    ({"senderDefaults__autoscaling": {"type": "hpa", "min": 3, "max": 2}}, ("autoscaling", "min", "max")),
    ({"senderDefaults__autoscaling": {"type": "hpa", "min": 0, "max": 1}}, ("autoscaling", "min")),
    ({"senderDefaults__autoscaling__type": "hpa", "senderDefaults__replicas": 2}, ("replicas", "autoscaling")),
    ({"ingest__autoscaling__type": "hpa", "ingest__replicas": 2}, ("ingest.replicas", "ingest.autoscaling")),
    ({"ingest__autoscaling": {"type": "hpa", "min": 9, "max": 2, "cpu": 70}}, ("ingest.autoscaling.min",)),
    ({"ingest__extraEnv": [{"name": "MAILWARREN_AMQP_URL", "value": "x"}]}, ("ingest.extraEnv", "MAILWARREN_AMQP_URL")),
    ({"ingest__resources__requests__cpu": True}, ("ingest", "resources")),
    ({"accounts__seed": "s", "accounts__existingSecret": "x"}, ("accounts.seed", "accounts.existingSecret")),
    ({"setup__enabled": False}, ("bootstrap.enabled", "setup")),
    ({"ingress__enabled": True}, ("ingress.hosts",)),
    ({"gateway__enabled": True}, ("gateway.parentRefs",)),
    ({"networkPolicy__smtp__ports": [0]}, ("networkPolicy", "ports")),
    ({"networkPolicy__smtp__ports": "25"}, ("networkPolicy", "ports")),
    ({"rabbitmq__operator__replicas": 2, "rabbitmq__mode": "operator"}, ("rabbitmq", "replicas")),
    ({"monitoring__podMonitor__rabbitmqTargets": ["rabbit.example"]}, ("monitoring", "rabbitmqTargets")),
    ({"monitoring__podMonitor__rabbitmqTargets": ["rabbit.example:15692"]}, ("monitoring", "rabbitmqTargets", "trial")),
    ({"monitoring__alerts__labels": {"severity": "info"}}, ("monitoring", "alerts", "labels")),
    ({"monitoring__alerts__labels": {"the-team": "mail"}}, ("monitoring", "alerts", "labels")),
    ({"monitoring__alerts__runbooks": ""}, ("monitoring", "alerts", "runbooks")),
]  # fmt: skip


@pytest.mark.parametrize(("values", "words"), WRONG, ids=[" ".join(values) for values, _ in WRONG])
def test_a_wrong_value_is_refused_with_its_name(render, values: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(HelmRefused) as refused:
        render(**values)
    assert [word for word in words if word not in str(refused.value)] == [], str(refused.value)


@pytest.mark.parametrize("values", [WRONG[1], WRONG[9], WRONG[19]], ids=["schema", "sentence", "fleets"])
def test_both_helms_refuse_it(render, helm, values: Any) -> None:
    with pytest.raises(HelmRefused):
        render(helm=helm, **values[0])


def test_providers_cap_autoscaling(render) -> None:
    """More pods than a provider's limit allows is refused, for fleets that send to it themselves."""
    many = {"type": "keda", "min": 1, "max": 50}
    with pytest.raises(HelmRefused, match="max"):
        render(senderDefaults__autoscaling=many)
    assert render(senderDefaults__autoscaling=many, smtp__url="smtp+starttls://u:p@relay.example:587")
    assert render(senderDefaults__autoscaling=many, providerConnections__egressAddresses=100)


def schema_of(chart: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((chart / "values.schema.json").read_text())
    return found


def open_objects(schema: dict[str, Any], path: str = "") -> list[str]:
    """Objects with named properties that let others pass."""
    found = []
    if schema.get("properties") and schema.get("additionalProperties") is not False:
        found.append(path or "(top)")
    for name, inner in (schema.get("properties") or {}).items():
        found += open_objects(inner, f"{path}.{name}".lstrip("."))
    if isinstance(schema.get("items"), dict):
        found += open_objects(schema["items"], f"{path}[]")
    for name, inner in (schema.get("$defs") or schema.get("definitions") or {}).items():
        found += open_objects(inner, f"({name})")
    return found


def test_the_schema_lets_no_unknown_key_pass(chart) -> None:
    assert set(open_objects(schema_of(chart))) <= {"global"}


def test_every_value_is_in_the_schema(chart) -> None:
    schema, values = schema_of(chart), yaml.safe_load((chart / "values.yaml").read_text())
    assert set(values) <= set(schema["properties"])


def test_the_readme_of_values_is_up_to_date(chart) -> None:
    program = ROOT / "bin" / "chart-readme"
    done = subprocess.run([sys.executable, str(program), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_names_every_value(chart) -> None:
    text = (chart / "README.md").read_text()
    top = yaml.safe_load((chart / "values.yaml").read_text())
    assert [name for name in top if f"`{name}" not in text] == []
