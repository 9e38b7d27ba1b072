"""Real helm 4 and helm 3 take the chart, and every object is one that Kubernetes knows, field by field."""

import json
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from mailwarren.devstack.cluster.chart import HelmRefused, read_manifests, run_helm
from mailwarren.devstack.cluster.definitions import is_custom
from mailwarren.devstack.cluster.manifests import name_of, workloads
from mailwarren.devstack.cluster.tools import TOOLS, ToolMissing, find, version_of

VERSIONS = ("1.29", "1.31", ".".join(kubernetes_validate.latest_version().split(".")[:2]))


@cache
def _valid(text: str, version: str) -> None:
    """Profiles share most of their objects: each is looked at once."""
    kubernetes_validate.validate(json.loads(text), version, strict=True)


def validate(manifest: dict[str, Any], version: str) -> None:
    if not is_custom(manifest):
        _valid(json.dumps(manifest, sort_keys=True), version)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_programs_are_the_ones_that_are_meant(tool) -> None:
    try:
        path = find(tool)
    except ToolMissing as error:
        pytest.skip(str(error))
    assert version_of(tool, path).startswith(tool.says)


def test_programs_are_taken_out_once_and_whole(tmp_path: Path) -> None:
    try:
        first = find(TOOLS[1], tmp_path)
    except ToolMissing as error:
        pytest.skip(str(error))
    written = first.stat().st_mtime_ns
    assert find(TOOLS[1], tmp_path) == first
    assert first.stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_there_are_profiles_for_everything_that_can_be_chosen(chart) -> None:
    names = {path.name for path in (chart / "ci").glob("*-values.yaml")}
    assert "trial-values.yaml" in names
    assert len(names) >= 4


def test_lint_finds_nothing(helm, chart, profile, profile_file) -> None:
    said = run_helm(helm, ["lint", "--strict", str(chart), "--values", str(profile_file(profile))])
    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said


def test_helm_3_and_helm_4_render_the_same(steady, helm, profile) -> None:
    assert steady(profile, helm=helm) == steady(profile)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_strictly(steady, profile, version: str) -> None:
    manifests = steady(profile, kube=version)
    assert len(manifests) > 10
    for manifest in manifests:
        validate(manifest, version)


def test_every_object_of_an_upgrade_is_valid_strictly(steady, profile) -> None:
    manifests = steady(profile, upgrade=True, setup__beforeUpgrade="always")
    for manifest in manifests:
        validate(manifest, "1.31")


def test_an_unknown_field_is_not_valid() -> None:
    broken = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dta": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.31", strict=True)


def test_no_object_is_there_twice(render, profile) -> None:
    names = [name_of(manifest) for manifest in render(profile)]
    assert sorted(names) == sorted(set(names))


def test_no_object_says_a_namespace_of_its_own(render, profile) -> None:
    """They go where the release goes."""
    assert {manifest["metadata"].get("namespace", "mail") for manifest in render(profile)} == {"mail"}


def test_names_follow_the_release_and_fit(render, profile) -> None:
    for manifest in render(profile):
        name = manifest["metadata"]["name"]
        assert name.startswith(("mw", "mail-mw")), name
        assert len(name) <= 63


def test_it_packages(helm, chart, tmp_path: Path) -> None:
    run_helm(helm, ["package", str(chart), "--destination", str(tmp_path)])
    (package,) = tmp_path.glob("mailwarren-*.tgz")
    with tarfile.open(package) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "README.md", "templates/NOTES.txt"} <= inside
    assert not [name for name in inside if name.startswith("ci/")]
    assert read_manifests(run_helm(helm, ["template", "mw", str(package)]))


def test_an_older_kubernetes_is_refused(render) -> None:
    with pytest.raises(HelmRefused, match="incompatible with Kubernetes"):
        render(kube="1.27")


def test_every_object_has_the_labels_that_find_it(render, profile) -> None:
    for manifest in render(profile):
        labels: dict[str, Any] = manifest["metadata"].get("labels") or {}
        assert labels.get("app.kubernetes.io/instance") == "mw", name_of(manifest)
        assert labels.get("app.kubernetes.io/part-of") == "mailwarren", name_of(manifest)


def test_the_notes_say_how_to_go_on(render, helm4, chart, profile, profile_file) -> None:
    """helm 4 prints them without a cluster; helm 3 asks one first."""
    install = ["install", "mw", str(chart), "--namespace", "mail", "--dry-run=client", "--values"]
    notes = run_helm(helm4, [*install, str(profile_file(profile))]).partition("NOTES:")[2]
    assert "kubectl" in notes
    assert "curl" in notes
    for job in (one for one in workloads(render(profile)) if "--owner-secret" in one.words):
        assert job.words[job.words.index("--owner-secret") + 1] in notes
