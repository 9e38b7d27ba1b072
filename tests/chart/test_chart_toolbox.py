"""Where operators run ``mailwarren``: a template of a Job that has what setup has, and the pages that tell of it."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mailwarren.devstack.cluster.chart import Render, run_helm
from mailwarren.devstack.cluster.manifests import Workload, environment, of_kind, workloads
from mailwarren.devstack.cluster.tools import KUBECTL, ToolMissing, find
from mailwarren.ingest import cli

ROOT = Path(__file__).parents[2]
PAGES = ("docs/kubernetes.md", "docs/operations.md")


def toolbox(manifests) -> Workload:
    (found,) = [one for one in workloads(manifests) if one.kind == "CronJob"]
    return found


def commands(page: str) -> list[list[str]]:
    """The lines about the toolbox in a page, without kubectl's name."""
    lines = [line.partition(" #")[0] for line in (ROOT / page).read_text().splitlines() if line.startswith("kubectl ")]
    return [shlex.split(line)[1:] for line in lines if "tools" in line]


def test_it_never_runs_by_itself(render, profile) -> None:
    for one in workloads(render(profile)):
        assert one.kind != "CronJob" or one.manifest["spec"]["suspend"] is True
    assert toolbox(render(profile)).name == "mw-toolbox"


def test_it_has_the_variables_of_setup_and_the_image_of_mailwarren(steady, profile) -> None:
    manifests = steady(profile)
    made = toolbox(manifests)
    (setup,) = [one for one in workloads(manifests) if one.kind == "Job" and not one.is_hook and "setup" in one.name]
    assert environment(made.containers[0]) == environment(setup.containers[0])
    assert made.containers[0]["image"] == setup.containers[0]["image"]


def test_it_ends_by_itself_and_is_deleted_then(render) -> None:
    made = toolbox(render(toolbox__seconds=120))
    spec = made.manifest["spec"]["jobTemplate"]["spec"]
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (0, 60)
    assert made.pod["restartPolicy"] == "Never"
    assert made.words[-1].endswith(" 120)")


def waiting(seconds: int, render) -> subprocess.Popen[bytes]:
    """What the container runs, started here."""
    _, option, program = toolbox(render(toolbox__seconds=seconds)).words
    return subprocess.Popen([sys.executable, option, program], stdout=subprocess.PIPE)


def test_it_waits_for_its_seconds(render) -> None:
    process = waiting(1, render)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_it_ends_at_once_when_it_is_told_to(render) -> None:
    process = waiting(600, render)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting for kubectl exec\n"
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_it_needs_setup(render) -> None:
    for values in ({"toolbox__enabled": False}, {"setup__enabled": False, "bootstrap__enabled": False}):
        manifests = render(**values)
        assert of_kind(manifests, "CronJob") == []
        assert [one for one in of_kind(manifests, "NetworkPolicy") if "toolbox" in one["metadata"]["name"]] == []


@pytest.mark.parametrize("page", PAGES)
def test_pages_say_how_and_kubectl_knows_each_line(page: str, render, tmp_path) -> None:
    try:
        kubectl = find(KUBECTL)
    except ToolMissing as error:
        pytest.skip(str(error))
    lines = commands(page)
    assert {words[words.index("mail") + 1] for words in lines} == {"create", "wait", "exec", "delete"}
    env = {**os.environ, "KUBECONFIG": str(tmp_path / "none")}
    for words in lines:
        asked = words[: words.index("--")] if "--" in words else words
        done = subprocess.run([kubectl, *asked, "--help"], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)
        if "create" in words:
            assert f"--from=cronjob/{toolbox(render()).name}" in words
        if "--" in words:
            program, *rest = words[words.index("--") + 1 :]
            assert program == "mailwarren"
            cli._parser().parse_args(rest)


def test_the_notes_name_it_where_it_is(helm4) -> None:
    def notes(*settings: str) -> str:
        given = [word for setting in settings for word in ("--set", setting)]
        install = ["install", "mw", str(Render(helm4).chart), "--namespace", "mail", "--dry-run=client"]
        return str(json.loads(run_helm(helm4, [*install, "--output", "json", *given]))["info"]["notes"])

    assert "create job mw-tools --from=cronjob/mw-toolbox" in notes()
    assert "toolbox" not in notes("toolbox.enabled=false")
    assert "toolbox" not in notes("setup.enabled=false", "bootstrap.enabled=false")
