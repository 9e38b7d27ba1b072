import base64
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mailwarren.devstack.cluster.manifests import Workload
from mailwarren.devstack.cluster.pods import Data, Untranslatable, aliases_of, cores, octets, translate

MANIFESTS: list[dict[str, Any]] = [
    {"kind": "ConfigMap", "metadata": {"name": "rules"}, "data": {"shaping.toml": "x = 1\n"}},
    {"kind": "Secret", "metadata": {"name": "urls"}, "data": {"AMQP": base64.b64encode(b"amqp://a").decode()}},
    {"kind": "Secret", "metadata": {"name": "more"}, "stringData": {"KEY": "k"}},
    {
        "kind": "Service",
        "metadata": {"name": "mw-sink"},
        "spec": {"selector": {"app": "sink"}, "ports": [{"port": 2525, "targetPort": "smtp"}]},
    },
    {
        "kind": "Service",
        "metadata": {"name": "mw-other"},
        "spec": {"selector": {"app": "sink"}, "ports": [{"port": 80, "targetPort": "smtp"}]},
    },
]
CONTAINER: dict[str, Any] = {
    "name": "sink",
    "image": "localhost/mailwarren-sink:dev",
    "args": ["--smtp", "0.0.0.0:2525"],
    "env": [
        {"name": "PLAIN", "value": "1"},
        {"name": "MAILWARREN_AMQP_URL", "valueFrom": {"secretKeyRef": {"name": "urls", "key": "AMQP"}}},
        {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "urls", "key": "NO", "optional": True}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ],
    "envFrom": [{"secretRef": {"name": "more"}}],
    "ports": [{"name": "smtp", "containerPort": 2525}],
    "resources": {"limits": {"memory": "64Mi", "cpu": "250m"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "rules", "mountPath": "/etc/mailwarren"}],
}
POD: dict[str, Any] = {
    "securityContext": {"runAsUser": 10001, "runAsGroup": 10001, "runAsNonRoot": True},
    "terminationGracePeriodSeconds": 40,
    "containers": [CONTAINER],
    "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "rules", "configMap": {"name": "rules"}}],
}


def workload(**changes: Any) -> Workload:
    template = {"metadata": {"labels": {"app": "sink"}}, "spec": {**POD, **changes}}
    return Workload({"kind": "Deployment", "metadata": {"name": "mw-sink"}, "spec": {"template": template}})


def made(**changes: Any) -> Any:
    return translate(workload(**changes), Data.of(MANIFESTS), name="mw-sink-1", folder=Path("/f"), aliases=["mw-sink"])


def pairs(words: list[str]) -> set[tuple[str, str]]:
    return set(pairwise(words))


def test_rights_limits_and_files_are_those_of_the_pod() -> None:
    options = pairs(made().options)
    assert options >= {
        ("--user", "10001:10001"),
        ("--read-only", "--read-only-tmpfs=false"),
        ("--cap-drop", "all"),
        ("--security-opt", "no-new-privileges"),
        ("--memory", str(64 * 2**20)),
        ("--cpus", "0.25"),
        ("--tmpfs", "/tmp:rw,mode=1777"),
        ("--volume", "/f/mw-sink-1/rules:/etc/mailwarren:ro"),
        ("--stop-timeout", "40"),
        ("--network-alias", "mw-sink"),
    }
    assert made().files == {Path("/f/mw-sink-1/rules/shaping.toml"): "x = 1\n"}
    assert made().grace == 40


def test_variables_come_from_where_the_pod_says() -> None:
    assert made().env == {"KEY": "k", "PLAIN": "1", "MAILWARREN_AMQP_URL": "amqp://a", "POD": "mw-sink-1"}


def test_the_command_holds_no_secret_and_ends_with_the_arguments() -> None:
    command = made().command(Path("/f/env"))
    assert command[:5] == ["podman", "run", "--detach", "--name", "mw-sink-1"]
    assert command[-3:] == ["localhost/mailwarren-sink:dev", "--smtp", "0.0.0.0:2525"]
    assert not any("amqp://" in word for word in command)
    assert "MAILWARREN_AMQP_URL=amqp://a\n" in made().env_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"containers": [CONTAINER, CONTAINER]}, "2 containers"),
        ({"initContainers": [CONTAINER]}, "2 containers"),
        ({"volumes": [{"name": "tmp", "hostPath": {}}, {"name": "rules", "emptyDir": {}}]}, "hostPath"),
        ({"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "rules", "configMap": {"name": "no"}}]}, "no is not"),
        ({"containers": [CONTAINER | {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}]}, "'x'"),
        (
            {
                "containers": [
                    CONTAINER | {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "urls", "key": "B"}}}]}
                ]
            },
            "urls has no key B",
        ),
    ],
)
def test_what_podman_cannot_give_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Untranslatable, match=said):
        made(**changes)


def test_a_line_end_in_a_variable_is_refused() -> None:
    broken = made(containers=[CONTAINER | {"env": [{"name": "A", "value": "x\ny"}]}])
    with pytest.raises(Untranslatable, match="A"):
        broken.env_text()


def test_a_service_whose_port_is_the_pods_is_an_alias() -> None:
    names = ["mw-sink", "mw-sink.n", "mw-sink.n.svc", "mw-sink.n.svc.cluster.local"]
    assert aliases_of(workload(), MANIFESTS, "n") == names


def test_references_are_filled_in_from_what_stands_before() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)/$(C)/$$(A)"}]
    assert made(containers=[CONTAINER | {"env": env, "envFrom": []}]).env == {"A": "1", "B": "1/$(C)/$$(A)"}


def test_quantities() -> None:
    assert [octets(text) for text in ("64Mi", "1Gi", "5M", 7)] == [2**26, 2**30, 5_000_000, 7]
    assert [cores(text) for text in ("250m", "2", 1)] == [0.25, 2.0, 1.0]
