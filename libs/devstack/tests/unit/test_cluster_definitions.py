import json
from pathlib import Path

import pytest
import yaml

from mailwarren.devstack.cluster.definitions import Definitions, is_custom, skaffold_problems
from mailwarren.devstack.errors import DevstackError

SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1},
        "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "maybe": {"type": "string", "nullable": True},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
    },
    "oneOf": [{"required": ["size"]}, {"required": ["never"]}],
}
DEFINITION = {
    "kind": "CustomResourceDefinition",
    "spec": {
        "group": "x.example",
        "names": {"kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC}}},
            }
        ],
    },
}


@pytest.fixture
def definitions() -> Definitions:
    found = Definitions()
    found.add(DEFINITION)
    return found


def thing(**spec: object) -> dict[str, object]:
    return {
        "apiVersion": "x.example/v1",
        "kind": "Thing",
        "metadata": {"name": "t", "labels": {"a": "b"}},
        "spec": spec,
    }


def test_what_fits_has_no_problems(definitions) -> None:
    fits = thing(size=1, port="http", labels={"a": "b"}, free={"any": {"thing": 1}}, maybe=None, list=[{"a": "b"}])
    assert definitions.problems(fits) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"size": 1, "siez": 2}, "siez"),
        ({"size": 0}, "spec.size: 0"),
        ({"size": 1, "labels": {"a": 1}}, "spec.labels.a: 1"),
        ({"size": 1, "list": [{"b": "x"}]}, "spec.list.0:"),
        ({"size": 1, "port": 1.5}, "spec.port: 1.5"),
        ({}, "'size' is a required property"),
    ],
)
def test_what_does_not_fit_is_named(definitions, spec, said) -> None:
    problems = definitions.problems(thing(**spec))
    assert any(said in line for line in problems), problems


def test_an_unknown_kind_is_a_problem(definitions) -> None:
    other = {"apiVersion": "x.example/v2", "kind": "Thing", "metadata": {"name": "t"}}
    assert definitions.problems(other) == ["Thing/t: no definition of x.example/v2"]


def test_custom_is_what_kubernetes_does_not_bring() -> None:
    assert is_custom({"apiVersion": "keda.sh/v1alpha1"})
    assert not any(is_custom({"apiVersion": api}) for api in ("v1", "apps/v1", "policy/v1", "autoscaling/v2"))


def test_a_folder_is_read_and_an_empty_one_refused(tmp_path: Path) -> None:
    with pytest.raises(DevstackError, match="no CustomResourceDefinition"):
        Definitions.read(tmp_path)
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds" / "thing.yaml").write_text(yaml.safe_dump(DEFINITION))
    assert Definitions.read(tmp_path).problems(thing(size=1)) == []


def test_skaffold_is_held_against_the_schema_of_its_version(tmp_path: Path) -> None:
    skaffold = tmp_path / "skaffold.yaml"
    skaffold.write_text("apiVersion: skaffold/v9\nbuild: {}\n")
    with pytest.raises(DevstackError, match=r"no skaffold-v9\.json"):
        skaffold_problems(tmp_path, skaffold)
    schema = {"type": "object", "properties": {"apiVersion": {"type": "string"}}, "additionalProperties": False}
    (tmp_path / "skaffold-v9.json").write_text(json.dumps(schema))
    (problem,) = skaffold_problems(tmp_path, skaffold)
    assert "'build' was unexpected" in problem
