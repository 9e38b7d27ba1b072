"""What changes when values change: pods roll for secrets, rules reload, and setup runs again and before upgrades."""

from typing import Any

from mailwarren.devstack.cluster.manifests import Workload, of_kind, strings, workloads

BEFORE = "pre-upgrade"


def by_name(manifests: list[dict[str, Any]]) -> dict[str, Workload]:
    return {one.name: one for one in workloads(manifests)}


def rolled(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> set[str]:
    """Whose pods are made anew."""
    old, new = by_name(before), by_name(after)
    return {name for name in old.keys() & new.keys() if old[name].template != new[name].template}


def test_the_same_values_change_nothing(render, chart, helm4) -> None:
    from mailwarren.devstack.cluster.chart import Render

    settings = {"accounts.seed": '"seed"'}
    one, two = (Render(helm4, (), settings).manifests() for _ in range(2))
    assert one == two


def test_a_changed_secret_rolls_those_who_read_it(steady) -> None:
    changed = rolled(steady(), steady(accounts__seed="another"))
    assert {"mw-ingest", "mw-tracker", "mw-sender-high", "mw-sender-normal", "mw-sender-bulk"} <= changed


def test_a_changed_smarthost_rolls_the_senders_only(steady) -> None:
    changed = rolled(steady(smtp__url="smtp://relay.example:25"), steady(smtp__url="smtp://other.example:25"))
    assert changed == {"mw-sender-high", "mw-sender-normal", "mw-sender-bulk"}


def test_changed_rules_reach_senders_without_a_roll(steady) -> None:
    old, new = steady(shaping="[a]\n"), steady(shaping="[b]\n", replies="[c]\n")
    assert rolled(old, new) == set()
    (before,), (after,) = (
        [m for m in of_kind(made, "ConfigMap") if m["metadata"]["name"] == "mw-rules"] for made in (old, new)
    )
    assert before["data"] == {"shaping.toml": "[a]\n"}
    assert after["data"] == {"shaping.toml": "[b]\n", "replies.toml": "[c]\n"}


def test_rules_are_a_folder_because_single_files_keep_their_first_content(render) -> None:
    senders = [one for one in workloads(render()) if one.service == "sender"]
    assert len(senders) == 3
    for one in senders:
        (volume,) = [volume for volume in one.pod["volumes"] if volume.get("configMap", {}).get("name") == "mw-rules"]
        assert "items" not in volume["configMap"]
        mounts = [mount for mount in one.containers[0]["volumeMounts"] if mount["name"] == volume["name"]]
        assert [(mount["mountPath"], "subPath" in mount) for mount in mounts] == [("/etc/mailwarren", False)]
        values = {e["name"]: e.get("value") for e in one.containers[0]["env"]}
        assert values["MAILWARREN_SHAPING_FILE"] == "/etc/mailwarren/shaping.toml"
        assert values["MAILWARREN_REPLIES_FILE"] == "/etc/mailwarren/replies.toml"
        assert values["MAILWARREN_EGRESS_FILE"] == "/etc/mailwarren/egress.toml"


def test_new_rows_of_an_operator_get_their_queues_from_another_job(steady) -> None:
    (without,), (one,), (two,) = (jobs(steady(shaping=rows)) for rows in ("", "[sites.a]\n", "[sites.b]\n"))
    assert "--shaping" not in without.containers[0]["args"]
    for job in (one, two):
        assert job.containers[0]["args"][-2:] == ["--shaping", "/etc/mailwarren/shaping.toml"]
        (mount,) = [mount for mount in job.containers[0]["volumeMounts"] if mount["mountPath"] == "/etc/mailwarren"]
        (volume,) = [volume for volume in job.pod["volumes"] if volume["name"] == mount["name"]]
        assert volume["configMap"] == {"name": "mw-rules"}
    assert len({without.name, one.name, two.name}) == 3


def test_the_job_before_an_upgrade_reads_no_rows_because_its_map_is_of_the_release_before(render) -> None:
    made = render(shaping="[sites.a]\n", upgrade=True, setup__beforeUpgrade="always")
    (before,) = [one for one in jobs(made) if one.is_hook]
    assert "--shaping" not in before.containers[0]["args"]


def test_mail_hosts_with_private_addresses_are_a_wish(render) -> None:
    for wish in (False, True):
        made = workloads(render(senderDefaults__egress__privateMx=wish))
        said = [
            {"name": "MAILWARREN_PRIVATE_MX", "value": "true"} in one.containers[0]["env"]
            for one in made
            if one.service == "sender"
        ]
        assert said == [wish] * 3


def test_an_unrelated_value_rolls_nobody_else(steady) -> None:
    changed = rolled(steady(), steady(tracker__batchRows=500))
    assert changed == {"mw-tracker"}


def jobs(manifests: list[dict[str, Any]]) -> list[Workload]:
    return [one for one in workloads(manifests) if one.kind == "Job"]


def test_setup_is_a_plain_job_on_install(render, profile) -> None:
    """As a post-install hook it would wait for pods that wait for it, with helm install --wait."""
    for one in jobs(render(profile)):
        assert not one.is_hook, one.name
    hooks = {
        one["metadata"]["name"]
        for one in render(profile)
        if "helm.sh/hook" in (one["metadata"].get("annotations") or {})
    }
    assert not [one for one in hooks if "setup" in one]


def test_a_job_that_changed_has_another_name(steady) -> None:
    """A Job's pod template cannot be changed."""
    (same,), (again,) = jobs(steady()), jobs(steady())
    (other,) = jobs(steady(image__tag="v2"))
    assert same.name == again.name
    assert same.name != other.name
    (secret,) = jobs(steady(accounts__seed="another"))
    assert secret.name != same.name


def test_an_upgrade_runs_setup_before_pods_roll(render) -> None:
    manifests = render("trial", upgrade=True, setup__beforeUpgrade="always", accounts__seed="s")
    hooks = [one for one in jobs(manifests) if one.is_hook]
    (hook,) = hooks
    assert hook.annotations["helm.sh/hook"] == BEFORE
    assert "before-hook-creation" in hook.annotations["helm.sh/hook-delete-policy"]
    assert hook.words[:2] == ["/app/bin/mailwarren", "setup"]
    # It needs nothing that only the upgrade brings.
    own = [one for one in manifests if (one["metadata"].get("annotations") or {}).get("helm.sh/hook") == BEFORE]
    made = {one["metadata"]["name"] for one in own if one["kind"] == "Secret"}
    weights = {
        one["metadata"]["name"]: int(one["metadata"]["annotations"]["helm.sh/hook-weight"])
        for one in own
        if one["kind"] == "Secret"
    }
    for entry in hook.containers[0]["env"]:
        if "valueFrom" in entry:
            assert entry["valueFrom"]["secretKeyRef"]["name"] in made
    weight = int(hook.annotations.get("helm.sh/hook-weight", "0"))
    assert all(other < weight for other in weights.values())


def test_the_job_before_an_upgrade_waits_for_no_server_of_a_broken_release(render) -> None:
    """helm template sees no cluster: there are no servers that are up, so nothing may wait for them."""
    assert [one.name for one in jobs(render("trial", upgrade=True)) if one.is_hook] == []
    external = render(
        upgrade=True,
        rabbitmq__mode="external",
        rabbitmq__external__url="amqp://admin:secret@broker.example/mailwarren",
        postgresql__mode="external",
        postgresql__external__url="postgresql://owner:secret@db.example/mailwarren",
    )
    assert len([one for one in jobs(external) if one.is_hook]) == 1


def test_no_hook_runs_on_rollback_or_uninstall(render, profile) -> None:
    """Schemas only grow: going back needs nothing to be undone."""
    for one in render(profile, upgrade=True, setup__beforeUpgrade="always"):
        hook = (one["metadata"].get("annotations") or {}).get("helm.sh/hook", "")
        assert set(filter(None, hook.split(","))) <= {BEFORE, "test"}, one["metadata"]["name"]


def test_the_first_key_goes_into_a_secret_by_name(render) -> None:
    (job,) = jobs(render())
    assert job.words[-2:] == ["--owner-secret", "mw-owner"]
    (renamed,) = jobs(render(bootstrap__secretName="first-key"))
    assert renamed.words[-2:] == ["--owner-secret", "first-key"]
    (without,) = jobs(render(bootstrap__enabled=False))
    assert "--owner-secret" not in without.words
    assert without.pod["automountServiceAccountToken"] is False


def test_the_test_of_the_release_sends_through_it(render) -> None:
    tests = [one for one in workloads(render("trial")) if "test" in one.annotations.get("helm.sh/hook", "")]
    assert len(tests) == 1
    said = " ".join(strings(tests[0].manifest))
    assert "mw-owner" in said
    assert "mw-sink" in said


def test_accounts_of_each_service_differ(steady) -> None:
    """A URL for each, with a user of its own."""
    import base64
    from urllib.parse import urlsplit

    secrets = {one["metadata"]["name"]: one.get("data") or {} for one in of_kind(steady(), "Secret")}
    users = {}
    for name in ("ingest", "sender", "tracker"):
        url = urlsplit(base64.b64decode(secrets[f"mw-{name}"]["MAILWARREN_AMQP_URL"]).decode())
        users[name] = (url.username, url.password)
    assert {name: user for name, (user, _) in users.items()} == {name: f"mailwarren-{name}" for name in users}
    assert len({password for _, password in users.values()}) == 3
    assert "MAILWARREN_DATABASE_URL" not in secrets["mw-sender"]
