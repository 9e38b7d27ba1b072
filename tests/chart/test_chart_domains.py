"""Sending domains in the chart: who holds the keys of their keys, and what is refused."""

from base64 import b64decode, urlsafe_b64decode
from typing import Any

import pytest

from mailwarren.devstack.cluster.manifests import Workload, environment, of_kind, workloads

FILE = "/etc/mailwarren/data-keys/keys"


def services(manifests: list[dict[str, Any]]) -> dict[str, Workload]:
    return {one.labels["app.kubernetes.io/component"]: one for one in workloads(manifests) if one.kind == "Deployment"}


def mounted(one: Workload) -> set[str]:
    return {volume["secret"]["secretName"] for volume in one.pod["volumes"] if "secret" in volume}


def test_only_who_reads_secrets_in_the_database_has_their_keys(render, profile) -> None:
    for component, one in services(render(profile)).items():
        has = "MAILWARREN_DATA_KEYS" in environment(one.containers[0])
        assert has == (component in {"ingest", "webhooks"}), component
        assert (mounted(one) != set()) == has, component


def test_the_chart_makes_a_key_and_mounts_it_where_the_setting_says(render) -> None:
    manifests = render("trial")
    (secret,) = [one for one in of_kind(manifests, "Secret") if one["metadata"]["name"] == "mw-data-keys"]
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    key = b64decode(secret["data"]["keys"]).decode()
    assert len(urlsafe_b64decode(key)) == 32
    api = services(manifests)["ingest"]
    (mount,) = [one for one in api.containers[0]["volumeMounts"] if one["name"] == "data-keys"]
    assert environment(api.containers[0])["MAILWARREN_DATA_KEYS"]["value"] == f"{mount['mountPath']}/keys" == FILE
    assert mounted(api) == {"mw-data-keys"}


def test_a_secret_of_yours_is_mounted_instead(render) -> None:
    manifests = render("trial", dataKeys__existingSecret="mine")
    assert mounted(services(manifests)["ingest"]) == {"mine"}
    assert "mw-data-keys" not in {one["metadata"]["name"] for one in of_kind(manifests, "Secret")}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "true"),
        ({"domains__requireVerified": False}, "false"),
        # Nothing leaves the cluster, and a trial needs no domain.
        ({"sink__enabled": True}, "false"),
    ],
)
def test_mail_of_unverified_domains_is_refused_unless_it_goes_to_the_sink(render, values, said) -> None:
    env = environment(services(render(**values))["ingest"].containers[0])
    assert env["MAILWARREN_REQUIRE_VERIFIED_DOMAINS"]["value"] == said


def test_what_the_records_name_is_told_to_those_who_look_and_those_who_send(render) -> None:
    found = services(render(domains__spf="ip4:192.0.2.10", domains__bounceHost="bounces.example.com"))
    named = {
        component: {name for name in ("SPF", "BOUNCE_HOST") if f"MAILWARREN_{name}" in environment(one.containers[0])}
        for component, one in found.items()
    }
    assert {component: names for component, names in named.items() if names} == {
        "ingest": {"SPF", "BOUNCE_HOST"},
        "worker": {"SPF", "BOUNCE_HOST"},
        "scheduler": {"BOUNCE_HOST"},
    }


@pytest.mark.parametrize("whose", ["accounts", "credentials"])
def test_a_token_that_your_secret_lacks_stops_no_pod(render, whose) -> None:
    manifests = render("existing" if whose == "accounts" else "existing-urls")
    found = services(manifests)
    for component in ("ingest", "sender"):
        entry = environment(found[component].containers[0])["MAILWARREN_INTERNAL_TOKEN"]
        assert entry["valueFrom"]["secretKeyRef"]["optional"] is True
