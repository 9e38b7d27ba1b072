"""Every pod: the restricted Pod Security Standard, probes, resources, tokens, replicas, and what points at it."""

import base64
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from mailwarren.devstack.cluster.manifests import Workload, environment, matches, name_of, of_kind, workloads

PORT = 9464
OURS = ("ingest", "sender", "tracker", "flower", "sink")


def deployments(manifests: list[dict[str, Any]]) -> list[Workload]:
    return [one for one in workloads(manifests) if one.kind == "Deployment"]


def component(workload: Workload) -> str:
    """The part that it is: worker and scheduler have ingest's image."""
    return str(workload.labels["app.kubernetes.io/component"])


def restricted_problems(workload: Workload) -> list[str]:
    """What the restricted Pod Security Standard forbids, and a root file system that can be written."""
    pod = workload.pod
    wrong = [f"{field} is set" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field)]
    kinds = {key for volume in pod.get("volumes") or [] for key in volume if key != "name"}
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    wrong += [f"volume {kind}" for kind in kinds - allowed]
    for container in workload.all_containers:
        context = {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
            wrong.append("may run as root")
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            wrong.append("may gain privileges")
        capabilities = context.get("capabilities") or {}
        if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
            wrong.append("has capabilities")
        if (context.get("seccompProfile") or {}).get("type") not in {"RuntimeDefault", "Localhost"}:
            wrong.append("no seccomp profile")
        if context.get("readOnlyRootFilesystem") is not True:
            wrong.append("can write its root file system")
        wrong += ["has a host port" for port in container.get("ports") or [] if port.get("hostPort")]
    return wrong


def test_every_pod_keeps_the_restricted_standard(render, profile) -> None:
    for manifests in (render(profile), render(profile, upgrade=True, setup__beforeUpgrade="always")):
        assert {one.name: restricted_problems(one) for one in workloads(manifests) if restricted_problems(one)} == {}


def test_what_breaks_the_standard_is_named() -> None:
    pod = {"containers": [{"name": "a", "image": "x"}], "hostNetwork": True, "volumes": [{"name": "v", "hostPath": {}}]}
    found = restricted_problems(Workload({"kind": "Pod", "metadata": {"name": "p"}, "spec": pod}))
    assert len(found) == 7


def test_our_pods_run_as_the_user_of_the_images(render, profile) -> None:
    for one in workloads(render(profile)):
        if one.service:
            context = one.pod["securityContext"]
            assert (context["runAsUser"], context["runAsGroup"]) == (10001, 10001), one.name


def test_every_container_says_what_it_needs_and_what_it_may_use(render, profile) -> None:
    for one in workloads(render(profile)):
        for container in one.all_containers:
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), one.name
            assert "memory" in resources["limits"], one.name


def test_services_are_asked_whether_they_are_up_and_ready(render, profile) -> None:
    for one in deployments(render(profile)):
        (container,) = one.containers
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert probe in container, (one.name, probe)
            where = container[probe].get("httpGet")
            if where:
                assert where["port"] in ports or where["port"] in ports.values(), one.name
        if one.service in {"ingest", "sender", "tracker", "flower"}:
            assert ports["metrics"] == PORT
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
            assert container["startupProbe"]["httpGet"]["path"] == "/healthz"


def test_a_sender_is_alive_while_its_heartbeat_is_young(render, tmp_path) -> None:
    file = tmp_path / "heartbeat"
    for one in deployments(render()):
        if one.service != "sender":
            continue
        container = one.containers[0]
        told = environment(container)["MAILWARREN_HEARTBEAT_FILE"]["value"]
        assert any(told.startswith(f"{mount['mountPath']}/") for mount in container["volumeMounts"]), (
            "nobody may write it"
        )
        asks = [sys.executable, *container["livenessProbe"]["exec"]["command"][1:]]

        def alive(asks=asks) -> bool:
            env = {"MAILWARREN_HEARTBEAT_FILE": str(file)}
            return subprocess.run(asks, env=env, capture_output=True, check=False, timeout=30).returncode == 0

        file.unlink(missing_ok=True)
        assert alive(), "before the first beat only the process counts"
        file.touch()
        assert alive()
        long_ago = time.time() - 90
        os.utime(file, (long_ago, long_ago))
        assert not alive()


def test_no_pod_but_setup_has_a_token(render, profile) -> None:
    manifests = render(profile)
    with_token = [one for one in workloads(manifests) if one.pod.get("automountServiceAccountToken") is not False]
    assert {one.labels["app.kubernetes.io/component"] for one in with_token} <= {"setup"}
    for account in of_kind(manifests, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False, name_of(account)


def test_setup_may_do_little(render) -> None:
    (role,) = of_kind(render(), "Role")
    for rule in role["rules"]:
        assert rule["resources"] == ["secrets"]
        assert rule["verbs"] == ["create"] or rule["resourceNames"] == ["mw-owner"]
    assert of_kind(render(), "ClusterRole", "ClusterRoleBinding") == []


def test_each_service_has_an_account_of_its_own(render) -> None:
    manifests = render(sink__enabled=True, flower__enabled=True)
    accounts = {component(one): one.pod["serviceAccountName"] for one in deployments(manifests)}
    assert len(set(accounts.values())) == len(accounts) == 8
    names = {one["metadata"]["name"] for one in of_kind(manifests, "ServiceAccount")}
    assert set(accounts.values()) <= names


def test_the_grace_is_longer_than_the_drain(render, profile) -> None:
    needed = {"ingest": 40, "tracker": 40, "webhooks": 40, "worker": 60}
    for one in deployments(render(profile)):
        grace = one.pod.get("terminationGracePeriodSeconds", 30)
        if one.service == "sender":
            env = environment(one.containers[0])
            drain, dot = (float(env[f"MAILWARREN_{name}"]["value"]) for name in ("DRAIN_GRACE", "DOT_TIMEOUT"))
            assert grace > drain > dot, one.name
        else:
            assert grace >= needed.get(component(one), 0), one.name


def test_nobody_says_replicas_unless_told_to(render) -> None:
    """helm 4 applies on the server, which refuses a field that kubectl scale or an autoscaler owns."""
    for one in deployments(render()):
        if one.service != "sink":
            assert "replicas" not in one.manifest["spec"], one.name
    told = {
        component(one): one.manifest["spec"].get("replicas")
        for one in deployments(render(ingest__replicas=3, worker__replicas=2, senderDefaults__replicas=0))
    }
    assert told["worker"] == 2
    assert told["scheduler"] is None
    assert told["ingest"] == 3
    assert told["sender"] == 0
    assert told["tracker"] is None


def test_autoscaled_deployments_say_no_replicas(render, profile) -> None:
    manifests = render(profile)
    scaled = {
        one["spec"]["scaleTargetRef"]["name"] for one in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
    }
    for one in deployments(manifests):
        if one.name in scaled:
            assert "replicas" not in one.manifest["spec"], one.name
    assert scaled <= {one.name for one in deployments(manifests)}


def test_every_way_to_scale_is_in_some_profile(render, all_profiles) -> None:
    kinds = {one["kind"] for profile in all_profiles for one in render(profile)}
    assert {"HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget", "NetworkPolicy"} <= kinds


def test_budgets_and_services_select_pods(render, profile) -> None:
    manifests = render(profile)
    pods = [one for one in workloads(manifests) if not one.is_hook]
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        chosen = [one for one in pods if matches(budget["spec"]["selector"], one.labels)]
        assert len(chosen) == 1, name_of(budget)
    for service in of_kind(manifests, "Service"):
        chosen = [one for one in pods if matches({"matchLabels": service["spec"]["selector"]}, one.labels)]
        assert len({one.name for one in chosen}) == 1, name_of(service)
        named = {
            port.get("name"): port["containerPort"] for one in chosen for c in one.containers for port in c["ports"]
        }
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in named or port["targetPort"] in named.values(), name_of(service)


def test_every_fleet_ingest_and_the_tracker_have_a_budget(render) -> None:
    manifests = render()
    budgets = of_kind(manifests, "PodDisruptionBudget")
    for one in deployments(manifests):
        if one.service != "sink":
            assert any(matches(budget["spec"]["selector"], one.labels) for budget in budgets), one.name


def test_deployments_select_their_own_pods_and_nobody_elses(render, profile) -> None:
    made = deployments(render(profile, sink__enabled=True)) if profile == "trial" else deployments(render(profile))
    for one in made:
        selected = [other.name for other in made if matches(one.manifest["spec"]["selector"], other.labels)]
        assert selected == [one.name]


def test_pods_are_spread(render) -> None:
    for one in deployments(render()):
        if one.service != "sink":
            for constraint in one.pod["topologySpreadConstraints"]:
                assert matches(constraint["labelSelector"], one.labels), one.name


def test_the_high_lane_goes_first(render) -> None:
    manifests = render(priorityClasses__create=True)
    values = {one["metadata"]["name"]: one["value"] for one in of_kind(manifests, "PriorityClass")}
    classes = {one.name: one.pod.get("priorityClassName") for one in deployments(manifests)}
    assert values[str(classes["mw-sender-high"])] > 0 > values[str(classes["mw-sender-bulk"])]
    assert classes["mw-ingest"] == classes["mw-sender-high"]
    assert {one.pod.get("priorityClassName") for one in deployments(render())} == {None}


@pytest.mark.parametrize("service", OURS)
def test_images_come_from_registry_and_tag(render, service: str) -> None:
    made = workloads(render("trial", image__registry="registry.example/team", image__tag="v9", flower__enabled=True))
    images = {one.containers[0]["image"] for one in made if one.service == service}
    assert images == {f"registry.example/team/mailwarren-{service}:v9"}


def test_pull_secrets_reach_every_pod(render) -> None:
    for one in workloads(render("trial", image__pullSecrets=["pull"])):
        assert one.pod["imagePullSecrets"] == [{"name": "pull"}], one.name


def test_worker_and_scheduler_are_ingests_image_with_another_command(render, profile) -> None:
    ours = [one for one in deployments(render(profile)) if one.service == "ingest"]
    commands = {component(one): one.containers[0]["args"] for one in ours}
    assert commands == {"ingest": ["api"], "worker": ["worker"], "scheduler": ["scheduler"]}


def test_webhooks_are_trackers_image_with_another_command_and_ingests_keys(render, profile) -> None:
    manifests = render(profile)
    ours = [one for one in deployments(manifests) if one.service == "tracker"]
    assert {component(one): one.containers[0]["args"] for one in ours} == {
        "tracker": ["consume"],
        "webhooks": ["webhooks"],
    }
    mounted = {
        component(one): volume["secret"]["secretName"]
        for one in deployments(manifests)
        for volume in one.pod.get("volumes", [])
        if volume["name"] == "data-keys"
    }
    assert set(mounted) in ({"ingest", "webhooks"}, set())
    assert len(set(mounted.values())) <= 1
    for one in deployments(manifests):
        told = environment(one.containers[0]).get("MAILWARREN_DATA_KEYS", {}).get("value")
        assert told == ("/etc/mailwarren/data-keys/keys" if component(one) in mounted else None), one.name


def test_the_chart_makes_a_key_unless_one_is_given_or_secrets_are_made_elsewhere(render) -> None:
    def made(**values) -> tuple[list[bytes], set[str]]:
        manifests = render(**values)
        secrets = [one for one in of_kind(manifests, "Secret") if one["metadata"]["name"] == "mw-data-keys"]
        used = {
            volume["secret"]["secretName"]
            for one in deployments(manifests)
            for volume in one.pod.get("volumes", [])
            if "secret" in volume
        }
        return [base64.b64decode(base64.b64decode(one["data"]["keys"])) for one in secrets], used

    keys, used = made()
    assert ([len(key) for key in keys], used) == ([32], {"mw-data-keys"})
    assert made(accounts__seed="seed") == made(accounts__seed="seed") != made(accounts__seed="other")
    assert made(dataKeys__existingSecret="mine") == ([], {"mine"})
    assert made(accounts__existingSecret="accounts") == ([], set())


def test_flower_is_there_when_it_is_wanted_and_knows_its_own_account_only(render) -> None:
    assert [one for one in deployments(render()) if one.service == "flower"] == []
    manifests = render("trial", flower__enabled=True, accounts__seed="seed")
    (flower,) = [one for one in deployments(manifests) if one.service == "flower"]
    env = environment(flower.containers[0])
    assert {name for name in env if "URL" in name} == {"MAILWARREN_AMQP_URL"}
    assert env["MAILWARREN_FLOWER_AUTH"]["valueFrom"]["secretKeyRef"]["name"] == "mw-flower"
    (secret,) = [one for one in of_kind(manifests, "Secret") if name_of(one).endswith("mw-flower")]
    shown = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    assert shown["MAILWARREN_AMQP_URL"].startswith("amqp://mailwarren-flower:")
    assert shown["MAILWARREN_FLOWER_AUTH"].startswith("flower:")
    setup = next(one for one in of_kind(manifests, "Secret") if name_of(one).endswith("mw-setup"))
    password = base64.b64decode(setup["data"]["MAILWARREN_FLOWER_PASSWORD"]).decode()
    assert f":{password}@" in shown["MAILWARREN_AMQP_URL"]
    assert password not in shown["MAILWARREN_FLOWER_AUTH"]


def test_a_login_of_yours_is_taken_for_flower(render) -> None:
    manifests = render(flower__enabled=True, flower__existingSecret="mine")
    (flower,) = [one for one in deployments(manifests) if one.service == "flower"]
    said = environment(flower.containers[0])["MAILWARREN_FLOWER_AUTH"]["valueFrom"]["secretKeyRef"]
    assert said == {"name": "mine", "key": "MAILWARREN_FLOWER_AUTH"}
