"""Asks NetworkPolicies whether a pod may reach another: what a network plug-in would decide, over rendered objects."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailwarren.devstack.cluster.chart import Manifest
from mailwarren.devstack.cluster.manifests import matches

PUBLIC = "203.0.113.7"
"""Some address outside of any cluster."""


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod by its labels and those of its namespace, or an address outside.

    Args:
        ports: its named container ports; a policy may name them.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "mail"
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str | None = None

    @property
    def is_pod(self) -> bool:
        """Policies apply to it."""
        return self.address is None

    @property
    def labels_of_namespace(self) -> dict[str, str]:
        """Kubernetes itself adds the name."""
        return {"kubernetes.io/metadata.name": self.namespace, **self.namespace_labels}


@dataclass(frozen=True)
class Network:
    """The policies of some rendered objects."""

    manifests: list[Manifest]
    namespace: str = "mail"

    def allows(self, source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
        """Whether a connection may be opened: what leaves is allowed, and what comes in too."""

        def open_for(rule: Mapping[str, Any]) -> bool:
            return _any_port(rule.get("ports"), target, port, protocol)

        leaves = self._passes("Egress", source, target, open_for)
        return leaves and self._passes("Ingress", target, source, open_for)

    def isolated(self, pod: Peer, direction: str) -> bool:
        """Whether any policy selects the pod for a direction; if none does, everything is allowed."""
        return bool(self._selecting(pod, direction))

    def _passes(self, direction: str, own: Peer, other: Peer, open_for: Callable[[Mapping[str, Any]], bool]) -> bool:
        if not own.is_pod or own.namespace != self.namespace:
            return True
        policies = self._selecting(own, direction)
        if not policies:
            return True
        rules = [rule for policy in policies for rule in policy["spec"].get(direction.lower()) or []]
        ends = "to" if direction == "Egress" else "from"
        return any(open_for(rule) and self._any_peer(rule.get(ends), other) for rule in rules)

    def _selecting(self, pod: Peer, direction: str) -> list[Manifest]:
        policies = [manifest for manifest in self.manifests if manifest["kind"] == "NetworkPolicy"]
        return [
            policy
            for policy in policies
            if direction in _types(policy["spec"]) and matches(policy["spec"].get("podSelector") or {}, pod.labels)
        ]

    def _any_peer(self, listed: Iterable[Mapping[str, Any]] | None, other: Peer) -> bool:
        return not listed or any(self._is_peer(entry, other) for entry in listed)

    def _is_peer(self, entry: Mapping[str, Any], other: Peer) -> bool:
        if "ipBlock" in entry:
            return other.address is not None and _in_block(entry["ipBlock"], other.address)
        if not other.is_pod:
            return False
        if "namespaceSelector" in entry:
            if not matches(entry["namespaceSelector"], other.labels_of_namespace):
                return False
        elif other.namespace != self.namespace:
            return False
        return "podSelector" not in entry or matches(entry["podSelector"], other.labels)


def _types(spec: Mapping[str, Any]) -> list[str]:
    # Without policyTypes: always Ingress, and Egress where there are rules for it.
    return list(spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])])


def _any_port(listed: Iterable[Mapping[str, Any]] | None, target: Peer, port: int, protocol: str) -> bool:
    if not listed:
        return True
    for entry in listed:
        if entry.get("protocol", "TCP") != protocol:
            continue
        named = entry.get("port")
        first = target.ports.get(named) if isinstance(named, str) else named
        if named is None or (first is not None and first <= port <= entry.get("endPort", first)):
            return True
    return False


def _in_block(block: Mapping[str, Any], address: str) -> bool:
    at = ipaddress.ip_address(address)
    if at not in ipaddress.ip_network(block["cidr"]):
        return False
    return not any(at in ipaddress.ip_network(cidr) for cidr in block.get("except") or [])
