"""skaffold.yaml: every path, image, value and Service that it names is there."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailwarren.devstack.cluster.definitions import skaffold_problems
from mailwarren.devstack.cluster.manifests import Workload, of_kind, workloads

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(os.environ.get("SCHEMAS") or ROOT.parent / "shared" / "schemas")
BESIDE = {"runtime", "build"}


@pytest.fixture(scope="module")
def skaffold() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    return found


def ways(skaffold: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is deployed and forwarded without a profile, and with each."""
    return {"": skaffold} | {profile["name"]: profile for profile in skaffold["profiles"]}


def releases(skaffold: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, release) for name, way in ways(skaffold).items() for release in way["deploy"]["helm"]["releases"]]


def stages(dockerfile: str) -> set[str]:
    return set(re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, flags=re.MULTILINE)) - BESIDE


def has(values: object, path: str) -> bool:
    """Whether the chart's values have a key."""
    at: object = values
    for part in path.split("."):
        if not isinstance(at, dict) or part not in at:
            return False
        at = at[part]
    return True


def rendered(render: Any, release: dict[str, Any]) -> list[Any]:
    """As skaffold would have helm do it."""
    (profile,) = [Path(path).stem.removesuffix("-values") for path in release.get("valuesFiles", [])] or [None]
    values = {name.replace(".", "__"): value for name, value in release.get("setValues", {}).items()}
    return render(profile, **values, image__tag="abc123")  # type: ignore[no-any-return]


def test_every_image_is_a_stage_of_the_dockerfile_and_every_stage_is_built(skaffold) -> None:
    built = {one["image"]: one["docker"] for one in skaffold["build"]["artifacts"]}
    services = stages((ROOT / "Dockerfile").read_text())
    assert services >= {"ingest", "sender", "tracker", "sink"}
    assert set(built) == {f"mailwarren-{service}" for service in services}
    for image, docker in built.items():
        assert docker["buildArgs"] == {"SERVICE": image.removeprefix("mailwarren-")}
        assert (ROOT / docker["dockerfile"]).is_file()


def test_every_path_is_there(skaffold) -> None:
    for _, release in releases(skaffold):
        assert (ROOT / release["chartPath"] / "Chart.yaml").is_file()
        for path in release.get("valuesFiles", []):
            assert (ROOT / path).is_file(), path


def test_every_value_is_one_of_the_chart(skaffold, chart) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text())
    named = [name for _, one in releases(skaffold) for name in (*one["setValues"], *one["setValueTemplates"])]
    assert len(named) >= 10
    assert [name for name in named if not has(values, name)] == []
    assert not has(values, "image.tags")


def test_the_tag_comes_from_an_image_that_is_built(skaffold) -> None:
    images = {one["image"].replace("-", "_") for one in skaffold["build"]["artifacts"]}
    templates = [text for _, one in releases(skaffold) for text in one["setValueTemplates"].values()]
    assert {name for text in templates for name in re.findall(r"IMAGE_TAG_(\w+)", text)} <= images


def test_every_profile_is_deployed_with_the_images_that_are_built(skaffold, render) -> None:
    built = {one["image"] for one in skaffold["build"]["artifacts"]}
    for name, release in releases(skaffold):
        ours = [one for one in workloads(rendered(render, release)) if one.service]
        images = {one.containers[0]["image"] for one in ours}
        # Without a registry and by the same name: else skaffold does not see that it has built them.
        assert {image.partition(":")[0] for image in images} <= built, name
        assert {image.partition(":")[2] for image in images} == {"abc123"}


def test_setup_is_no_hook_because_hooks_pass_skaffold_by(skaffold, render) -> None:
    for _, release in releases(skaffold):
        hooks = [one for one in workloads(rendered(render, release)) if one.is_hook and one.service]
        assert [one.name for one in hooks if "test" not in one.annotations["helm.sh/hook"]] == []


def test_every_forwarded_port_is_a_port_of_a_service(skaffold, render) -> None:
    for name, way in ways(skaffold).items():
        (release,) = way["deploy"]["helm"]["releases"]
        values = {key.replace(".", "__"): value for key, value in release["setValues"].items()}
        (profile,) = [Path(path).stem.removesuffix("-values") for path in release.get("valuesFiles", [])] or [None]
        manifests = render(profile, fullnameOverride=release["name"], **values)
        services = {one["metadata"]["name"]: one for one in of_kind(manifests, "Service")}
        for forwarded in way["portForward"]:
            ports = [port["port"] for port in services[forwarded["resourceName"]]["spec"]["ports"]]
            assert forwarded["port"] in ports, name
    local = [[one["localPort"] for one in way["portForward"]] for way in ways(skaffold).values()]
    assert all(len(ports) == len(set(ports)) for ports in local)


def test_dev_has_one_of_each_and_a_sink_and_its_own_servers(skaffold, render) -> None:
    (release,) = ways(skaffold)["dev"]["deploy"]["helm"]["releases"]
    made = workloads(rendered(render, release))
    counts = {one.name: one.manifest["spec"].get("replicas", 1) for one in made if one.kind == "Deployment"}
    assert set(counts.values()) == {1}
    assert any(one.service == "sink" for one in made)
    assert len([one for one in made if one.kind == "StatefulSet"]) == 2


def test_load_has_several(skaffold, render) -> None:
    (release,) = ways(skaffold)["load"]["deploy"]["helm"]["releases"]
    made: list[Workload] = workloads(rendered(render, release))
    counts = [
        one.manifest["spec"]["replicas"]
        for one in made
        if one.service in {"ingest", "tracker", "sender"} and one.kind == "Deployment"
    ]
    assert min(counts) >= 2
    assert any(one.service == "sink" for one in made)


def test_it_is_what_skaffold_reads() -> None:
    if not SCHEMAS.is_dir():
        pytest.skip(f"no schemas at {SCHEMAS}: make check-schemas SCHEMAS=<dir>")
    assert skaffold_problems(SCHEMAS, ROOT / "skaffold.yaml") == []


def test_a_missing_key_is_named() -> None:
    values = {"a": {"b": None}}
    assert [has(values, path) for path in ("a.b", "a.c", "a.b.c")] == [True, False, False]
    assert stages("FROM x AS build\nFROM y AS runtime\nFROM runtime AS ingest\nFROM ${SERVICE}\n") == {"ingest"}
