"""Who may reach whom: every path that a part needs, and none beside them."""

from base64 import b64decode
from typing import Any

import pytest

from mailwarren.devstack.cluster.manifests import of_kind, workloads
from mailwarren.devstack.cluster.network import PUBLIC, Network, Peer

OUTSIDE = Peer(address=PUBLIC)
PROMETHEUS = Peer({"app": "prometheus"}, namespace="monitoring")
DNS = Peer({"k8s-app": "kube-dns"}, namespace="kube-system")
STRANGER = Peer({"app": "stranger"})
BROWSER = Peer({"app": "proxy"}, namespace="proxies")
KEDA = Peer({"app": "keda-operator"}, namespace="keda")
AMQP = ("ingest", "worker", "scheduler", "sender", "tracker")
NEEDED = [
    ("sender", "rabbitmq", 5672),
    ("sender", "ingest", 8081),
    ("sender", "sink", 2525),
    ("ingest", "rabbitmq", 5672),
    ("ingest", "rabbitmq", 15672),
    ("ingest", "postgres", 5432),
    ("worker", "rabbitmq", 5672),
    ("worker", "postgres", 5432),
    ("scheduler", "rabbitmq", 5672),
    ("scheduler", "postgres", 5432),
    ("flower", "rabbitmq", 5672),
    ("browser", "flower", 5555),
    ("prometheus", "worker", 9464),
    ("prometheus", "scheduler", 9464),
    ("prometheus", "flower", 9464),
    ("tracker", "rabbitmq", 5672),
    ("tracker", "postgres", 5432),
    ("webhooks", "postgres", 5432),
    ("webhooks", "outside", 443),
    ("prometheus", "webhooks", 9464),
    ("setup", "rabbitmq", 5672),
    ("setup", "rabbitmq", 15672),
    ("setup", "postgres", 5432),
    ("toolbox", "rabbitmq", 5672),
    ("toolbox", "rabbitmq", 15672),
    ("toolbox", "postgres", 5432),
    ("stranger", "ingest", 8080),
    ("prometheus", "ingest", 9464),
    ("prometheus", "sender", 9464),
    ("prometheus", "tracker", 9464),
    ("prometheus", "rabbitmq", 15692),
    ("prometheus", "sink", 8025),
    ("keda", "rabbitmq", 15672),
]
FORBIDDEN = [
    ("sender", "postgres", 5432),
    ("sender", "tracker", 9464),
    ("worker", "rabbitmq", 15672),
    ("worker", "sink", 2525),
    ("sender", "ingest", 8080),
    ("worker", "ingest", 8080),
    ("worker", "ingest", 8081),
    ("worker", "outside", 443),
    ("scheduler", "outside", 443),
    ("flower", "postgres", 5432),
    ("flower", "rabbitmq", 15672),
    ("flower", "worker", 9464),
    ("flower", "outside", 443),
    ("stranger", "flower", 5555),
    ("outside", "flower", 5555),
    ("sender", "rabbitmq", 15672),
    ("tracker", "sink", 2525),
    ("tracker", "ingest", 5432),
    ("tracker", "outside", 25),
    ("webhooks", "outside", 25),
    ("webhooks", "outside", 80),
    ("webhooks", "rabbitmq", 5672),
    ("webhooks", "ingest", 8080),
    ("tracker", "outside", 443),
    ("ingest", "sink", 2525),
    ("ingest", "outside", 25),
    ("sink", "rabbitmq", 5672),
    ("sink", "postgres", 5432),
    ("sink", "outside", 25),
    ("sink", "ingest", 8080),
    ("stranger", "rabbitmq", 5672),
    ("stranger", "rabbitmq", 15672),
    ("stranger", "postgres", 5432),
    ("stranger", "sender", 9000),
    ("prometheus", "postgres", 5432),
    ("postgres", "outside", 443),
    ("rabbitmq", "outside", 443),
    ("toolbox", "outside", 443),
    ("toolbox", "outside", 6443),
    ("toolbox", "sink", 2525),
    ("stranger", "toolbox", 9464),
    ("outside", "postgres", 5432),
    ("outside", "rabbitmq", 5672),
    ("outside", "sink", 2525),
    ("outside", "sink", 8025),
    ("prometheus", "sink", 2525),
]


def peers(manifests: list[dict[str, Any]]) -> dict[str, Peer]:
    """The pods by component, and some others."""
    found = {"outside": OUTSIDE, "prometheus": PROMETHEUS, "dns": DNS, "stranger": STRANGER, "keda": KEDA}
    found["browser"] = BROWSER
    for one in workloads(manifests):
        ports = {port["name"]: port["containerPort"] for spec in one.containers for port in spec.get("ports") or []}
        found[one.labels["app.kubernetes.io/component"]] = Peer(one.labels, ports=ports)
    return found


@pytest.fixture(scope="module")
def trial(render) -> tuple[Network, dict[str, Peer]]:
    proxies = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "proxies"}}}]
    manifests = render("trial", flower__enabled=True, networkPolicy__flower__from=proxies)
    return Network(manifests), peers(manifests)


@pytest.fixture(scope="module")
def direct(render) -> tuple[Network, dict[str, Peer]]:
    """Everything beside our own services is outside of the release."""
    manifests = render(
        rabbitmq__mode="external",
        rabbitmq__external__url="amqp://admin:secret@broker.example/mailwarren",
        postgresql__mode="external",
        postgresql__external__url="postgresql://owner:secret@db.example/mailwarren",
    )
    return Network(manifests), peers(manifests)


def test_every_pod_is_closed_both_ways(render, profile) -> None:
    manifests = render(profile)
    network = Network(manifests)
    for one in workloads(manifests):
        for direction in ("Ingress", "Egress"):
            assert network.isolated(Peer(one.labels), direction), (one.name, direction)


@pytest.mark.parametrize(("source", "target", "port"), NEEDED)
def test_a_path_that_is_needed_is_open(trial, source: str, target: str, port: int) -> None:
    network, of = trial
    assert network.allows(of[source], of[target], port)


@pytest.mark.parametrize(("source", "target", "port"), FORBIDDEN)
def test_a_path_that_nobody_needs_is_closed(trial, source: str, target: str, port: int) -> None:
    network, of = trial
    assert not network.allows(of[source], of[target], port)


@pytest.mark.parametrize("port", [25, 465, 587, 2525, 443])
def test_senders_reach_mail_servers_and_policies(direct, port: int) -> None:
    network, of = direct
    assert network.allows(of["sender"], OUTSIDE, port)


@pytest.mark.parametrize("port", [22, 80, 5432, 15672])
def test_senders_reach_nothing_else_outside(direct, port: int) -> None:
    network, of = direct
    assert not network.allows(of["sender"], OUTSIDE, port)


def test_external_servers_are_reached_by_those_who_need_them(direct) -> None:
    network, of = direct
    assert all(network.allows(of[name], OUTSIDE, 5672) for name in (*AMQP, "setup", "toolbox"))
    assert all(network.allows(of[name], OUTSIDE, 5432) for name in ({*AMQP} - {"sender"}) | {"setup", "toolbox"})
    assert network.allows(of["ingest"], OUTSIDE, 15672)
    assert not network.allows(of["tracker"], OUTSIDE, 25)


def test_setup_reaches_the_api_of_kubernetes(direct) -> None:
    network, of = direct
    assert network.allows(of["setup"], OUTSIDE, 443)
    assert network.allows(of["setup"], OUTSIDE, 6443)
    assert not network.allows(of["tracker"], OUTSIDE, 6443)


@pytest.mark.parametrize("name", [*AMQP, "flower", "setup", "toolbox"])
def test_names_are_resolved(trial, name: str) -> None:
    network, of = trial
    assert network.allows(of[name], DNS, 53, "UDP")
    assert network.allows(of[name], DNS, 53, "TCP")


def test_smtp_ports_are_a_value(render) -> None:
    manifests = render(networkPolicy__smtp__ports=[26])
    network, of = Network(manifests), peers(manifests)
    assert network.allows(of["sender"], OUTSIDE, 26)
    assert not network.allows(of["sender"], OUTSIDE, 25)


def test_peers_are_values(render) -> None:
    only = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "apps"}}}]
    manifests = render(networkPolicy__api__from=only, networkPolicy__metrics__from=only)
    network, of = Network(manifests), peers(manifests)
    apps = Peer({"app": "shop"}, namespace="apps")
    assert network.allows(apps, of["ingest"], 8080)
    assert not network.allows(STRANGER, of["ingest"], 8080)
    assert not network.allows(PROMETHEUS, of["tracker"], 9464)


def test_without_policies_nothing_is_closed(render) -> None:
    assert of_kind(render(networkPolicy__enabled=False), "NetworkPolicy") == []


def test_the_job_before_an_upgrade_has_its_paths(render) -> None:
    """It runs before the policies of the new release are there."""
    manifests = render("trial", upgrade=True, setup__beforeUpgrade="always")
    (job,) = [
        one
        for one in workloads(manifests)
        if one.is_hook and one.kind == "Job" and "upgrade" in one.annotations["helm.sh/hook"]
    ]
    of = peers(manifests)
    hooks = [one for one in manifests if "helm.sh/hook" in (one["metadata"].get("annotations") or {})]
    others = [one for one in manifests if one["kind"] == "NetworkPolicy" and one not in hooks]
    # Of the release before, everything but setup's own.
    before = [one for one in others if "setup" not in one["metadata"]["name"]]
    network = Network([*before, *hooks])
    me = Peer(job.labels)
    for target, port in (("rabbitmq", 5672), ("rabbitmq", 15672), ("postgres", 5432)):
        assert network._passes("Egress", me, of[target], lambda _rule: True), target  # the servers' own side is theirs
        assert Network(others + hooks).allows(me, of[target], port), target


def test_nobody_opens_flower_unless_told(render) -> None:
    manifests = render("trial", flower__enabled=True)
    network, of = Network(manifests), peers(manifests)
    assert not any(network.allows(of[name], of["flower"], 5555) for name in ("browser", "stranger", "ingest", "test"))


def test_attachments_open_the_way_to_them(render: Any) -> None:
    manifests = render("trial", attachments__url="s3://bucket/mail")
    network, of = Network(manifests), peers(manifests)
    assert not network.allows(STRANGER, of["ingest"], 8081)
    for component in ("ingest", "worker"):
        assert network.allows(of[component], OUTSIDE, 443)
    assert not network.allows(of["scheduler"], OUTSIDE, 443)


def test_senders_get_the_address_and_the_token_of_attachments(render: Any) -> None:
    manifests = render("trial", attachments__url="s3://bucket/mail", attachments__existingSecret="bucket")
    secrets = {one["metadata"]["name"]: one.get("data", {}) for one in of_kind(manifests, "Secret")}
    tokens = {secrets[f"mw-{service}"]["MAILWARREN_INTERNAL_TOKEN"] for service in ("ingest", "sender")}
    assert len(tokens) == 1
    (service,) = [one for one in of_kind(manifests, "Service") if one["metadata"]["name"].endswith("ingest-internal")]
    for deployment in of_kind(manifests, "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        env = {one["name"]: one.get("value") for one in container.get("env", ())}
        name = deployment["metadata"]["labels"]["app.kubernetes.io/component"]
        if name == "sender":
            assert env["MAILWARREN_INTERNAL_URL"] == f"http://{service['metadata']['name']}.mail.svc:8081"
        assert ("MAILWARREN_INTERNAL_TOKEN" in env) == (name in {"ingest", "worker", "scheduler", "sender"})
        assert ("MAILWARREN_BLOB_URL" in env) == ("envFrom" in container) == (name in {"ingest", "worker"})


def test_who_makes_mail_gets_the_address_and_the_key_of_links(render: Any) -> None:
    manifests = render("trial", publicUrl="https://mail.example.org")
    secrets = {one["metadata"]["name"]: one["data"] for one in of_kind(manifests, "Secret")}
    assert len(b64decode(secrets["mw-ingest"]["MAILWARREN_LINK_KEYS"])) >= 16
    assert "MAILWARREN_LINK_KEYS" not in secrets["mw-sender"]
    for deployment in of_kind(manifests, "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        env = {one["name"]: one.get("value") for one in container.get("env", ())}
        makes = deployment["metadata"]["labels"]["app.kubernetes.io/component"] in {"ingest", "worker", "scheduler"}
        assert (env.get("MAILWARREN_PUBLIC_URL") == "https://mail.example.org") == makes
        assert ("MAILWARREN_LINK_KEYS" in env) == makes
    plain = of_kind(render("trial"), "Deployment")
    assert "MAILWARREN_PUBLIC_URL" not in str(plain)
    assert "MAILWARREN_LINK_KEYS" not in str(plain)
