"""``make verify-cluster`` without a cluster: its arguments, its commands held against real programs, its verdicts."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from mailwarren.devstack.cluster import verify
from mailwarren.devstack.cluster.chart import HelmRefused, run_helm
from mailwarren.devstack.cluster.kubectl import CommandFailed, Forwarded
from mailwarren.devstack.cluster.manifests import of_kind
from mailwarren.devstack.cluster.tools import KUBECTL, ToolMissing, find
from mailwarren.devstack.cluster.verify import Options, Verification, judge, parse, perform
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.harness.counts import Disagreement, Promise, SinkPair

ROOT = Path(__file__).parents[2]
PROMISE = Promise("id", "a@b", "id@x")


@pytest.fixture(scope="module")
def plan() -> list[list[str]]:
    """The commands that ``--plan`` prints."""
    program = [sys.executable, "-m", "mailwarren.devstack.cluster.verify", "--plan", "--helm", "helm"]
    done = subprocess.run(
        [*program, "--kubectl", "kubectl", "--registry", "registry.example", "--tag", "t1"],
        cwd=ROOT,
        env={**os.environ, "NAMESPACE": "n1", "RELEASE": "r1"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.removesuffix("&") for line in done.stdout.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(("      helm ", "      kubectl "))]


class Cluster:
    """Answers as a cluster on which everything works would, and keeps what it was asked."""

    def __init__(self, failing: str = "nothing") -> None:
        self.asked: list[str] = []
        self._failing = failing

    def run(self, argv: Sequence[str], *, timeout: float = 120) -> str:
        line = shlex.join(argv)
        self.asked.append(line)
        if self._failing in line:
            raise CommandFailed(f"{line}: refused")
        return "{}" if "json" in line else ""

    def forward(self, argv: Sequence[str]) -> Forwarded:
        return Forwarded(argv)


def test_the_plan_covers_everything_that_is_promised(plan) -> None:
    lines = [" ".join(words) for words in plan]
    for part in (
        "create namespace n1", "helm install r1", "helm test r1", "scale deployment/r1-sender-bulk --replicas=3",
        "scale deployment/r1-sender-bulk --replicas=1", "helm upgrade r1", "helm rollback r1 1", "helm uninstall r1",
    ):  # fmt: skip
        assert any(part in line for line in lines), part
    verbs = ("install", "upgrade", "rollback", "uninstall")
    order = [next(n for n, line in enumerate(lines) if f"helm {verb} " in line) for verb in verbs]
    assert order == sorted(order)
    assert all("--set-string image.registry=registry.example" in line for line in lines if "helm install" in line)


def test_every_command_but_those_of_the_cluster_names_the_namespace(plan) -> None:
    for words in plan:
        if not {"version", "create", "label", "delete"} & set(words):
            assert words[words.index("--namespace") + 1] == "n1", words


def test_helm_knows_every_option(plan, helm) -> None:
    asked = [words[1:] for words in plan if words[0] == "helm"]
    assert {words[0] for words in asked} == {"install", "test", "upgrade", "rollback", "uninstall"}
    for words in asked:
        assert "Usage:" in run_helm(helm, [*words, "--help"])
    with pytest.raises(HelmRefused, match="unknown flag"):
        run_helm(helm, ["install", "--no-such-option", "--help"])


def test_kubectl_knows_every_option(plan, tmp_path) -> None:
    try:
        kubectl = find(KUBECTL)
    except ToolMissing as error:
        pytest.skip(str(error))
    env = {**os.environ, "KUBECONFIG": str(tmp_path / "none")}
    for words in plan:
        if words[0] == "kubectl":
            done = subprocess.run([kubectl, *words[1:], "--help"], env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (words, done.stderr)


def test_helm_installs_what_the_plan_says(plan, helm4) -> None:
    """helm 4 does without a cluster; helm 3 asks one first."""
    (install,) = [words for words in plan if words[:2] == ["helm", "install"]]
    said = run_helm(helm4, [*install[1:], "--dry-run=client", "--output", "json"])
    assert "registry.example/mailwarren-ingest:t1" in said


def test_what_it_names_is_in_the_chart(render) -> None:
    manifests = render(verify.PROFILE)
    deployments = [one["metadata"]["name"] for one in of_kind(manifests, "Deployment")]
    assert f"mw-{verify.FLEET}" in deployments
    ports = {
        one["metadata"]["name"]: [port["port"] for port in one["spec"]["ports"]]
        for one in of_kind(manifests, "Service")
    }
    assert 80 in ports["mw-ingest"]
    assert 8025 in ports["mw-sink"]
    for one in of_kind(manifests, "Deployment"):
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "mw"
        assert one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/instance"] == "mw"


def test_the_upgrade_rolls_every_service_and_not_the_sink(render) -> None:
    """The sink counts in memory: a new pod of it would have forgotten what came before."""
    _, value = verify.ROLLS
    name, _, changed = value.partition("=")
    before, after = (
        {one["metadata"]["name"]: one["spec"]["template"] for one in of_kind(made, "Deployment")}
        for made in (
            render(verify.PROFILE, accounts__seed="s"),
            render(verify.PROFILE, accounts__seed="s", **{name: changed}),
        )
    )
    rolled = {name for name in before if before[name] != after[name]}
    assert rolled >= {"mw-ingest", "mw-tracker", "mw-sender-bulk", "mw-sender-high", "mw-sender-normal"}
    assert "mw-sink" not in rolled


def test_environment_and_options(monkeypatch) -> None:
    named = parse(["--mails", "5"], {"NAMESPACE": "n", "RELEASE": "r", "IMAGE_REGISTRY": "g", "TAG": "t", "HELM": "/h"})
    assert (named.namespace, named.release, named.registry, named.tag, named.helm) == ("n", "r", "g", "t", "/h")
    assert named.mails == 5
    assert parse(["--namespace", "o"], {"NAMESPACE": "n", "HELM": "/h"}).namespace == "o"
    with pytest.raises(SystemExit) as ended:
        parse(["--mails", "0"], {})
    assert ended.value.code == 2


def test_a_namespace_that_was_there_is_neither_used_nor_deleted(capsys) -> None:
    cluster = Cluster(failing="create namespace")
    assert perform(Verification(Options("helm", "kubectl", namespace="theirs"), cluster)) == 1
    assert [line for line in cluster.asked if "delete" in line or "install" in line] == []
    said = capsys.readouterr().out
    assert "FAIL  a namespace" in said
    assert "FAIL  helm uninstall leaves no pods: not tried" in said
    assert "kubectl --namespace theirs get events" in said


def test_a_namespace_that_it_made_is_deleted_also_after_a_failure(capsys) -> None:
    cluster = Cluster(failing="helm install")
    assert perform(Verification(Options("helm", "kubectl", namespace="n"), cluster)) == 1
    assert cluster.asked[-1] == "kubectl delete namespace n --wait=false"
    assert "PASS  a namespace" in capsys.readouterr().out
    kept = Cluster(failing="helm install")
    perform(Verification(Options("helm", "kubectl", namespace="n", keep=True), kept))
    assert not any("delete" in line for line in kept.asked)


@pytest.mark.parametrize(
    "found",
    [
        Disagreement(missing_rows=[PROMISE]),
        Disagreement(without_end=[PROMISE]),
        Disagreement(delivered_but_not_at_sink=[PROMISE]),
        Disagreement(doubled=[(PROMISE, SinkPair(2, 0))]),
    ],
)
def test_lost_or_doubled_mail_fails(found: Disagreement) -> None:
    judge(Disagreement())
    with pytest.raises(DevstackError, match="disagree"):
        judge(found)


def test_a_port_that_cannot_be_forwarded_says_why() -> None:
    with pytest.raises(CommandFailed, match="no such pod"):
        Forwarded(["sh", "-c", "echo no such pod; exit 1"]).url()


def test_a_forwarded_port_is_opened_again_when_its_pod_went_away() -> None:
    forwarded = Forwarded(["sh", "-c", "echo Forwarding from 127.0.0.1:4$$ | cut -c1-33; exec sleep 60"])
    first = forwarded.url()
    assert forwarded.url() == first
    assert forwarded._process is not None
    forwarded._process.kill()
    forwarded._process.wait()
    assert forwarded.url() != first
    forwarded.close()


def test_the_profile_is_there(chart) -> None:
    values = yaml.safe_load((chart / "ci" / f"{verify.PROFILE}-values.yaml").read_text())
    assert values["sink"]["enabled"] is True
