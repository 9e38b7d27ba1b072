"""Reads rendered objects: who runs pods, what is in them, what selects them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailwarren.devstack.cluster.chart import Manifest

SERVICES = ("ingest", "sender", "tracker", "flower", "sink", "load")


@dataclass(frozen=True)
class Workload:
    """An object that makes pods."""

    manifest: Manifest

    @property
    def kind(self) -> str:
        """``Deployment``, ``StatefulSet``, ``Job``, ``CronJob`` or ``Pod``."""
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        """Its own."""
        return str(self.manifest["metadata"]["name"])

    @property
    def annotations(self) -> dict[str, str]:
        """Its own, not its pods'."""
        return dict(self.manifest["metadata"].get("annotations") or {})

    @property
    def is_hook(self) -> bool:
        """Helm runs it at a moment of its own."""
        return "helm.sh/hook" in self.annotations

    @property
    def template(self) -> Manifest:
        """The pod template; a Pod is its own."""
        if self.kind == "Pod":
            return self.manifest
        job = self.manifest["spec"]["jobTemplate"] if self.kind == "CronJob" else self.manifest
        found: Manifest = job["spec"]["template"]
        return found

    @property
    def labels(self) -> dict[str, str]:
        """Of its pods."""
        return dict(self.template["metadata"].get("labels") or {})

    @property
    def pod(self) -> dict[str, Any]:
        """The pod spec."""
        found: dict[str, Any] = self.template["spec"]
        return found

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Without those that only prepare."""
        return list(self.pod["containers"])

    @property
    def all_containers(self) -> list[dict[str, Any]]:
        """With those that only prepare."""
        return [*(self.pod.get("initContainers") or []), *self.containers]

    @property
    def service(self) -> str | None:
        """Which of ours it runs, by its image: ``sender``; None for others' images."""
        image = str(self.containers[0]["image"]).rpartition("/")[2].partition(":")[0].partition("@")[0]
        name = image.removeprefix("mailwarren-")
        return name if name in SERVICES and name != image else None

    @property
    def words(self) -> list[str]:
        """Command and arguments of its first container."""
        return [*(self.containers[0].get("command") or []), *(self.containers[0].get("args") or [])]


def workloads(manifests: Iterable[Manifest]) -> list[Workload]:
    """Everything that makes pods, hooks too."""
    kinds = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"}
    return [Workload(manifest) for manifest in manifests if manifest["kind"] in kinds]


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    """The objects of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def name_of(manifest: Manifest) -> str:
    """``Kind/name``."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects labels; an empty one selects all.

    Raises:
        ValueError: an operator that Kubernetes does not know.
    """
    if selector is None:
        return False
    if any(labels.get(name) != value for name, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(rule, labels) for rule in selector.get("matchExpressions") or [])


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(rule["key"]), rule.get("values") or []
    match rule["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise ValueError(f"no such operator: {other}")


def queues_of(workload: Workload) -> list[str]:
    """What stands behind ``-Q`` of a sender."""
    words = workload.words
    return words[words.index("-Q") + 1].split(",") if "-Q" in words else []


def environment(container: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The variables of a container by name."""
    return {entry["name"]: entry for entry in container.get("env") or []}


def strings(value: object) -> Iterator[str]:
    """Every text in an object."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
