"""Pods of a rendered chart as containers: started, asked as their probes say, scaled, stopped as a cluster does it."""

import json
import time
from pathlib import Path

import httpx

from mailwarren.devstack.cluster.chart import Manifest
from mailwarren.devstack.cluster.manifests import Workload, workloads
from mailwarren.devstack.cluster.podman import Podman
from mailwarren.devstack.cluster.pods import Data, aliases_of, translate
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.terminal import say

_READY_SECONDS = 60.0
_SETUP_SECONDS = 120.0


class PodSet:
    """The pods of one rendering.

    Args:
        podman: whose storage has the images.
        manifests: the rendered objects.
        folder: for files of volumes and variables.
    """

    def __init__(self, podman: Podman, manifests: list[Manifest], folder: Path) -> None:
        self.podman, self._manifests, self._folder = podman, manifests, folder
        self._data = Data.of(manifests)
        self._started: dict[str, Workload] = {}
        self._numbers: dict[str, int] = {}

    def workload(self, ending: str) -> Workload:
        """The one whose name ends so."""
        (found,) = [one for one in workloads(self._manifests) if not one.is_hook and one.name.endswith(ending)]
        return found

    @property
    def job(self) -> Workload:
        """Setup."""
        (found,) = [one for one in workloads(self._manifests) if one.kind == "Job" and not one.is_hook]
        return found

    def deployments(self) -> list[Workload]:
        """All of them."""
        return [one for one in workloads(self._manifests) if one.kind == "Deployment"]

    def names(self, workload: Workload) -> list[str]:
        """Containers of a workload that run, oldest first."""
        return [name for name, one in self._started.items() if one.name == workload.name]

    def start(self, workload: Workload) -> str:
        """One more pod of it; the name of its container."""
        number = self._numbers[workload.name] = self._numbers.get(workload.name, 0) + 1
        name = f"{workload.name}-{number}"
        aliases = aliases_of(workload, self._manifests)
        self.podman.start(
            translate(workload, self._data, name=name, folder=self._folder, aliases=aliases), self._folder
        )
        self._started[name] = workload
        return name

    def command(self, workload: Workload, *words: str) -> str:
        """Runs the workload's own container with other arguments to its end; its standard output.

        Raises:
            DevstackError: it did not end with 0.
        """
        name = self.start(Workload(_with_arguments(workload.manifest, list(words))))
        status = self.podman.wait(name, _SETUP_SECONDS)
        del self._started[name]
        if status != 0:
            raise DevstackError(f"{workload.name} {' '.join(words)} ended with {status}:\n{self.podman.logs(name)}")
        return self.podman.run("logs", name)

    def execute(self, name: str, *words: str) -> str:
        """Runs a program in a container that is up, as ``kubectl exec`` does; its standard output."""
        return self.podman.run("exec", name, *words)

    def wait_ready(self, name: str) -> None:
        """Asks as the readiness probe of its pod says.

        Raises:
            DevstackError: it ended, or was not ready in time.
        """
        (container,) = self._started[name].containers
        probe = container["readinessProbe"].get("httpGet")
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        end = time.monotonic() + _READY_SECONDS
        while time.monotonic() < end:
            if not self.podman.inspect(name)["State"]["Running"]:
                raise DevstackError(f"{name} ended instead of getting ready:\n{self.podman.logs(name)}")
            at = f"http://{self.podman.address(name)}:{ports.get(probe['port'], probe['port'])}{probe['path']}"
            try:
                if httpx.get(at, timeout=3).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.3)
        raise DevstackError(f"{name} was not ready in {_READY_SECONDS:.0f} s:\n{self.podman.logs(name)}")

    def ask_liveness(self, name: str) -> None:
        """Runs the liveness probe's command in the container, where it is one.

        Raises:
            DevstackError: the probe says that it is dead.
        """
        (container,) = self._started[name].containers
        probe = container["livenessProbe"].get("exec")
        if probe:
            self.execute(name, *probe["command"])

    def scale(self, workload: Workload, replicas: int) -> None:
        """More pods at once, or fewer as a cluster takes them away: the newest, by SIGTERM and their grace.

        Raises:
            DevstackError: one did not end in order.
        """
        while len(self.names(workload)) < replicas:
            self.wait_ready(self.start(workload))
        for name in self.names(workload)[replicas:]:
            grace = int(workload.pod.get("terminationGracePeriodSeconds", 30))
            status, seconds = self.podman.stop(name, grace)
            del self._started[name]
            if status != 0:
                raise DevstackError(f"{name} ended with {status} after {seconds:.0f} s:\n{self.podman.logs(name)}")
            say(f"      {name} ended after {seconds:.1f} s")

    @property
    def running(self) -> list[str]:
        """Every container that runs."""
        return list(self._started)


def _with_arguments(manifest: Manifest, words: list[str]) -> Manifest:
    copy: Manifest = json.loads(json.dumps(manifest))
    copy["spec"]["template"]["spec"]["containers"][0]["args"] = words
    return copy
