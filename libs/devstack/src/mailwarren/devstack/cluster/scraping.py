"""What prometheus-operator makes of the chart's PodMonitors and ScrapeConfigs, for a Prometheus without a cluster.

The operator (0.70 and later) finds pods by the Kubernetes API. Here each pod is a fixed target with the labels that
discovery would give it, and the operator's own relabeling does the rest: so the labels of all samples are those of a
cluster.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mailwarren.devstack.cluster.chart import NAMESPACE, Manifest
from mailwarren.devstack.cluster.manifests import Workload, matches, of_kind, workloads

Job = dict[str, Any]
Addresses = Mapping[tuple[str, str], str]
"""``host:port`` by component and name of the container's port."""


def scrape_jobs(manifests: Iterable[Manifest], addresses: Addresses) -> list[Job]:
    """Prometheus' ``scrape_configs``: a pod for each workload, as far as it has an address."""
    everything = list(manifests)
    pods = workloads(everything)
    jobs = []
    for monitor in of_kind(everything, "PodMonitor"):
        for number, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"]):
            jobs.append(_of_endpoint(monitor, number, endpoint, pods, addresses))
    return jobs + [_of_scrape_config(one) for one in of_kind(everything, "ScrapeConfig")]


def monitored(monitor: Manifest, pods: Iterable[Workload]) -> list[tuple[Workload, str, int]]:
    """What a PodMonitor finds: workload, container and port, once for each of its endpoints."""
    ports = [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]]
    return [
        (pod, container["name"], port["containerPort"])
        for pod in pods
        if matches(monitor["spec"]["selector"], pod.labels)
        for container in pod.containers
        for port in container.get("ports") or []
        for wanted in ports
        if port["name"] == wanted
    ]


def _of_endpoint(monitor: Manifest, number: int, endpoint: Job, pods: list[Workload], addresses: Addresses) -> Job:
    name = monitor["metadata"]["name"]
    targets = []
    for pod, container, _ in monitored({"spec": {**monitor["spec"], "podMetricsEndpoints": [endpoint]}}, pods):
        place = addresses.get((pod.labels["app.kubernetes.io/component"], endpoint["port"]))
        if place is not None:
            targets.append({"targets": [place], "labels": _discovered(pod, container)})
    return {
        "job_name": f"podMonitor/{NAMESPACE}/{name}/{number}",
        "honor_labels": endpoint.get("honorLabels", False),
        "metrics_path": endpoint["path"],
        "params": endpoint.get("params", {}),
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["interval"],
        "static_configs": targets,
        "relabel_configs": _relabeling(monitor, endpoint),
    }


def _discovered(pod: Workload, container: str) -> dict[str, str]:
    own = {
        "__meta_kubernetes_namespace": NAMESPACE,
        "__meta_kubernetes_pod_name": f"{pod.name}-0",
        "__meta_kubernetes_pod_container_name": container,
    }
    return own | {f"__meta_kubernetes_pod_label_{_label(name)}": value for name, value in pod.labels.items()}


def _relabeling(monitor: Manifest, endpoint: Job) -> list[Job]:
    copied = {"namespace": "namespace", "pod_container_name": "container", "pod_name": "pod"}
    steps: list[Job] = [
        {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": target} for source, target in copied.items()
    ]
    steps += [
        {
            "source_labels": [f"__meta_kubernetes_pod_label_{_label(name)}"],
            "target_label": _label(name),
            "regex": "(.+)",
        }
        for name in monitor["spec"].get("podTargetLabels") or []
    ]
    steps += [
        {"target_label": "job", "replacement": f"{NAMESPACE}/{monitor['metadata']['name']}"},
        {"target_label": "endpoint", "replacement": endpoint["port"]},
    ]
    return steps


def _of_scrape_config(one: Manifest) -> Job:
    spec = one["spec"]
    return {
        "job_name": f"scrapeConfig/{NAMESPACE}/{one['metadata']['name']}",
        "metrics_path": spec["metricsPath"],
        "params": spec.get("params", {}),
        "scrape_interval": spec["scrapeInterval"],
        "scrape_timeout": spec["scrapeInterval"],
        "static_configs": spec["staticConfigs"],
    }


def _label(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
