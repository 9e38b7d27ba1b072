"""The Dockerfile builds every member and starts each service as the one-machine system does."""

import json
import re
from pathlib import Path

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.state import LocalDir
from mailwarren.devstack.system import choose_addresses, services

SERVICES = ("ingest", "sender", "tracker", "flower", "sink", "load")


def read_instructions(text: str) -> list[str]:
    """The instructions, each on one line and with single spaces."""
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [" ".join(line.split()) for line in plain.replace("\\\n", "").splitlines() if line.strip()]


@pytest.fixture(scope="module")
def instructions(root) -> list[str]:
    return read_instructions((root / "Dockerfile").read_text())


def copied(instructions: list[str]) -> list[str]:
    """What the build takes from the clone."""
    lines = [line.split() for line in instructions if line.startswith("COPY ") and "--from" not in line]
    return [word for words in lines for word in words[1:-1]]


def outside(paths: list[str], folders: list[str]) -> list[str]:
    """Paths that lie in none of the folders."""
    return [path for path in paths if not any(path == folder or path.startswith(f"{folder}/") for folder in folders)]


def command(instructions: list[str], stage: str) -> list[str]:
    """What runs in a stage: entry point and default arguments, with the program's bare name."""
    start = next(n for n, line in enumerate(instructions) if line.startswith("FROM ") and line.endswith(f" AS {stage}"))
    rest = instructions[start + 1 :]
    end = next((n for n, line in enumerate(rest) if line.startswith("FROM ")), len(rest))
    words: dict[str, list[str]] = {"ENTRYPOINT": [], "CMD": []}
    for line in rest[:end]:
        name, _, value = line.partition(" ")
        if name in words:
            words[name] = json.loads(value)  # only the exec form is JSON: a shell would swallow SIGTERM
    program, *arguments = words["ENTRYPOINT"] + words["CMD"]
    return [Path(program).name, *arguments]


def test_every_member_takes_part_in_the_build(root, instructions) -> None:
    found = [*root.glob("libs/*/pyproject.toml"), *root.glob("services/*/pyproject.toml")]
    found += [root / f"loadtest/{name}/pyproject.toml" for name in ("sink", "load")]
    members = [str(path.parent.relative_to(root)) for path in found]
    assert len(members) >= 8
    assert outside(members, copied(instructions)) == []


def test_what_is_copied_is_let_through(root, instructions) -> None:
    let = [line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert outside(copied(instructions), let) == []


def test_what_is_left_out_is_named() -> None:
    lines = read_instructions("# COPY all\nCOPY libs \\\n  libs\nCOPY --from=build /app /app\n")
    assert copied(lines) == ["libs"]
    assert outside(["libs/contracts", "services/console"], copied(lines)) == ["services/console"]


def test_each_service_starts_as_on_one_machine(instructions, tmp_path) -> None:
    at = choose_addresses(
        amqp_url="amqp://broker", amqp_prefix="", management_url=None, database_url="", smtp_url=None, retry_scale=1
    )
    specs = [service.spec for service in services(at, LocalDir(tmp_path))]
    started = {spec.name: [Path(spec.argv[0]).name, *spec.argv[1:]] for spec in specs}
    assert command(instructions, "ingest") == started["ingest"]
    assert command(instructions, "ingest")[:1] == started["worker"][:1] == started["scheduler"][:1]
    assert command(instructions, "tracker") == started["tracker"]
    assert command(instructions, "tracker")[:1] == started["webhooks"][:1]
    assert command(instructions, "flower") == ["mailwarren-flower"]
    assert command(instructions, "sink")[:2] == started["sink"][:2]
    # A worker is told its queues and its name where it is deployed.
    worker = command(instructions, "sender")
    assert worker == [word for word in started[f"sender-{Lane.HIGH}-1"] if word in worker]
    assert worker[:4] == ["celery", "-A", "mailwarren.sender.main:app", "worker"]


def test_a_command_in_shell_form_is_refused() -> None:
    with pytest.raises(json.JSONDecodeError):
        command(read_instructions("FROM x AS ingest\nENTRYPOINT ingest api\n"), "ingest")


def test_no_process_runs_as_root_and_the_last_step_imports_everything(instructions) -> None:
    users = [line for line in instructions if line.startswith("USER ")]
    assert users == ["USER 10001:10001"]
    assert instructions.index(users[0]) < min(n for n, line in enumerate(instructions) if line.startswith("ENTRYPOINT"))
    assert instructions[-1].startswith("RUN ")
    assert "pkgutil.walk_packages" in instructions[-1]


def test_the_build_takes_what_the_lock_says_and_one_service_only(instructions) -> None:
    (sync,) = [line for line in instructions if "uv sync" in line and "--no-install-workspace" not in line]
    for option in ("--frozen", "--no-dev", "--no-editable", '--package "mailwarren-${SERVICE}"'):
        assert option in sync


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_a_package(root, service: str) -> None:
    (project,) = [*root.glob(f"services/{service}/pyproject.toml"), *root.glob(f"loadtest/{service}/pyproject.toml")]
    assert f'name = "mailwarren-{service}"' in project.read_text()


def test_the_services_are_the_stages_that_the_last_one_picks_from(instructions) -> None:
    stages = [line.split()[-1] for line in instructions if line.startswith("FROM runtime AS ")]
    assert sorted(stages) == sorted(SERVICES)
    assert [line for line in instructions if line.startswith("FROM ")][-1] == "FROM ${SERVICE}"


def test_the_base_is_an_argument_and_names_its_registry(instructions) -> None:
    (base,) = [line.partition("=")[2] for line in instructions if line.startswith("ARG PYTHON_IMAGE=")]
    assert base.startswith("docker.io/library/python:3.11")
    bases = [line for line in instructions if line.startswith("FROM ${PYTHON_IMAGE}")]
    assert bases == ["FROM ${PYTHON_IMAGE} AS build", "FROM ${PYTHON_IMAGE} AS runtime"]


def test_labels_say_the_version_of_the_workspace_unless_told(root, instructions) -> None:
    said = re.search(r'^version = "(.+)"$', (root / "pyproject.toml").read_text(), re.MULTILINE)
    assert said
    assert f"ARG VERSION={said[1]}" in instructions
    assert any("org.opencontainers.image.revision" in line for line in instructions if line.startswith("LABEL "))


def test_uv_is_the_one_that_bootstrap_fetches(root, instructions) -> None:
    said = re.search(r'^UV_VERSION = "(.+)"$', (root / "bin/bootstrap_steps/uv_tool.py").read_text(), re.MULTILINE)
    assert said
    assert re.findall(r"\buv==(\S+)", " ".join(instructions)) == [said[1]]
