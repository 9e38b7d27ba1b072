from typing import Any

import pytest

from mailwarren.devstack.cluster.manifests import matches
from mailwarren.devstack.cluster.network import PUBLIC, Network, Peer

SENDER = Peer({"app": "sender"})
BROKER = Peer({"app": "broker"}, ports={"amqp": 5672})
OUTSIDE = Peer(address=PUBLIC)


def policy(selector: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"kind": "NetworkPolicy", "metadata": {"name": "p"}, "spec": {"podSelector": selector, **spec}}


DENY = policy({}, policyTypes=["Ingress", "Egress"])


def test_without_policies_everything_is_allowed() -> None:
    assert Network([]).allows(SENDER, BROKER, 5672)


def test_a_default_deny_allows_nothing() -> None:
    assert not Network([DENY]).allows(SENDER, BROKER, 5672)
    assert not Network([DENY]).allows(SENDER, OUTSIDE, 25)
    assert not Network([DENY]).allows(OUTSIDE, BROKER, 5672)


def test_both_ends_have_to_allow_it() -> None:
    leave = policy({"matchLabels": {"app": "sender"}}, policyTypes=["Egress"], egress=[{"ports": [{"port": 5672}]}])
    enter = policy(
        {"matchLabels": {"app": "broker"}},
        ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "sender"}}}], "ports": [{"port": "amqp"}]}],
    )
    assert not Network([DENY, leave]).allows(SENDER, BROKER, 5672)
    assert not Network([DENY, enter]).allows(SENDER, BROKER, 5672)
    both = Network([DENY, leave, enter])
    assert both.allows(SENDER, BROKER, 5672)
    assert not both.allows(SENDER, BROKER, 15672)
    assert not both.allows(Peer({"app": "tracker"}), BROKER, 5672)
    assert not both.allows(SENDER, BROKER, 5672, "UDP")


def test_blocks_are_for_addresses_and_selectors_for_pods() -> None:
    block = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}
    network = Network([policy({}, policyTypes=["Egress"], egress=[{"to": [block]}])])
    assert network.allows(SENDER, OUTSIDE, 25)
    assert not network.allows(SENDER, Peer(address="10.1.2.3"), 25)
    assert not network.allows(SENDER, BROKER, 5672)


def test_a_pod_selector_alone_means_the_own_namespace() -> None:
    near = policy({}, policyTypes=["Ingress"], ingress=[{"from": [{"podSelector": {}}]}])
    elsewhere = Peer({"app": "sender"}, namespace="other")
    assert Network([near]).allows(SENDER, BROKER, 1)
    assert not Network([near]).allows(elsewhere, BROKER, 1)
    named = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}
    far = policy({}, policyTypes=["Ingress"], ingress=[{"from": [named]}])
    assert Network([far]).allows(elsewhere, BROKER, 1)
    assert not Network([far]).allows(SENDER, BROKER, 1)


def test_a_range_of_ports_and_a_rule_without_types() -> None:
    egress = policy({}, egress=[{"ports": [{"port": 100, "endPort": 110}]}])
    assert Network([egress]).allows(SENDER, OUTSIDE, 105)
    assert not Network([egress]).allows(SENDER, OUTSIDE, 111)
    assert not Network([egress]).allows(SENDER, BROKER, 105)  # Ingress is always meant


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [("In", ["a"], True), ("NotIn", ["a"], False), ("Exists", None, True), ("DoesNotExist", None, False)],
)
def test_expressions(operator: str, values: list[str] | None, expected: bool) -> None:
    rule = {"key": "app", "operator": operator, "values": values}
    assert matches({"matchExpressions": [rule]}, {"app": "a"}) is expected


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="Near"):
        matches({"matchExpressions": [{"key": "app", "operator": "Near"}]}, {})
