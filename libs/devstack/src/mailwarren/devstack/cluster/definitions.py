"""Holds custom resources against their CustomResourceDefinitions, and skaffold.yaml against its JSON schema, strictly.

A cluster drops a field that a definition does not have, without a word; here it is an error. The definitions are
not ours to ship: a folder is given, with ``crds/*.yaml`` and ``skaffold-*.json`` in it.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

from mailwarren.devstack.cluster.chart import Manifest, Render, chart_folder
from mailwarren.devstack.cluster.manifests import name_of
from mailwarren.devstack.cluster.tools import HELM4, find
from mailwarren.devstack.errors import DevstackError

Schema = dict[str, Any]
OWN_GROUPS = frozenset({
    "", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apps", "autoscaling", "batch",
    "coordination.k8s.io", "discovery.k8s.io", "networking.k8s.io", "node.k8s.io", "policy",
    "rbac.authorization.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
})  # fmt: skip
"""API groups of Kubernetes itself; every other one comes with a definition."""
_EVERYWHERE: Schema = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
_NESTED = ("allOf", "anyOf", "oneOf")


def is_custom(manifest: Manifest) -> bool:
    """Whether its kind comes with a definition."""
    group, slash, _ = str(manifest["apiVersion"]).rpartition("/")
    return bool(slash) and group not in OWN_GROUPS


def strict(schema: Mapping[str, Any], *, top: bool = True) -> Schema:
    """A definition's structural schema as a JSON schema in which unknown fields are errors."""
    made: Schema = {name: schema[name] for name in schema.keys() & _COPIED}
    for name in _NESTED:
        if name in schema:
            made[name] = list(schema[name])  # only conditions: a structural schema names no fields there
    if "not" in schema:
        made["not"] = schema["not"]
    properties = {name: strict(inner, top=False) for name, inner in (schema.get("properties") or {}).items()}
    if top or schema.get("x-kubernetes-embedded-resource"):
        properties |= _EVERYWHERE
    if properties:
        made["properties"] = properties
    if isinstance(schema.get("items"), Mapping):
        made["items"] = strict(schema["items"], top=False)
    if schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        more = schema.get("additionalProperties", False)
        made["additionalProperties"] = strict(more, top=False) if isinstance(more, Mapping) else more
    if schema.get("x-kubernetes-int-or-string"):
        made |= {"type": ["integer", "string"]}
        made.pop("anyOf", None)
    if schema.get("nullable") and "type" in made:
        kinds = made["type"] if isinstance(made["type"], list) else [made["type"]]
        made["type"] = [*kinds, "null"]
    return made


_COPIED = frozenset({
    "type", "required", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
})  # fmt: skip


@dataclass
class Definitions:
    """The schemas of a folder, by ``group/version`` and kind."""

    schemas: dict[tuple[str, str], Schema] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Definitions":
        """Every definition in ``crds/``.

        Raises:
            DevstackError: there is none.
        """
        found = cls()
        for path in sorted((folder / "crds").glob("*.yaml")):
            for document in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader):
                if document and document.get("kind") == "CustomResourceDefinition":
                    found.add(document)
        if not found.schemas:
            raise DevstackError(f"{folder}/crds holds no CustomResourceDefinition")
        return found

    def add(self, definition: Manifest) -> None:
        """Every served version of one."""
        spec = definition["spec"]
        for version in spec["versions"]:
            if version["served"]:
                key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                self.schemas[key] = strict(version["schema"]["openAPIV3Schema"])

    def problems(self, manifest: Manifest) -> list[str]:
        """What its definition forbids; an unknown kind is a problem too."""
        schema = self.schemas.get((manifest["apiVersion"], manifest["kind"]))
        if schema is None:
            return [f"{name_of(manifest)}: no definition of {manifest['apiVersion']}"]
        return [f"{name_of(manifest)}: {line}" for line in errors(schema, manifest)]


def errors(schema: Schema, value: object) -> list[str]:
    """One line for each thing wrong: where, and what."""
    found = sorted(Draft7Validator(schema).iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
    return [f"{'.'.join(map(str, error.absolute_path)) or '(top)'}: {error.message[:300]}" for error in found]


def skaffold_problems(folder: Path, skaffold: Path) -> list[str]:
    """skaffold.yaml against the schema of the version that it names.

    Raises:
        DevstackError: the folder has no schema of that version.
    """
    content = yaml.safe_load(skaffold.read_text())
    version = str(content.get("apiVersion", "")).rpartition("/")[2]
    path = folder / f"skaffold-{version}.json"
    if not path.exists():
        raise DevstackError(f"{folder} has no skaffold-{version}.json")
    return [f"skaffold.yaml: {line}" for line in errors(json.loads(path.read_text()), content)]


def profiles(chart: Path) -> dict[str, Path]:
    """The values of ``ci/`` by name."""
    return {path.stem.removesuffix("-values"): path for path in sorted((chart / "ci").glob("*.yaml"))}


def main() -> int:
    """``check-schemas FOLDER``: 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(prog="check-schemas", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="crds/*.yaml and skaffold-*.json")
    arguments = parser.parse_args()
    try:
        wrong = check(arguments.folder)
    except DevstackError as error:
        print(error, file=sys.stderr)
        return 1
    return 1 if wrong else 0


def check(folder: Path) -> list[str]:
    """Every custom resource of every profile, and skaffold.yaml; prints a line for each and returns what is wrong.

    Raises:
        DevstackError: definitions or programs are missing, or helm refused the chart.
    """
    chart, definitions, helm = chart_folder(), Definitions.read(folder), find(HELM4)
    wrong: list[str] = []
    for name, path in profiles(chart).items():
        for manifest in filter(is_custom, Render(helm, (path,)).manifests()):
            found = definitions.problems(manifest)
            print(f"{'FAIL' if found else 'ok  '} {name}: {name_of(manifest)}")
            wrong += [f"{name}: {line}" for line in found]
    skaffold = skaffold_problems(folder, chart.parents[2] / "skaffold.yaml")
    print(f"{'FAIL' if skaffold else 'ok  '} skaffold.yaml")
    wrong += skaffold
    for line in wrong:
        print(line, file=sys.stderr)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
