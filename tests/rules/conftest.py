"""The repository, as the rules see it."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the clone."""
    return ROOT


@pytest.fixture(scope="session")
def sources() -> list[Path]:
    """Every module of ours that is shipped: tests are not."""
    members = [*ROOT.glob("libs/*"), *ROOT.glob("services/*"), *ROOT.glob("loadtest/*"), *ROOT.glob("deploy/*")]
    return sorted(path for member in members for path in (member / "src").rglob("*.py"))


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Everything that git has or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]
