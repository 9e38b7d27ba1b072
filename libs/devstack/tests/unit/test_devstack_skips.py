"""The ledger of skips, in a small run of pytest each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailwarren.devstack.pytest_skips import read_allowed

TESTS = """
import pytest

def test_passes(): pass

@pytest.mark.skip(reason="no such hardware")
def test_marked(): pass

def test_inside(): pytest.skip("not today")

@pytest.mark.xfail(reason="known")
def test_expected_failure(): assert False
"""


@pytest.fixture
def run(tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.skip('all of it', allow_module_level=True)\n")
    (tmp_path / "allowed.txt").write_text("# comment\n\ntest_some.py::test_marked  # needs hardware\n")
    return _pytest(tmp_path)


def _pytest(folder: Path) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "pytest", "-p", "mailwarren.devstack.pytest_skips", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*argv, "-c", "/dev/null", "--rootdir", ".", "--allowed-skips", "allowed.txt"],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_skip_that_nobody_allowed_fails_the_run_and_is_named(run: "subprocess.CompletedProcess[str]") -> None:
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "NOT ALLOWED: test_some.py::test_inside: not today" in run.stdout
    assert "NOT ALLOWED: test_whole.py: all of it" in run.stdout
    assert "\nallowed: test_some.py::test_marked: no such hardware" in run.stdout
    assert "test_expected_failure" not in run.stdout.split("= skips =")[1]
    assert "1 passed, 3 skipped, 1 xfailed" in run.stdout.splitlines()[-1]


def test_skips_that_are_all_allowed_pass(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "allowed.txt").write_text("test_*.py*  # all of them, for a reason\n")

    assert _pytest(tmp_path).returncode == pytest.ExitCode.OK


def test_a_line_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match=r"line 2 .* says no reason"):
        read_allowed("a.py::*  # why\nb.py::*\n")
