"""A rendered pod spec as ``podman run``: the same image, user, file system, limits, variables and files.

What podman has no word for is an error, never left out in silence. Probes are the caller's: podman needs systemd for
them. The pod's network is a podman network on which Services are aliases of their pods.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailwarren.devstack.cluster.chart import NAMESPACE, Manifest
from mailwarren.devstack.cluster.manifests import Workload, matches, of_kind
from mailwarren.devstack.errors import DevstackError

_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_REFERENCE = re.compile(r"(?<!\$)\$\((\w+)\)")


class Untranslatable(DevstackError):
    """The pod spec has something that these containers cannot have."""


@dataclass(frozen=True)
class Data:
    """The rendered ConfigMaps and Secrets."""

    maps: Mapping[str, Mapping[str, str]]
    secrets: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, manifests: Iterable[Manifest]) -> "Data":
        """Secrets in clear."""
        manifests = list(manifests)
        maps = {one["metadata"]["name"]: dict(one.get("data") or {}) for one in of_kind(manifests, "ConfigMap")}
        return cls(maps, {one["metadata"]["name"]: _clear(one) for one in of_kind(manifests, "Secret")})


@dataclass(frozen=True)
class Container:
    """What podman is told."""

    name: str
    image: str
    options: list[str]
    arguments: list[str]
    env: dict[str, str]
    files: dict[Path, str] = field(default_factory=dict)
    """To be written before it starts."""
    folders: list[Path] = field(default_factory=list)
    """To be there before it starts: those of volumes, which may be empty."""
    grace: int = 30

    def command(self, env_file: Path) -> list[str]:
        """``podman run``, with the variables in a file: a command line is everybody's to read."""
        fixed = ["podman", "run", "--detach", "--name", self.name, "--env-file", str(env_file), "--pull=never"]
        return [*fixed, *self.options, self.image, *self.arguments]

    def env_text(self) -> str:
        """The content of the file.

        Raises:
            Untranslatable: a value has a line end.
        """
        broken = [name for name, value in self.env.items() if "\n" in value]
        if broken:
            raise Untranslatable(f"{self.name}: podman's files of variables hold no line ends: {', '.join(broken)}")
        return "".join(f"{name}={value}\n" for name, value in self.env.items())


def translate(workload: Workload, data: Data, *, name: str, folder: Path, aliases: Iterable[str] = ()) -> Container:
    """The one container of a workload's pod.

    Args:
        workload: whose pod.
        data: what its variables and volumes refer to.
        name: of the container, which is the pod's name.
        folder: where the files of its volumes go.
        aliases: names under which others reach it: those of its Services.

    Raises:
        Untranslatable: more than one container, or something that podman cannot give it.
    """
    pod = workload.pod
    if len(workload.all_containers) != 1:
        raise Untranslatable(f"{workload.name}: {len(workload.all_containers)} containers in a pod, 1 can be run")
    spec = workload.containers[0]
    volumes, files, folders = _volumes(pod, spec, data, folder / name)
    options = [*_rights(pod, spec), *_limits(spec), *volumes]
    options += [word for alias in aliases for word in ("--network-alias", alias)]
    if spec.get("command"):
        options += ["--entrypoint", json.dumps(spec["command"])]
    grace = int(pod.get("terminationGracePeriodSeconds", 30))
    options += ["--stop-timeout", str(grace)]
    env = _environment(spec, data, name)
    return Container(name, spec["image"], options, list(spec.get("args") or []), env, files, folders, grace)


def aliases_of(workload: Workload, manifests: Iterable[Manifest], namespace: str = NAMESPACE) -> list[str]:
    """Names under which the Services that lead to a workload's pods are known.

    A Service whose port is another than the pod's is left out, because an alias moves no port: who calls it by that
    name is told that there is no such host.
    """
    found = []
    for service in of_kind(manifests, "Service"):
        selector = service["spec"].get("selector")
        if selector and matches({"matchLabels": selector}, workload.labels):
            ports = service["spec"]["ports"]
            if all(_number(workload, port.get("targetPort", port["port"])) == port["port"] for port in ports):
                name = str(service["metadata"]["name"])
                found += [
                    name,
                    f"{name}.{namespace}",
                    f"{name}.{namespace}.svc",
                    f"{name}.{namespace}.svc.cluster.local",
                ]
    return found


def octets(quantity: str | int) -> int:
    """Bytes of a quantity: ``256Mi``.

    Raises:
        ValueError: it is none.
    """
    text = str(quantity)
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * factor)
    return int(float(text))


def cores(quantity: str | float) -> float:
    """Cores of a quantity: ``250m``."""
    text = str(quantity)
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def _clear(secret: Manifest) -> dict[str, str]:
    coded = {name: base64.b64decode(value).decode() for name, value in (secret.get("data") or {}).items()}
    return coded | dict(secret.get("stringData") or {})


def _rights(pod: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    context = {**(pod.get("securityContext") or {}), **(spec.get("securityContext") or {})}
    options = []
    if "runAsUser" in context:
        group = context.get("runAsGroup")
        options += ["--user", f"{context['runAsUser']}" + (f":{group}" if group is not None else "")]
    if context.get("readOnlyRootFilesystem"):
        options += ["--read-only", "--read-only-tmpfs=false"]
    capabilities = context.get("capabilities") or {}
    options += [word for one in capabilities.get("drop") or [] for word in ("--cap-drop", one.lower())]
    options += [word for one in capabilities.get("add") or [] for word in ("--cap-add", one.lower())]
    if context.get("allowPrivilegeEscalation") is False:
        options += ["--security-opt", "no-new-privileges"]
    return options


def _limits(spec: Mapping[str, Any]) -> list[str]:
    limits = (spec.get("resources") or {}).get("limits") or {}
    options = []
    if "memory" in limits:
        options += ["--memory", str(octets(limits["memory"]))]
    if "cpu" in limits:
        options += ["--cpus", str(cores(limits["cpu"]))]
    return options


def _environment(spec: Mapping[str, Any], data: Data, name: str) -> dict[str, str]:
    env: dict[str, str] = {}
    for source in spec.get("envFrom") or []:
        for kind, where in (("configMapRef", data.maps), ("secretRef", data.secrets)):
            if kind in source:
                prefix = source.get("prefix", "")
                env |= {prefix + key: value for key, value in _named(where, source[kind]).items()}
    for entry in spec.get("env") or []:
        value = str(entry.get("value", "")) if "valueFrom" not in entry else _value_from(entry["valueFrom"], data, name)
        if value is not None:
            env[entry["name"]] = _filled(value, env) if "value" in entry else value
    return env


def _filled(value: str, env: Mapping[str, str]) -> str:
    """``$(NAME)`` of what stands before it, as Kubernetes does; what it does not know stays as it is."""
    return _REFERENCE.sub(lambda found: env.get(found[1], found[0]), value)


def _value_from(source: Mapping[str, Any], data: Data, name: str) -> str | None:
    for kind, where in (("configMapKeyRef", data.maps), ("secretKeyRef", data.secrets)):
        if kind in source:
            reference = source[kind]
            found = _named(where, reference).get(reference["key"])
            if found is None and not reference.get("optional"):
                raise Untranslatable(f"{reference['name']} has no key {reference['key']}")
            return found
    path = (source.get("fieldRef") or {}).get("fieldPath")
    if path == "metadata.name":
        return name
    raise Untranslatable(f"no such value without a cluster: {dict(source)}")


def _named(where: Mapping[str, Mapping[str, str]], reference: Mapping[str, Any]) -> Mapping[str, str]:
    found = where.get(reference["name"])
    if found is None and not reference.get("optional"):
        raise Untranslatable(f"{reference['name']} is not among the rendered objects")
    return found or {}


def _volumes(
    pod: Mapping[str, Any], spec: Mapping[str, Any], data: Data, folder: Path
) -> tuple[list[str], dict[Path, str], list[Path]]:
    volumes = {volume["name"]: volume for volume in pod.get("volumes") or []}
    options: list[str] = []
    files: dict[Path, str] = {}
    folders: list[Path] = []
    for mount in spec.get("volumeMounts") or []:
        volume, path = volumes[mount["name"]], mount["mountPath"]
        if "emptyDir" in volume:
            options += ["--tmpfs", f"{path}:rw,mode=1777"]
            continue
        if "configMap" in volume:
            content = _named(data.maps, {**volume["configMap"]})
        elif "secret" in volume:
            reference = volume["secret"]
            content = _named(data.secrets, {**reference, "name": reference["secretName"]})
        else:
            raise Untranslatable(f"no such volume without a cluster: {volume}")
        at = folder / volume["name"]
        folders.append(at)
        files |= {at / key: text for key, text in content.items()}
        source = at / mount["subPath"] if "subPath" in mount else at
        options += ["--volume", f"{source}:{path}:ro"]
    return options, files, folders


def _number(workload: Workload, port: str | int) -> int | None:
    if isinstance(port, int):
        return port
    ports = [entry for spec in workload.containers for entry in spec.get("ports") or []]
    return next((int(entry["containerPort"]) for entry in ports if entry.get("name") == port), None)
