"""``make verify-cluster``: the chart on the current context of kubectl, from install to uninstall.

It works in a namespace that it makes and deletes; one that is there already is refused. Each step is a line, PASS or
FAIL with the reason; a step whose ground is missing is a FAIL that says so. ``--plan`` prints every command and runs
none.
"""

import argparse
import base64
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mailwarren.devstack.cluster.chart import chart_folder
from mailwarren.devstack.cluster.kubectl import CommandFailed, Commands, Forwarded, Plan, Run
from mailwarren.devstack.cluster.tools import HELM4, KUBECTL, find
from mailwarren.devstack.cluster.traffic import Traffic
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.harness.counts import Disagreement
from mailwarren.devstack.terminal import say

PROFILE = "trial"
WAIT = "10m"
FLEET = "sender-bulk"
_WAIT_SECONDS = 660
_ENDS_SECONDS = 300
_EVIDENCE_LINES = 20


@dataclass(frozen=True)
class Options:
    """What the caller chose."""

    helm: str
    kubectl: str
    namespace: str = "mailwarren-verify"
    release: str = "verify"
    mails: int = 2000
    registry: str | None = None
    tag: str | None = None
    plan: bool = False
    keep: bool = False

    @property
    def images(self) -> list[str]:
        """``--set`` of the images."""
        found = {"image.registry": self.registry, "image.tag": self.tag}
        return [word for name, value in found.items() if value for word in ("--set-string", f"{name}={value}")]


class Verification:
    """The steps, in the order to run them."""

    def __init__(self, options: Options, commands: Commands) -> None:
        self.options, self._commands = options, commands
        self._forwarded: list[Forwarded] = []
        self._traffic: Traffic | None = None
        self._made_namespace = False

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """What is verified: a title and what to do."""
        mails = self.options.mails
        return [
            ("the cluster answers", self.cluster_answers),
            ("a namespace that enforces the restricted Pod Security Standard", self.make_namespace),
            ("helm install, everything Ready", self.install),
            ("helm test sends a mail", self.helm_test),
            (f"{mails} mails, and the ledger balances", self.send),
            (f"kubectl scale {FLEET} to 3 under load loses nothing", lambda: self.scale_under_load(3)),
            (f"kubectl scale {FLEET} to 1 under load loses nothing", lambda: self.scale_under_load(1)),
            ("helm upgrade under load loses nothing", self.upgrade),
            ("helm rollback after a kubectl scale", self.rollback),
            ("helm uninstall leaves no pods", self.uninstall),
        ]

    # Steps

    def cluster_answers(self) -> None:
        """Before anything is made."""
        self._kubectl("version", namespaced=False)

    def make_namespace(self) -> None:
        """Fails when it exists: what is in it is somebody's."""
        self._kubectl("create", "namespace", self.options.namespace, namespaced=False)
        self._made_namespace = True
        label = "pod-security.kubernetes.io/enforce=restricted"
        self._kubectl("label", "namespace", self.options.namespace, label, namespaced=False)

    def install(self) -> None:
        """The trial profile, which brings its own RabbitMQ, Postgres and sink."""
        self._helm("install", *self._chart(), "--wait", "--timeout", WAIT, timeout=_WAIT_SECONDS)
        self._rolled_out()
        self._open_traffic()

    def helm_test(self) -> None:
        """The chart's own test."""
        self._helm("test", self.options.release, "--logs", "--timeout", "5m", timeout=330)

    def send(self) -> None:
        """All at once."""
        if self._traffic is not None:
            self._traffic.post(self.options.mails)
        self._balances()

    def scale_under_load(self, replicas: int) -> None:
        """As a person would scale."""
        posting = None if self._traffic is None else self._traffic.post_beside(self.options.mails, pause=0.3)
        self._scale(replicas)
        if posting is not None:
            posting.join()
        self._balances()

    def upgrade(self) -> None:
        """A changed value rolls every service while mails come in; what kubectl scaled stays scaled."""
        self._scale(2)
        posting = None if self._traffic is None else self._traffic.post_beside(self.options.mails, pause=0.5)
        self._helm("upgrade", *self._chart(), *ROLLS, "--wait", "--timeout", WAIT, timeout=_WAIT_SECONDS)
        self._rolled_out()
        self._has_replicas(2)
        if posting is not None:
            posting.join()
        self._balances()

    def rollback(self) -> None:
        """To the first revision."""
        self._scale(3)
        self._helm("rollback", self.options.release, "1", "--wait", "--timeout", WAIT, timeout=_WAIT_SECONDS)
        self._rolled_out()
        self._has_replicas(3)
        self.send()

    def uninstall(self) -> None:
        """Volumes of the trial servers stay until the namespace goes."""
        self._helm("uninstall", self.options.release, "--wait", "--timeout", "10m", timeout=_WAIT_SECONDS)
        left = self._kubectl("get", "pods", "--selector", self._selector, "--output", "name").strip()
        if left:
            raise CommandFailed(f"these are left: {left}")

    def close(self) -> None:
        """Ends what it started; deletes the namespace if it made it."""
        for forwarded in self._forwarded:
            forwarded.close()
        if self._made_namespace and not self.options.keep:
            self._kubectl("delete", "namespace", self.options.namespace, "--wait=false", namespaced=False)

    def hints(self) -> list[str]:
        """Where a person looks further."""
        start = f"{self.options.kubectl} --namespace {self.options.namespace}"
        return [
            f"{start} get pods,jobs --output wide",
            f"{start} describe pods --selector {self._selector}",
            f"{start} logs --selector {self._selector} --all-containers --prefix --tail 50",
            f"{start} get events --sort-by .lastTimestamp",
        ]

    def evidence(self) -> list[str]:
        """What the cluster says now: the namespace may be gone when a person reads it."""
        if self.options.plan or not self._made_namespace:
            return []
        found = []
        for words in (("get", "pods,jobs", "--output", "wide"), ("get", "events", "--sort-by", ".lastTimestamp")):
            with contextlib.suppress(DevstackError):
                lines = self._kubectl(*words).splitlines()
                found += [f"      {line}" for line in (lines[:1] + lines[1:][-_EVIDENCE_LINES:])]
        return found

    # Commands

    @property
    def _selector(self) -> str:
        return f"app.kubernetes.io/instance={self.options.release}"

    def _kubectl(self, *words: str, namespaced: bool = True, timeout: float = 120) -> str:
        where = ["--namespace", self.options.namespace] if namespaced else []
        return self._commands.run([self.options.kubectl, *where, *words], timeout=timeout)

    def _helm(self, *words: str, timeout: float) -> str:
        where = ["--namespace", self.options.namespace]
        return self._commands.run([self.options.helm, *words, *where], timeout=timeout)

    def _chart(self) -> list[str]:
        chart = chart_folder()
        values = chart / "ci" / f"{PROFILE}-values.yaml"
        return [self.options.release, str(chart), "--values", str(values), *self.options.images]

    def _scale(self, replicas: int) -> None:
        deployment = f"deployment/{self.options.release}-{FLEET}"
        self._kubectl("scale", deployment, f"--replicas={replicas}")
        self._kubectl("rollout", "status", deployment, "--timeout=8m", timeout=500)

    def _rolled_out(self) -> None:
        names = self._kubectl("get", "deployments", "--selector", self._selector, "--output", "name").split()
        for name in names or ([f"deployment/{self.options.release}-{FLEET}"] if self.options.plan else []):
            self._kubectl("rollout", "status", name, "--timeout=8m", timeout=500)
        if not names and not self.options.plan:
            raise CommandFailed(f"no Deployment has the label {self._selector}")

    def _has_replicas(self, expected: int) -> None:
        path = ["--output", "jsonpath={.spec.replicas}"]
        found = self._kubectl("get", f"deployment/{self.options.release}-{FLEET}", *path)
        if not self.options.plan and found != str(expected):
            raise CommandFailed(f"{FLEET} has {found} replicas, kubectl had scaled it to {expected}")

    def _open_traffic(self) -> None:
        secret = self._kubectl("get", "secret", f"{self.options.release}-owner", "--output", "json")
        api, sink = (self._forward(service, port) for service, port in (("ingest", 80), ("sink", 8025)))
        if not self.options.plan:
            key = base64.b64decode(json.loads(secret)["data"]["api-key"]).decode()
            self._traffic = Traffic(lambda: f"{api.url()}/v1", key, sink.url)

    def _forward(self, service: str, port: int) -> Forwarded:
        where = ["--namespace", self.options.namespace, "port-forward", "--address", "127.0.0.1"]
        target = f"service/{self.options.release}-{service}"
        forwarded = self._commands.forward([self.options.kubectl, *where, target, f":{port}"])
        self._forwarded.append(forwarded)
        return forwarded

    def _balances(self) -> None:
        if self._traffic is None:
            if not self.options.plan:
                raise CommandFailed("there is no API key: helm install did not end well")
            say(f"      (posts {self.options.mails} mails to the API; compares its answers, the ledger and the sink)")
            return
        judge(self._traffic.settle(_ENDS_SECONDS))


ROLLS = ("--set-string", "logLevel=DEBUG")
"""A value that is in every service's pod template."""


def judge(found: Disagreement) -> None:
    """Nothing lost and nothing twice: every step stops pods in an orderly way.

    Raises:
        DevstackError: the counts disagree.
    """
    if not found.balanced or found.doubled:
        raise DevstackError(f"the counts disagree: {found}")


def perform(verification: Verification, *, clock: Callable[[], float] = time.monotonic) -> int:
    """Runs the steps, prints a line for each; returns the process's exit status."""
    failed: str | None = None
    steps = verification.steps()
    try:
        for title, step in steps:
            started = clock()
            plan = verification.options.plan
            if plan:
                say(f"{title}:")
            try:
                step()
            except DevstackError as error:
                failed = title
                say(f"FAIL  {title}: {error}")
                break
            if not plan:
                say(f"PASS  {title} ({clock() - started:.0f} s)")
    finally:
        if failed is not None:
            _explain(verification, failed, [title for title, _ in steps])
        verification.close()
    return 0 if failed is None else 1


def _explain(verification: Verification, failed: str, titles: Sequence[str]) -> None:
    for title in titles[titles.index(failed) + 1 :]:
        say(f"FAIL  {title}: not tried, because this failed: {failed}")
    for said in verification.evidence():
        say(said)
    say("To look further (--keep leaves the namespace as it is):")
    for hint in verification.hints():
        say(f"      {hint}")


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Options of the command line; ``NAMESPACE``, ``RELEASE``, ``IMAGE_REGISTRY``, ``TAG`` and ``HELM`` as well."""
    parser = argparse.ArgumentParser(prog="verify-cluster", description=(__doc__ or "").splitlines()[0])
    default = Options("", "")
    parser.add_argument("--namespace", default=environ.get("NAMESPACE") or default.namespace, help="made and deleted")
    parser.add_argument("--release", default=environ.get("RELEASE") or default.release)
    parser.add_argument("--registry", default=environ.get("IMAGE_REGISTRY") or None, help="where the images are")
    parser.add_argument("--tag", default=environ.get("TAG") or None, help="of the images")
    parser.add_argument("--helm", default=environ.get("HELM") or None, help="the program; helm 3 or 4")
    parser.add_argument("--kubectl", default=environ.get("KUBECTL") or None, help="the program")
    parser.add_argument("--mails", type=_positive, default=default.mails, help="of each step")
    parser.add_argument("--plan", action="store_true", help="print every command, run none")
    parser.add_argument("--keep", action="store_true", help="leave the namespace as it is at the end")
    given = vars(parser.parse_args(arguments))
    given["helm"] = given["helm"] or shutil.which("helm") or str(find(HELM4))
    given["kubectl"] = given["kubectl"] or shutil.which("kubectl") or str(find(KUBECTL))
    return Options(**given)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every step passed, 1 when one failed, 2 for wrong arguments."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        return perform(Verification(options, Plan() if options.plan else Run()))
    except DevstackError as error:
        say(f"FAIL  {error}")
        return 1
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
