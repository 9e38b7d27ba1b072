"""The bootstrap's decisions. It runs for real in ``make minbase-check``."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
STEPS = ROOT / "bin" / "bootstrap_steps"
MODULES = ("progress", "system_packages", "uv_tool")


@pytest.fixture(autouse=True)
def _on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(STEPS))
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def uv_tool() -> ModuleType:
    return import_module("uv_tool")


@pytest.fixture
def packages() -> ModuleType:
    return import_module("system_packages")


def _files(version: str, *tags: str, yanked: bool = False) -> list[dict[str, Any]]:
    return [{"filename": f"uv-{version}-py3-none-{tag}.whl", "yanked": yanked} for tag in tags]


TAGS = (
    "linux_armv6l",
    "macosx_11_0_arm64",
    "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    "manylinux_2_17_i686.manylinux2014_i686",
    "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "manylinux_2_28_aarch64",
    "manylinux_2_31_riscv64.musllinux_1_1_riscv64",
    "musllinux_1_1_x86_64",
    "win_amd64",
)


@pytest.mark.parametrize(
    ("machine", "libc", "tag"),
    [
        ("x86_64", "glibc", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
        ("AMD64", "glibc", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
        ("x86_64", "musl", "musllinux_1_1_x86_64"),
        ("aarch64", "glibc", "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64"),
        ("arm64", "musl", "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64"),
        ("riscv64", "glibc", "manylinux_2_31_riscv64.musllinux_1_1_riscv64"),
        ("i686", "glibc", "manylinux_2_17_i686.manylinux2014_i686"),
    ],
)
def test_the_wheel_of_the_machine_is_chosen(uv_tool: ModuleType, machine: str, libc: str, tag: str) -> None:
    chosen = uv_tool.choose_wheel(_files(uv_tool.UV_VERSION, *TAGS), machine=machine, libc=libc)

    assert chosen["filename"] == f"uv-{uv_tool.UV_VERSION}-py3-none-{tag}.whl"


def test_glibc_takes_the_static_build_when_there_is_no_other(uv_tool: ModuleType) -> None:
    files = _files(uv_tool.UV_VERSION, "musllinux_1_1_x86_64")

    assert uv_tool.choose_wheel(files, machine="x86_64", libc="glibc") == files[0]


@pytest.mark.parametrize("machine", ["mips64", "64", "x86"])
def test_a_machine_without_a_wheel_gets_none(uv_tool: ModuleType, machine: str) -> None:
    assert uv_tool.choose_wheel(_files(uv_tool.UV_VERSION, *TAGS), machine=machine, libc="glibc") is None


def test_other_versions_and_yanked_files_are_not_taken(uv_tool: ModuleType) -> None:
    files = _files("0.0.1", *TAGS) + _files(uv_tool.UV_VERSION, *TAGS, yanked=True)

    assert uv_tool.choose_wheel(files, machine="x86_64", libc="glibc") is None


def test_a_uv_that_is_too_old_or_broken_is_passed_over(
    uv_tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(path: Path, version: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho 'uv {version} (test)'\n")
        path.chmod(0o755)

    fake(tmp_path / "user" / "uv", "0.4.30")
    monkeypatch.setenv("PATH", f"{tmp_path / 'user'}:/usr/bin:/bin")
    assert uv_tool.find_uv(tmp_path / "tools") is None

    fake(tmp_path / "tools" / "bin" / "uv", "0.13.9")
    assert uv_tool.find_uv(tmp_path / "tools") == str(tmp_path / "tools" / "bin" / "uv")

    fake(tmp_path / "user" / "uv", "1.0.0")
    assert uv_tool.find_uv(tmp_path / "tools") == str(tmp_path / "user" / "uv")


def test_all_missing_packages_are_told_in_one_sudo_line(
    packages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apt-get").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    progress = import_module("progress")

    with pytest.raises(progress.StepError) as raised:
        packages.install_packages(["rabbitmq-server", "prometheus", "ca-certificates"], tmp_path / "log")

    sudo = [line for line in str(raised.value).splitlines() if "sudo apt-get" in line]
    assert len(sudo) == 1
    assert sudo[0].endswith("apt-get install -y --no-install-recommends rabbitmq-server prometheus ca-certificates")


@pytest.mark.parametrize(("engine", "in_docker"), [(0, True), (1, False)])
def test_without_the_right_to_install_a_docker_engine_will_do(
    packages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: int, in_docker: bool
) -> None:
    (tmp_path / "docker").write_text(f"#!/bin/sh\nexit {engine}\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nonexistent")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    progress = import_module("progress")

    if in_docker:
        assert packages.install_packages(["rabbitmq-server"], tmp_path / "log")
    else:
        with pytest.raises(progress.StepError, match="rabbitmq-server"):
            packages.install_packages(["rabbitmq-server"], tmp_path / "log")


def test_where_docker_runs_rabbitmq_only_the_other_packages_are_told(
    packages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, status in (("docker", 0), ("apt-get", 1)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nonexistent")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    progress = import_module("progress")

    with pytest.raises(progress.StepError) as raised:
        packages.install_packages(["rabbitmq-server", "prometheus"], tmp_path / "log")

    assert "--no-install-recommends prometheus\n" in str(raised.value)
    assert "rabbitmq-server" not in str(raised.value)


@pytest.mark.parametrize("interrupted", [False, True])
def test_services_stay_stopped_only_while_a_package_is_installed(
    packages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "_POLICY", policy)
    try:
        with packages._services_stay_stopped():
            assert subprocess.run([policy], check=False).returncode == 101
            if interrupted:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass

    assert not policy.exists()


def test_a_policy_of_the_machine_is_left_alone_and_one_of_ours_is_not(
    packages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "_POLICY", policy)
    policy.write_text("#!/bin/sh\nexit 0\n")
    with packages._services_stay_stopped():
        assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert policy.exists()

    policy.write_text(packages._POLICY_TEXT)  # a run that was killed left it
    with packages._services_stay_stopped():
        pass
    assert not policy.exists()


def test_rabbitmq_is_not_needed_when_one_is_given(packages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "RABBITMQ_GLOB", "nowhere/at/all")

    assert packages.missing_packages(rabbitmq_needed=False, ca_bundle_needed=False) == []
    assert packages.missing_packages(rabbitmq_needed=True, ca_bundle_needed=True) == [
        "rabbitmq-server",
        "ca-certificates",
    ]


@pytest.mark.parametrize(("installed", "missing"), [(False, ["prometheus"]), (True, [])])
def test_prometheus_is_for_tests_and_needed_only_where_it_is_not(
    packages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, missing: list[str]
) -> None:
    if installed:
        (tmp_path / "promtool").write_text("#!/bin/sh\n")
        (tmp_path / "promtool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    wanted = packages.missing_packages(rabbitmq_needed=False, ca_bundle_needed=False, prometheus_needed=True)
    demo = packages.missing_packages(rabbitmq_needed=False, ca_bundle_needed=False)

    assert (wanted, demo) == (missing, [])


@pytest.mark.parametrize(("installed", "missing"), [(False, ["opendkim"]), (True, [])])
def test_opendkim_is_for_tests_and_found_off_the_path(
    packages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, missing: list[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages, "OPENDKIM", Path("/bin/sh") if installed else tmp_path / "opendkim")

    wanted = packages.missing_packages(rabbitmq_needed=False, ca_bundle_needed=False, opendkim_needed=True)
    demo = packages.missing_packages(rabbitmq_needed=False, ca_bundle_needed=False)

    assert (wanted, demo) == (missing, [])


def test_no_other_host_than_the_two_public_ones_is_written_in_it() -> None:
    text = "".join(path.read_text() for path in STEPS.glob("*.py"))
    hosts = {part.split("/")[0].split('"')[0] for part in text.split("https://")[1:]}

    assert hosts == {"pypi.org"}
