"""Renders the chart with a real helm, and says how helm refuses."""

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.state import LocalDir

Manifest = dict[str, Any]
RELEASE = "mw"
NAMESPACE = "mail"
CUSTOM_APIS = (
    "monitoring.coreos.com/v1",
    "keda.sh/v1alpha1",
    "rabbitmq.com/v1beta1",
    "postgresql.cnpg.io/v1",
    "gateway.networking.k8s.io/v1",
)
"""What the operators of a cluster add; ``helm template`` knows no cluster and has to be told."""
_TIMEOUT_SECONDS = 60


class HelmRefused(DevstackError):
    """helm ended with an error; the text is what it said."""


def chart_folder() -> Path:
    """The chart of this clone."""
    return LocalDir.of_clone().path.parent / "deploy" / "helm" / "mailwarren"


@dataclass(frozen=True)
class Render:
    """One way to render the chart.

    Args:
        helm: the program.
        values: files, later ones win.
        settings: ``--set`` on top of them.
        kube_version: of the cluster that is meant.
        upgrade: as ``helm upgrade`` would.
        home: where helm keeps its own files; a new folder unless given.
    """

    helm: Path
    values: tuple[Path, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    kube_version: str = "1.31.0"
    upgrade: bool = False
    chart: Path = field(default_factory=chart_folder)
    release: str = RELEASE
    namespace: str = NAMESPACE

    def arguments(self) -> list[str]:
        """What ``helm template`` is given."""
        argv = ["template", self.release, str(self.chart), "--namespace", self.namespace]
        argv += ["--kube-version", self.kube_version]
        argv += [word for api in CUSTOM_APIS for word in ("--api-versions", api)]
        argv += [word for path in self.values for word in ("--values", str(path))]
        argv += [word for name, value in self.settings.items() for word in ("--set-json", f"{name}={value}")]
        return [*argv, "--is-upgrade"] if self.upgrade else argv

    def text(self) -> str:
        """The manifests as helm prints them.

        Raises:
            HelmRefused: it printed none.
        """
        return run_helm(self.helm, self.arguments())

    def manifests(self) -> list[Manifest]:
        """The objects.

        Raises:
            HelmRefused: there are none.
        """
        return read_manifests(self.text())


def read_manifests(text: str) -> list[Manifest]:
    """The objects of a text of YAML documents."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def run_helm(helm: Path, arguments: Sequence[str], *, timeout: float = _TIMEOUT_SECONDS) -> str:
    """What helm says, with folders of its own: settings and plug-ins of the user play no part.

    Raises:
        HelmRefused: it ended with an error.
    """
    with tempfile.TemporaryDirectory(prefix="helm-") as home:
        own = {f"HELM_{kind}_HOME": f"{home}/{kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA")}
        env = {**os.environ, **own, "KUBECONFIG": f"{home}/none"}
        done = subprocess.run([helm, *arguments], env=env, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise HelmRefused(f"helm {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}{done.stdout}")
    return done.stdout
