"""The workflows are valid, take nothing that can change under them, and may do no more than they need."""

import re
import shutil
import subprocess

import pytest
import yaml

PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
WRITES = {"packages: write", "id-token: write"}


@pytest.fixture(scope="module")
def workflows(root) -> dict:
    found = {path.name: yaml.safe_load(path.read_text()) for path in (root / ".github/workflows").glob("*.yml")}
    assert set(found) == {"ci.yml", "release.yml"}
    return found


@pytest.fixture(scope="module")
def texts(root) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / ".github/workflows").glob("*.yml")}


def unpinned(text: str) -> list[str]:
    uses = [line.strip().removeprefix("- ").removeprefix("uses: ") for line in text.splitlines() if "uses: " in line]
    return [used for used in uses if not used.startswith("./") and not PINNED.fullmatch(used)]


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_it_is_what_github_takes(tool, name: str) -> None:
    said, status = tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", f".github/workflows/{name}")
    assert status == 0, said


def test_the_updates_of_actions_are_what_github_takes(tool) -> None:
    said, status = tool("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    assert status == 0, said


def test_zizmor_finds_nothing(tool) -> None:
    said, status = tool("zizmor", "--offline", "--no-progress", "--quiet", ".github")
    assert status == 0, said


def test_zizmor_finds_a_script_that_runs_a_title(tool, texts, tmp_path) -> None:
    wrong = tmp_path / ".github" / "workflows" / "ci.yml"
    wrong.parent.mkdir(parents=True)
    wrong.write_text(texts["ci.yml"].replace("run: make images", "run: echo ${{ github.event.pull_request.title }}"))
    said, status = tool("zizmor", "--offline", "--no-progress", "--quiet", str(wrong))
    assert status != 0
    assert "template-injection" in said


def test_actionlint_finds_nothing(root) -> None:
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("actionlint is not installed here; ci.yml runs it")
    done = subprocess.run([actionlint, "-no-color"], cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_by_commit_and_say_their_version(texts) -> None:
    assert {name: unpinned(text) for name, text in texts.items() if unpinned(text)} == {}
    assert unpinned("      - uses: actions/checkout@v5\n") == ["actions/checkout@v5"]


def test_nothing_may_write_but_the_jobs_that_push(workflows) -> None:
    for workflow in workflows.values():
        assert workflow["permissions"] == {}
        for name, job in workflow["jobs"].items():
            rights = {f"{key}: {value}" for key, value in job["permissions"].items()}
            allowed = WRITES if name in {"image", "chart"} else set()
            assert rights - {"contents: read"} == allowed, name


def test_a_release_is_tested_scanned_and_signed_before_it_is_over(workflows) -> None:
    jobs = workflows["release.yml"]["jobs"]
    assert set(jobs["image"]["needs"]) == {"test", "version"}
    assert "image" in jobs["chart"]["needs"]
    steps = [step.get("uses", "").split("@")[0] or step["name"] for step in jobs["image"]["steps"]]
    scan, push = steps.index("anchore/scan-action"), len(steps) - 1 - steps[::-1].index("docker/build-push-action")
    assert scan < push
    for job in ("image", "chart"):
        assert jobs[job]["steps"][-1]["run"].startswith("cosign sign --yes")
        assert "@$DIGEST" in jobs[job]["steps"][-1]["run"]


def test_every_service_is_released(workflows, stages) -> None:
    matrix = workflows["release.yml"]["jobs"]["image"]["strategy"]["matrix"]
    assert sorted(matrix["service"]) == sorted(stages)


def test_make_targets_and_files_of_the_workflows_exist(root, texts) -> None:
    target = re.compile(r"^\s*(?:run: )?make ([a-z-]+)$", re.MULTILINE)
    targets = {found for text in texts.values() for found in target.findall(text)}
    assert targets >= {"images", "compose-env"}
    makefile = (root / "Makefile").read_text()
    assert [found for found in targets if not re.search(rf"^{found}:", makefile, re.MULTILINE)] == []
    assert (root / ".ci/run").exists()


# The chart


def test_the_chart_that_a_release_packages_is_there(root, workflows) -> None:
    commands = "\n".join(step.get("run", "") for step in workflows["release.yml"]["jobs"]["chart"]["steps"])
    (folder,) = re.findall(r"^helm package (\S+)", commands, re.MULTILINE)
    chart = yaml.safe_load((root / folder / "Chart.yaml").read_text())
    # helm names the package after the chart, and the next line pushes that file.
    assert f'helm push "dist/{chart["name"]}-$VERSION.tgz"' in commands
    assert f'"$CHARTS/{chart["name"]}@$DIGEST"' in commands


def test_the_chart_has_the_version_of_the_images(root) -> None:
    """The tag is held against pyproject.toml, and images without a tag of their own take the chart's appVersion."""
    (version,) = re.findall(r'^version = "(.+)"$', (root / "pyproject.toml").read_text(), re.MULTILINE)
    chart = yaml.safe_load((root / "deploy/helm/mailwarren/Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == version
    assert f"ARG VERSION={version}\n" in (root / "Dockerfile").read_text()
