"""``make images``: which engine, which names, what is pushed, and what is said when it cannot be done."""

import json
import os
import subprocess
import sys

import pytest

# Stands in for somebody else's program: it notes what it was asked for, and fails where it is told to.
ENGINE = """#!/bin/sh
echo "$*" >>"{calls}"
case "$1" in
    build) case "$*" in *SERVICE={broken}*) echo "no such package"; exit 1 ;; esac ;;
    image) echo 241000000 ;;
esac
"""


@pytest.fixture
def engine(tmp_path):
    """Makes ``anengine``; returns the folder of it and the file with its calls."""

    def make(broken: str = "none") -> tuple[str, object]:
        calls = tmp_path / "calls"
        program = tmp_path / "anengine"
        program.write_text(ENGINE.format(calls=calls, broken=broken))
        program.chmod(0o755)
        return f"{tmp_path}:{os.environ['PATH']}", calls

    return make


def images(root, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in {"REGISTRY", "TAG", "SSL_CERT_FILE"}}
    return subprocess.run(
        [root / "bin/images", *arguments], env=clean | env, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_a_registry_nothing_is_pushed(root, engine) -> None:
    path, calls = engine()
    done = images(root, "sink", PATH=path, ENGINE="anengine")
    assert done.returncode == 0, done.stderr
    assert "[1/1] mailwarren-sink:dev" in done.stdout
    assert "241 MB" in done.stdout
    build = next(line for line in calls.read_text().splitlines() if line.startswith("build "))
    assert "--build-arg SERVICE=sink --build-arg VERSION=dev --build-arg REVISION=" in build
    assert build.endswith("--tag mailwarren-sink:dev .")
    assert "push " not in calls.read_text()


def test_all_services_are_built_and_then_pushed_under_the_names_of_the_chart(root, engine, stages) -> None:
    path, calls = engine()
    done = images(root, PATH=path, ENGINE="anengine", REGISTRY="registry.example/us/", TAG="1.2.3")
    assert done.returncode == 0, done.stderr
    verbs = [line for line in calls.read_text().splitlines() if line.startswith(("build ", "push "))]
    assert [line.split()[0] for line in verbs] == ["build"] * len(stages) + ["push"] * len(stages)
    assert sorted(line for line in verbs if line.startswith("push ")) == sorted(
        f"push registry.example/us/mailwarren-{service}:1.2.3" for service in stages
    )


def test_a_site_with_a_certificate_of_its_own_gives_it_as_a_secret(root, engine) -> None:
    path, calls = engine()
    images(root, "sink", PATH=path, ENGINE="anengine", SSL_CERT_FILE="bundle.pem", PYTHON_IMAGE="mirror/python:3.11")
    assert "--build-arg PYTHON_IMAGE=mirror/python:3.11 --secret id=ca,src=bundle.pem" in calls.read_text()


def test_a_build_that_fails_shows_its_end_and_pushes_nothing(root, engine) -> None:
    path, calls = engine(broken="sink")
    done = images(root, "sink", PATH=path, ENGINE="anengine", REGISTRY="registry.example/us")
    assert done.returncode == 1
    assert "| no such package" in done.stderr
    assert "images.log" in done.stderr
    assert "push " not in calls.read_text()


def test_without_an_engine_it_says_what_to_install(root) -> None:
    done = images(root, ENGINE="no-such-engine")
    assert done.returncode == 1
    assert "apt-get install -y podman" in done.stderr


def test_an_engine_that_does_not_answer_is_named_with_its_words(root, tmp_path) -> None:
    program = tmp_path / "anengine"
    program.write_text("#!/bin/sh\necho 'is the daemon running?' >&2\nexit 1\n")
    program.chmod(0o755)
    done = images(root, PATH=f"{tmp_path}:{os.environ['PATH']}", ENGINE="anengine")
    assert done.returncode == 1
    assert "anengine is installed but does not work: is the daemon running?" in done.stderr


def test_a_service_that_there_is_not_is_refused(root, engine) -> None:
    path, calls = engine()
    done = images(root, "sinks", PATH=path, ENGINE="anengine")
    assert done.returncode == 1
    assert "no service 'sinks'" in done.stderr
    assert "build " not in calls.read_text()


def test_the_check_of_images_knows_every_service(root, stages) -> None:
    tables = "contents.LARGEST, contents.FOREIGN, containers.GRACE"
    code = f"import json, containers, contents; print(json.dumps([list(table) for table in ({tables})]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root / "bin/images_check", capture_output=True, text=True, check=True
    )
    for table in json.loads(done.stdout):
        assert sorted(table) == sorted(stages)
