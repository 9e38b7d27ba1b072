"""The load profile: a Job for each revision, its workers, their ways; nothing of it without its value."""

from typing import Any

import pytest

from mailwarren.devstack.cluster.chart import HelmRefused
from mailwarren.devstack.cluster.manifests import Workload, environment, of_kind, workloads
from mailwarren.devstack.cluster.network import PUBLIC, Network, Peer
from mailwarren.load.main import _parser
from mailwarren.load.plan import Scenario


def loads(manifests: list[dict[str, Any]]) -> dict[str, Workload]:
    return {
        part: one
        for one in workloads(manifests)
        if (part := one.labels["app.kubernetes.io/component"]) in {"load", "load-worker"}
    }


def test_no_other_profile_runs_it(render, all_profiles) -> None:
    assert {profile for profile in all_profiles if loads(render(profile))} == {"load"}


def test_the_command_takes_what_the_jobs_say(render) -> None:
    found = loads(render("load"))
    told = {part: _parser().parse_args(one.containers[0]["args"]) for part, one in found.items()}
    assert {part: options.role for part, options in told.items()} == {"load": "master", "load-worker": "worker"}
    for options in told.values():
        assert (options.users, options.time, options.workers) == (100, 300, 2)
        assert options.run == "mw-1"
        assert options.master_host == "mw-load.mail.svc"
    assert told["load"].metrics == "0.0.0.0:9464"
    assert found["load"].annotations == {}
    assert found["load-worker"].manifest["spec"]["parallelism"] == 2


def test_every_scenario_is_a_value_and_one_pod_can_do_it_all(render) -> None:
    for scenario in Scenario:
        found = loads(render("load", load__scenario=scenario.value, load__workers=0, load__rate=12.5))
        (alone,) = found.values()
        options = _parser().parse_args(alone.containers[0]["args"])
        assert (options.role, options.scenario, options.rate) == ("run", scenario, 12.5)
    manifests = render("load", load__workers=0)
    assert "mw-load" not in {one["metadata"]["name"] for one in of_kind(manifests, "Service")}


def test_the_key_is_read_from_a_secret(render) -> None:
    for one in loads(render("load")).values():
        key = environment(one.containers[0])["MAILWARREN_API_KEY"]["valueFrom"]["secretKeyRef"]
        assert (key["name"], key["key"]) == ("mw-owner", "api-key")
        assert "key" not in " ".join(one.containers[0]["args"])
    given = loads(render("load", load__existingSecret="mine", bootstrap__enabled=False))
    keys = [environment(one.containers[0])["MAILWARREN_API_KEY"]["valueFrom"] for one in given.values()]
    assert [key["secretKeyRef"]["name"] for key in keys] == ["mine", "mine"]


def test_without_a_key_it_is_refused(render) -> None:
    with pytest.raises(HelmRefused, match=r"load\.existingSecret"):
        render("load", bootstrap__enabled=False)


@pytest.mark.parametrize("wrong", [{"load__scenario": "storm"}, {"load__most": 10_001}, {"load__users": 0}])
def test_wrong_values_are_refused(render, wrong: dict[str, Any]) -> None:
    with pytest.raises(HelmRefused, match="load"):
        render("load", **wrong)


def test_its_ways_are_the_api_the_sink_and_each_other(render) -> None:
    only = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "apps"}}}]
    manifests = render("load", networkPolicy__api__from=only)
    network = Network(manifests)
    of = {one.labels["app.kubernetes.io/component"]: Peer(one.labels) for one in workloads(manifests)}
    ports = {port["name"]: port["containerPort"] for port in loads(manifests)["load"].containers[0]["ports"]}
    master = Peer(of["load"].labels, ports=ports)
    for source in ("load", "load-worker"):
        assert network.allows(of[source], of["ingest"], 8080)
        assert network.allows(of[source], of["sink"], 8025)
        for target, port in (("rabbitmq", 5672), ("postgres", 5432), ("sink", 2525), ("sender", 9464)):
            assert not network.allows(of[source], of[target], port), (source, target)
        assert not network.allows(of[source], Peer(address=PUBLIC), 443)
    assert network.allows(of["load-worker"], master, 5557)
    assert not network.allows(of["ingest"], master, 5557)
    assert not network.allows(of["sender"], of["load-worker"], 5557)
