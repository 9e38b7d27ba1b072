"""Fleets and what their mail leaves from. Needs helm."""

from mailwarren.devstack.cluster.manifests import environment, of_kind, workloads
from mailwarren.sender.rules.egress import read_egress

EGRESS = '[egresses.out1]\nhelo = "out1.example.com"\nipv4 = "192.0.2.1"\n'


def senders(manifests):
    return {one.name.removeprefix("mw-"): one for one in workloads(manifests) if one.service == "sender"}


def named(workload, variable):
    entry = environment(workload.containers[0]).get(variable)
    return None if entry is None else entry["value"]


def test_each_fleet_of_the_example_has_the_egress_that_its_pods_are_given(render) -> None:
    manifests = render("fleets")
    (rules,) = [one for one in of_kind(manifests, "ConfigMap") if one["metadata"]["name"] == "mw-rules"]
    found = {name: named(one, "MAILWARREN_EGRESS") for name, one in senders(manifests).items()}
    assert found.pop("sender-apple") == "apple"
    assert set(found.values()) == {"out1"}
    plan = read_egress(rules["data"]["egress.toml"].encode(), {"out1", "apple"})
    assert plan is not None
    warm_up = plan.egresses["apple"].warm_up
    assert warm_up is not None
    assert warm_up.days[:2] == (20, 50)


def test_checks_keep_pods_unready_only_where_that_is_asked_for(render) -> None:
    gates = {name: named(one, "MAILWARREN_EGRESS_GATE") for name, one in senders(render("fleets")).items()}
    assert gates.pop("sender-apple") == "true"
    assert set(gates.values()) == {None}


def test_pods_in_the_nodes_network_give_up_their_place_before_the_next_comes(render) -> None:
    own = {name: one.manifest for name, one in senders(render()).items()}
    host = {
        name: one.manifest for name, one in senders(render(senderDefaults__hostNetwork=True, egress=EGRESS)).items()
    }
    assert own.keys() == host.keys()
    for name, manifest in host.items():
        pod = manifest["spec"]["template"]["spec"]
        assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
        assert manifest["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
        assert "hostNetwork" not in own[name]["spec"]["template"]["spec"]
        assert own[name]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
