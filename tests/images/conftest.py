"""What the tests of images, compose.yaml and workflows share: they need no container engine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the clone."""
    return ROOT


@pytest.fixture(scope="session")
def stages(root) -> list[str]:
    """The services that the Dockerfile builds."""
    return re.findall(r"^FROM runtime AS ([a-z]+)$", (root / "Dockerfile").read_text(), re.MULTILINE)


@pytest.fixture(scope="session")
def tool():
    """Runs one of the programs of ``.venv/bin`` in the clone; returns what it said and its exit status."""

    def run(name: str, *arguments: str) -> tuple[str, int]:
        program = Path(sys.executable).parent / name
        done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr, done.returncode

    return run
